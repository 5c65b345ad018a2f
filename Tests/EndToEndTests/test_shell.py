"""muster shell and muster exec, as people and scripts use them: on a terminal, in pipes, and while things break."""

import hashlib
import os
import re
import signal
import struct
import subprocess
import fcntl
import termios
import time

import pytest
from conftest import BIN, eventually
from shells import Shell
from terminal import Terminal


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(1)


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


def shell(box, node, *options, **size):
    return Terminal(BIN / "muster", "shell", node, *options, env=box.clean_env(), **size)


def execute(box, node, *command, options=(), stdin=b"", timeout=60):
    source = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run([str(BIN / "muster"), "exec", *options, node, "--", *command], env=box.clean_env(), capture_output=True,
                          timeout=timeout, **source)


# More than the stream's window, which is 4 MiB, and than what waits for either program. No more, and no zeros, which a recording spells out:
# without optimisation a byte costs the controller a microsecond.
PLENTY = 5 << 20


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_a_shell_on_a_terminal(box, node):
    with shell(box, node, columns=101, rows=33) as terminal:
        terminal.type("PS1='$ '; stty size; echo $((40+2))\n")
        terminal.expect(r"33 101\r\n")
        terminal.expect(r"42\r\n")
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        terminal.process.send_signal(signal.SIGWINCH)
        eventually(lambda: (terminal.type("stty size\n"), terminal.expect(r"\d+ \d+\r\n"))[1].strip().endswith("50 132"), what="the new size")
        terminal.type("sh -c 'echo wai''ting; sleep 600'\n")
        terminal.expect("waiting")
        terminal.interrupt()
        terminal.type("echo status=$?\n")
        terminal.expect(r"status=130")
        terminal.type("printf 'gr\\303\\274n \\346\\274\\242\\n'\n")
        terminal.expect("grün 漢\r\n")
        terminal.type("exit 7\n")
        assert terminal.end()[0] == 7


def test_the_terminal_is_given_back_as_it_was(box, node):
    with shell(box, node) as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.type("echo re''ady\n")
        terminal.expect("ready")
        assert termios.tcgetattr(terminal.master) != before
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(timeout=20) == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.master) == before


def test_the_escape_ends_it_and_nothing_stays_at_the_node(box, node):
    with shell(box, node) as terminal:
        terminal.type("echo pid=$$-\n")
        pid = re.search(r"pid=(\d+)-", terminal.expect(r"pid=\d+-"))[1]
        terminal.type("\r~?")
        terminal.expect("this list")
        terminal.type("\r~~x\r")
        terminal.expect("~x")
        terminal.type("\r~.")
        assert terminal.end()[0] == 255
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), what="the end of the shell")


def test_fifty_thousand_lines(box, node):
    """Off a terminal: what is read is typed, what is shown is written."""
    result = subprocess.run([str(BIN / "muster"), "shell", node], env=box.clean_env(), capture_output=True, timeout=60,
                            input=b"stty -echo; PS1=; printf 'be%s\\n' gin; seq 50000; printf 'e%s\\n' nd; exit 3\n")
    assert result.returncode == 3, result.stderr
    body = result.stdout.split(b"begin\r\n")[1].split(b"end\r\n")[0]
    assert digest(body) == digest(b"".join(b"%d\r\n" % i for i in range(1, 50001)))


def test_exec_keeps_streams_and_status_apart(box, node):
    result = execute(box, node, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    result = execute(box, node, "printf", "%s|", "a b", "", "it's", '"$HOME"', "*", "\\")
    assert result.stdout == b"a b||it's|\"$HOME\"|*|\\|"
    assert execute(box, node, "/nowhere/at-all").returncode == 127
    assert execute(box, node, "/etc/passwd").returncode == 126
    assert execute(box, node, "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_is_a_pipe(box, node):
    data = os.urandom(PLENTY)
    result = execute(box, node, "cat", stdin=data)
    assert (result.returncode, digest(result.stdout)) == (0, digest(data))
    result = execute(box, node, "sha256sum", stdin=data)
    assert result.stdout.split()[0].decode() == digest(data)
    result = execute(box, node, "sh", "-c", f"yes | head -c {PLENTY}")
    assert digest(result.stdout) == digest(b"y\n" * (PLENTY // 2))


def test_a_slow_reader_holds_the_command_back(box, node, tmp_path):
    """Nobody buffers what nobody reads: not the client, nor the relay, nor the node."""
    text, pid = tmp_path / "text", tmp_path / "pid"
    text.write_text("y\n" * PLENTY)
    process = subprocess.Popen([str(BIN / "muster"), "exec", "-n", node, "--", "sh", "-c", f"echo $$ > {pid}.new; mv {pid}.new {pid}; "
                                f"exec cat {text}"], env=box.clean_env(), stdout=subprocess.PIPE)
    eventually(pid.exists, what="the command")

    def written():
        return int(re.search(r"wchar: (\d+)", open(f"/proc/{pid.read_text().strip()}/io").read())[1])

    def stands_still():
        before = written()
        time.sleep(0.5)  # nothing happens, so there is nothing to await
        return before == written() > 0

    eventually(stands_still, what="a command that waits")
    assert written() < PLENTY + (1 << 20)
    assert process.stdout.read() == text.read_bytes()
    assert process.wait(timeout=30) == 0


def test_nobody_reads(box, node):
    line = f"{BIN}/muster exec -n {node} -- yes | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], env=box.clean_env(), capture_output=True, timeout=60)
    assert (result.returncode, result.stdout) == (141, b"y\n")


def test_an_interrupt_reaches_the_command(box, node):
    process = subprocess.Popen([str(BIN / "muster"), "exec", "-n", node, "--", "sh", "-c", "trap 'exit 9' INT; echo up; sleep 60 & wait"],
                               env=box.clean_env(), stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 9


def test_an_unknown_node_and_a_refusal(box):
    result = execute(box, "mi-0123456789abcdef0", "true")
    assert result.returncode == 2 and b"is not connected" in result.stderr, result.stderr
    result = execute(box, "nosuch", "true")
    assert result.returncode == 2 and b"No managed node" in result.stderr, result.stderr


# The end of what is piped

@pytest.mark.parametrize("text", [b"", b"echo from''pipe\n", b"echo from''pipe"])
def test_a_shell_ends_after_what_was_piped_into_it(box, node, text):
    """`muster shell </dev/null` and `echo x | muster shell` end: a shell that is not there yet, or that edits its line, is told again."""
    result = subprocess.run([str(BIN / "muster"), "shell", node], input=text, env=box.clean_env(), capture_output=True, timeout=60)
    assert result.returncode == 0, result
    assert (b"frompipe" in result.stdout) == bool(text), result


def test_what_exec_ran_is_shown_to_those_who_review(box, node):
    """And a short command is recorded in full."""
    assert execute(box, node, "sh", "-c", "echo reviewed; id -un >&2").returncode == 0
    rows = box.client().describe_sessions(State="History")["Sessions"]
    session = max(rows, key=lambda row: row["StartDate"])["SessionId"]
    shown = eventually(lambda: (text := box.muster("session", "show", session).stdout) and "complete" in text and text, what="the end")
    assert "echo reviewed" in shown and "Runs as: " in shown, shown
    assert digest(b"reviewed\n") in shown, shown
    assert "echo reviewed" in box.muster("session", "list", "-o", "json").stdout
    assert box.muster("session", "verify", session).returncode == 0


def test_sessions_are_ended_together(box, node):
    """Those of a client that was killed, and then all of one's own."""
    killed = shell(box, node)
    with killed:
        killed.type("echo he''re\n")
        killed.expect("here")
        killed.process.kill()
    kept = shell(box, node)
    with kept:
        kept.type("echo he''re\n")
        kept.expect("here")
        ssm = box.client()
        open_ones = lambda: ssm.describe_sessions(State="Active")["Sessions"]
        eventually(lambda: [r for r in open_ones() if r["Status"] == "Disconnected" and "Disconnected since" in r.get("Details", "")], what="its absence")
        assert "Disconnected since" in box.muster("session", "list", "--active", "-o", "csv").stdout
        assert box.muster("session", "terminate", "--disconnected").returncode == 0
        eventually(lambda: [r["Status"] for r in open_ones()] == ["Connected"], what="the end of the one that was away")
        assert box.muster("session", "terminate", "--all-mine").returncode == 0
        eventually(lambda: not open_ones(), what="the end of all")
    assert box.muster("session", "terminate", check=False).returncode != 0


def test_a_silent_program_gets_its_input_from_a_stock_client(box, node):
    """The plugin sends no keys before it knows what kind of session it has, from a handshake or from the first output. `cat` writes none."""
    s = Shell(box, node, "AWS-StartInteractiveCommand", command="stty -echo; cat")
    s.complete = None
    while s.complete is None:
        assert s.pump(), s.end
    assert s.request["RequestedClientActions"][0]["ActionParameters"]["SessionType"] == "InteractiveCommands"
    s.stream(b"are you there\r")
    s.until(b"are you there")
    s.stream(b"\x04")
    s.over()
    # One that knows nothing of handshakes is served as before.
    s = Shell(box, node)
    s.take = lambda found, take=s.take: None if found.payload_type == 5 else take(found)
    s.until_prompt()
    assert s.ask("echo $((40+2))").strip() == "42"
    s.stream(b"exit\r")
    s.over()

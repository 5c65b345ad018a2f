"""Recordings: what the user saw is what was written, to the last byte, whatever they do to the host; and it can be proven elsewhere."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

import pytest

import sessions
import terminal
from conftest import BIN, Sandbox, alive, eventually, muster


class Terminal(sessions.Plugin):
    """A client that keeps every byte it was shown."""

    def __init__(self, sandbox, node, document=None, **parameters):
        self.ssm = sandbox.client()
        arguments = {"DocumentName": document} if document else {}
        if parameters:
            arguments["Parameters"] = {k: [v] for k, v in parameters.items()}
        super().__init__(sandbox, self.ssm.start_session(Target=node, Reason="a test", **arguments))
        self.id, self.shown, self.end, self.early = self.started["SessionId"], b"", None, {}
        self.open()

    def pump(self, timeout=30):
        try:
            found = self.next(sessions.OUTPUT, "channel_closed", timeout=timeout)
        except (sessions.Closed, ConnectionError):
            return False
        if found.type == "channel_closed":
            self.end = json.loads(found.payload)
            return False
        try:
            self.acknowledge(found)
        except (ConnectionError, ssl.SSLError):
            pass  # what has arrived counts, though the other end is gone
        self.early[found.sequence] = found
        while self.expected in self.early:
            self.take(self.early.pop(self.expected))
            self.expected += 1
        return True

    def take(self, found):
        if found.payload_type in (1, 11):
            self.shown += found.payload
        elif found.payload_type == 5:
            actions = json.loads(found.payload)["RequestedClientActions"]
            self.stream(json.dumps({"ClientVersion": "1.2.500.0", "Errors": None, "ProcessedClientActions": [
                {"ActionType": a["ActionType"], "ActionStatus": 1, "ActionResult": None, "Error": ""} for a in actions]}).encode(), 6)

    def until(self, text, timeout=30):
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < deadline and self.pump(timeout), (text, self.shown[-500:], self.end)

    def ask(self, line):
        """Types a line and waits until it has been done; the echo of the line does not count."""
        mark = os.urandom(4).hex()
        self.stream(f"{line}; printf '%s%s\\n' {mark[:4]} {mark[4:]}\r".encode())
        self.until(mark.encode())

    def drain(self, timeout):
        """What comes until nothing comes."""
        try:
            while self.pump(timeout):
                pass
        except TimeoutError:
            pass

    def reopen(self):
        def resumed():
            try:
                return self.ssm.resume_session(SessionId=self.id)["TokenValue"]
            except Exception:
                return None

        self.open(token=eventually(resumed, what="the session's return"))


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    made = Sandbox(tmp_path_factory.mktemp("recording") / "s", 1, controller={"MUSTER_CONTROLLER_RECORDING_COMMIT_SECONDS": "1"})
    yield made
    made.down()


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


@pytest.fixture(autouse=True)
def everything_up(box):
    yield
    for name, pid in list(box.pids.items()):
        if not alive(pid):
            box.control("start", name)
    eventually(lambda: box.client().describe_instance_information()["InstanceInformationList"][0]["PingStatus"] == "Online", what="the node")


def recorded(box, session):
    """The session's output, byte for byte."""
    result = subprocess.run([str(BIN / "muster"), "session", "replay", session], env={**os.environ, **box.env}, stdin=subprocess.DEVNULL,
                            capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def summary(box, session):
    return json.loads(box.muster("session", "show", session, "-o", "json").stdout).get("Recording")


def sealed(box, session, timeout=30):
    return eventually(lambda: (lambda r: r if r and r["state"] != "open" else None)(summary(box, session)), timeout,
                      what=f"the end of the recording of {session}")


def audit(box, operation, session):
    store = sqlite3.connect(f"file:{pathlib.Path(box.directory) / 'controller' / 'controller.sqlite'}?mode=ro", uri=True)
    store.row_factory = sqlite3.Row
    found = [dict(r) for r in store.execute("SELECT * FROM audit_events")]
    store.close()
    return [r for r in found if r["operation"] == operation and r["resource"] == session]


def verify(box, *arguments, env=None):
    return muster("session", "verify", *arguments, env=env if env is not None else box.env, check=False)


def test_a_session_is_recorded_played_and_proven(box, node, tmp_path):
    t = Terminal(box, node)
    t.stream(json.dumps({"cols": 100, "rows": 30}).encode(), 3)
    t.ask("echo höllo 漢字 🙂")
    t.ask("seq 20000")
    # Last: chance may begin an escape sequence in it that swallows the text behind.
    t.ask("head -c 5000 /dev/urandom")
    t.stream(b"exit 3\r")
    t.drain(20)
    recording = sealed(box, t.id)
    assert recording["state"] == "complete" and recording["kind"] == "terminal"
    assert recorded(box, t.id) == t.shown

    found = json.loads(box.muster("session", "list", "-o", "json").stdout)
    assert any(e["Session"]["SessionId"] == t.id and e["Recording"]["state"] == "complete" for e in found)
    assert "a test" in box.muster("session", "show", t.id).stdout
    assert "19999" in box.muster("session", "replay", t.id, "--search", "19999").stdout
    assert muster("session", "replay", t.id, "--search", "nowhere at all", env=box.env, check=False).returncode == 1
    online = verify(box, t.id)
    assert online.returncode == 0 and "sealed" in online.stdout, online.stdout
    assert audit(box, "GetRecording", t.id), "reading is recorded"

    # Away from the controller: the files and its CA are enough.
    out = tmp_path / "export"
    box.muster("session", "export", t.id, out)
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": "", "AWS_CA_BUNDLE": "", "AWS_PROFILE": ""}
    ca = box.env["AWS_CA_BUNDLE"]
    cast = out / f"{t.id}.cast"
    assert verify(box, cast, "--ca", ca, env=bare).returncode == 0
    nobody = verify(box, cast, env=bare)
    assert nobody.returncode == 1 and "NOT PROVEN" in nobody.stdout

    # The real asciinema plays it, with the text that the terminal showed.
    played = subprocess.run([sys.executable, "-m", "asciinema", "cat", str(cast)], capture_output=True, timeout=60)
    assert played.returncode == 0, played.stderr
    assert "höllo 漢字 🙂".encode() in played.stdout and b"20000\r\n" in played.stdout
    # A line of a recording ends with LF and nothing else; what was shown may hold other ends of lines.
    events = [json.loads(line) for line in cast.read_text().split("\n")[1:-1]]
    assert played.stdout.decode() == "".join(e[2] for e in events if e[1] == "o")
    assert any(e[1:] == ["r", "100x30"] for e in events)

    # And the one that is not what it was is found, with its line.
    lines = cast.read_bytes().split(b"\n")[:-1]
    for name, changed, bad in [
        ("changed", lines[:9] + [lines[9].replace(b'"]', b' "]')] + lines[10:], 10),
        ("missing", lines[:9] + lines[10:], 10),
        ("swapped", lines[:9] + [lines[10], lines[9]] + lines[11:], 10),
        ("cut", lines[:-3], len(lines) - 2),
    ]:
        folder = tmp_path / name
        shutil.copytree(out, folder)
        (folder / cast.name).write_bytes(b"\n".join(changed) + b"\n")
        result = verify(box, folder / cast.name, "--ca", ca, env=bare)
        assert result.returncode == 1 and f"first bad line {bad}:" in result.stdout, (name, result.stdout)


def rechained(session, lines, places):
    """A chain that fits these lines: who has the controller can always make one."""
    head, links = hashlib.sha256(f"muster recording 1\n{session}\n".encode()).digest(), []
    for line, place in zip(lines, places):
        head = hashlib.sha256(head + line + b"\n" + place.encode()).digest()
        links.append(f"{head.hex()} {place}\n")
    return "".join(links)


def test_no_line_can_be_changed_removed_swapped_or_cut_off_once_its_commitments_are_away(box, node, tmp_path):
    """Every line, in each of the four ways, by somebody who rewrites the chain as well and takes the seal away."""
    t = Terminal(box, node)
    for number in range(3):
        before = len(audit(box, "CommitRecording", t.id))
        t.ask(f"echo line {number}")
        eventually(lambda: len(audit(box, "CommitRecording", t.id)) > before, what="a commitment of that line")
    t.stream(b"exit 3\r")
    t.drain(20)
    assert sealed(box, t.id)["state"] == "complete"
    out, away, bad = tmp_path / "export", tmp_path / "away.jsonl", tmp_path / "bad"
    away.write_text(box.muster("session", "commitments", t.id).stdout)
    box.muster("session", "export", t.id, out)
    cast = out / f"{t.id}.cast"
    lines = cast.read_bytes().split(b"\n")[:-1]
    places = [link.split(" ")[1] for link in (out / f"{t.id}.chain").read_text().splitlines()]
    marks = [json.loads(line)["mark"]["lines"] for line in away.read_text().splitlines()]
    assert len(marks) >= 3 and marks[-1] == len(lines) == len(places), "the last commitment covers the end"

    def judged(lines, places):
        shutil.rmtree(bad, ignore_errors=True)
        bad.mkdir()
        (bad / cast.name).write_bytes(b"".join(line + b"\n" for line in lines))
        (bad / f"{t.id}.chain").write_text(rechained(t.id, lines, places))
        result = verify(box, bad / cast.name, "--commitments", away, "--ca", box.env["AWS_CA_BUNDLE"], "-o", "json")
        return result.returncode, json.loads(result.stdout)[0]

    assert judged(lines, places)[0] == 0
    for i in range(len(lines)):
        changed = lines[i].replace(b"]", b" ]", 1) if b"]" in lines[i] else lines[i] + b" "
        attempts = {
            "changed": (lines[:i] + [changed] + lines[i + 1:], places),
            "missing": (lines[:i] + lines[i + 1:], places[:i] + places[i + 1:]),
            "cut off": (lines[:i], places[:i]),
        }
        if i + 1 < len(lines):
            attempts["swapped"] = (lines[:i] + [lines[i + 1], lines[i]] + lines[i + 2:], places[:i] + [places[i + 1], places[i]] + places[i + 2:])
        for what, (other, where) in attempts.items():
            status, verdict = judged(other, where)
            assert status == 1 and verdict["FirstBadLine"] <= i + 1 <= verdict["LastBadLine"], (what, i + 1, verdict)


def test_asciinema_plays_it_on_a_terminal(box, node, tmp_path):
    t = Terminal(box, node)
    t.ask("echo h\xf6llo \u6f22\u5b57 \U0001f642; seq 500")
    t.stream(b"exit\r")
    t.drain(20)
    sealed(box, t.id)
    box.muster("session", "export", t.id, tmp_path / "export")
    cast = tmp_path / "export" / f"{t.id}.cast"
    # Its home is asked for where it may write.
    env = {**os.environ, "TERM": "xterm", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    with terminal.Terminal(sys.executable, "-m", "asciinema", "play", "-s", "1000", "-i", "0.01", cast, env=env, columns=100, rows=30) as player:
        assert "h\xf6llo \u6f22\u5b57 \U0001f642" in player.expect(r"\r\n500\r\n", timeout=30)
        assert player.end()[0] == 0


def test_what_was_committed_elsewhere_holds_against_the_controllers_owner(box, node, tmp_path):
    t = Terminal(box, node)
    t.ask("echo innocent")
    t.ask("echo guilty")
    written = next((box.directory / "controller" / "recordings").rglob(f"{t.id}.cast")).stat().st_size
    away = tmp_path / "away.jsonl"

    def covered():
        away.write_text(box.muster("session", "commitments", t.id).stdout)
        return any(json.loads(line)["mark"]["length"] >= written for line in away.read_text().splitlines())

    eventually(covered, every=0.2, what="a commitment of all that")
    t.ask("echo later")
    t.stream(b"exit\r")
    t.drain(20)
    sealed(box, t.id)
    out = tmp_path / "export"
    box.muster("session", "export", t.id, out)
    (out / f"{t.id}.commitments").unlink()
    cast = out / f"{t.id}.cast"
    assert verify(box, cast, "--commitments", away).returncode == 0
    # Somebody who can sign rewrites a line, and the chain behind it.
    lines = cast.read_bytes().split(b"\n")[:-1]
    index = next(i for i, line in enumerate(lines) if b"guilty" in line)
    lines[index] = lines[index].replace(b"guilty", b"grumpy")
    cast.write_bytes(b"\n".join(lines) + b"\n")
    places = [link.split(" ")[1] for link in (out / f"{t.id}.chain").read_text().splitlines()]
    (out / f"{t.id}.chain").write_text(rechained(t.id, lines, places))
    (out / f"{t.id}.seal").unlink()
    result = verify(box, cast, "--commitments", away, "-o", "json")
    verdict = json.loads(result.stdout)[0]
    assert result.returncode == 1 and verdict["FirstBadLine"] <= index + 1 <= verdict["LastBadLine"], verdict


@pytest.fixture
def state(box):
    """The agent's folder, which is given back."""
    folder = pathlib.Path(box.directory) / "agent-0"
    keep = folder.with_name("agent-0.kept")
    shutil.copytree(folder, keep, symlinks=True, ignore=lambda d, names: [n for n in names if stat_is_socket(pathlib.Path(d) / n)])
    yield folder
    if alive(box.pids["agent-0"]):
        box.kill("agent-0")
    shutil.rmtree(folder)
    shutil.move(keep, folder)


@pytest.mark.parametrize("act", ["kill the agent", "remove its state", "both"])
def test_a_user_acts_against_the_agent_and_the_session_goes_on(box, node, state, act):
    """Agent and user are the same here, as where an operator is given root."""
    t = Terminal(box, node)
    t.ask("echo before")
    agent = box.pids["agent-0"]
    kill, remove = f"kill -9 {agent}", f"rm -rf {state}/* {state}/.[a-z]*"
    t.ask({"kill the agent": kill, "remove its state": remove, "both": f"{kill}; {remove}"}[act])
    if "kill" in act or act == "both":
        eventually(lambda: not alive(agent), what="the agent's end")
    if act != "kill the agent":
        assert not (state / "identity").exists()
    # It has nobody at the node but the host of the sessions now, and everything it shows is still written first.
    t.ask("echo after; head -c 3000 /dev/urandom; seq 3000")
    t.stream(b"echo last words; exit 5\r")
    t.drain(20)
    assert b"last words\r\n" in t.shown and t.end["ExitCode"] == 5
    assert sealed(box, t.id, 60)["state"] == "complete"
    assert recorded(box, t.id) == t.shown
    assert verify(box, t.id).returncode == 0


def test_what_the_user_does_to_the_host_does_not_reach_the_recording(box, node, state):
    t = Terminal(box, node)
    t.ask("echo before")
    agent = box.pids["agent-0"]
    # The agent, the host of the sessions and all of its state, from inside of the session.
    t.stream(f"echo last words; kill -9 {agent}; rm -rf {state}/*; "
             f"for p in $(pgrep -f 'session-host {box.directory}'); do kill -9 $p; done; kill -9 $PPID\r".encode())
    t.drain(5)
    assert b"last words\r\n" in t.shown
    box.muster("session", "terminate", t.id)
    sealed(box, t.id, 90)
    assert recorded(box, t.id) == t.shown
    assert verify(box, t.id).returncode == 0
    eventually(lambda: not alive(agent), what="the agent's end")


def stat_is_socket(path):
    try:
        return path.is_socket()
    except OSError:
        return True


def test_a_killed_controller_leaves_a_prefix_that_holds_and_the_session_goes_on(box, node, tmp_path):
    t = Terminal(box, node)
    t.ask("echo before")
    t.stream(b"for i in $(seq 1 400); do echo line $i; sleep 0.01; done; echo do''ne\r")
    t.until(b"line 100\r\n")
    box.kill("controller")
    t.drain(2)
    files = pathlib.Path(box.directory) / "controller" / "recordings"
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    for part in ("cast", "chain"):
        shutil.copy(files / f"{t.id}.{part}", prefix)
    sofar = subprocess.run([str(BIN / "muster"), "session", "replay", str(prefix / f"{t.id}.cast")], capture_output=True, timeout=30).stdout
    assert sofar.startswith(t.shown), "what was shown had been written"
    box.control("start", "controller")
    away = tmp_path / "commitments"
    # Those from before; the session goes on already.
    whole = (prefix / f"{t.id}.cast").read_bytes().count(b"\n")
    away.write_text("".join(line + "\n" for line in box.muster("session", "commitments", t.id).stdout.splitlines()
                            if json.loads(line)["mark"]["lines"] <= whole))
    assert away.read_text()
    held = verify(box, prefix / f"{t.id}.cast", "--commitments", away)
    assert held.returncode == 0, held.stdout
    t.reopen()
    t.until(b"done\r\n")
    t.ask("echo after")
    t.stream(b"exit\r")
    t.drain(20)
    assert sealed(box, t.id)["state"] == "complete"
    assert recorded(box, t.id) == t.shown
    assert verify(box, t.id).returncode == 0
    assert [int(n) for n in re.findall(rb"line (\d+)\r\n", t.shown)] == list(range(1, 401)), "nothing lost, nothing twice"


def test_a_session_is_watched_and_ended(box, node):
    t = Terminal(box, node)
    t.ask("echo first")
    watcher = subprocess.Popen([str(BIN / "muster"), "session", "watch", t.id], env={**os.environ, **box.env}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seen = b""

    def read():
        nonlocal seen
        while piece := os.read(watcher.stdout.fileno(), 1 << 16):
            seen += piece

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: b"first" in seen, what="what was there before")
    t.ask("echo second")
    eventually(lambda: t.shown in seen or seen == t.shown, what="what is new")
    assert audit(box, "FollowRecording", t.id), "watching is recorded"
    begun = time.monotonic()
    box.muster("session", "terminate", t.id)
    t.drain(5)
    assert time.monotonic() - begun < 3
    assert watcher.wait(10) == 0
    reader.join()
    sealed(box, t.id)
    assert seen == t.shown == recorded(box, t.id)
    assert "began to watch" in (pathlib.Path(box.directory) / "controller" / "recordings" / f"{t.id}.cast").read_text()


def test_a_recording_that_cannot_be_written_ends_the_session(tmp_path):
    box = Sandbox(tmp_path / "s", 1, controller={"MUSTER_CONTROLLER_RECORDING_BYTES": "20000"})
    try:
        t = Terminal(box, box.nodes()[0])
        t.stream(b"seq 100000\r")
        t.drain(10)
        recording = sealed(box, t.id)
        assert recording["state"] == "truncated" and "limit" in recording["detail"]
        assert recorded(box, t.id).startswith(t.shown) or t.shown.startswith(recorded(box, t.id))
        assert len(t.shown) < 40_000, "nothing was shown that was not recorded"
        assert verify(box, t.id).returncode == 0
    finally:
        box.down()


def test_a_forwarded_port_leaves_what_it_moved(box, node):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    content = os.urandom(300_000)

    def serve():
        connection, _ = listener.accept()
        connection.recv(5)
        connection.sendall(content)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    t = Terminal(box, node, "AWS-StartSSHSession", portNumber=str(port))
    while t.expected < 2:
        assert t.pump(), "the handshake"
    t.stream(b"hello")
    while len(t.shown) < len(content):
        assert t.pump()
    thread.join()
    listener.close()
    box.muster("session", "terminate", t.id)
    recording = sealed(box, t.id)
    assert recording["kind"] == "flow" and recording["state"] == "complete"
    flow = recording["flow"]
    assert [s["sha256"] for s in flow["toClient"]] == [hashlib.sha256(content).hexdigest()]
    assert [s["sha256"] for s in flow["toNode"]] == [hashlib.sha256(b"hello").hexdigest()]
    assert str(port) in flow["destination"].values()
    assert verify(box, t.id).returncode == 0


def test_a_recording_is_played_on_a_terminal(tmp_path):
    cast = tmp_path / "x.cast"
    cast.write_text("\n".join([
        '{"version":2,"width":80,"height":24}', '[0.1,"o","first\\u001b]0;title\\u0007 word"]', '[0.2,"z","unknown"]',
        '[60.0,"o"," second\\u001b[6n"]', '[120.0,"o"," third"]', ""]))
    begun = time.monotonic()
    with terminal.Terminal(BIN / "muster", "session", "replay", cast, env={**os.environ, "TERM": "xterm"}) as t:
        t.expect("first word")
        t.type(" ")
        for _ in range(16):
            t.type("\x1b[C")
            time.sleep(0.02)
        time.sleep(0.3)
        assert " second" in t.expect("second")
        t.type("\x1b[D")
        t.expect("first word")
        t.type("q")
        status, rest = t.end()
        assert status == 0 and "title" not in rest and "[6n" not in rest
    with terminal.Terminal(BIN / "muster", "session", "replay", cast, "--speed", "1000", "--from", "59", env={**os.environ, "TERM": "xterm"}) as t:
        assert "title" not in t.expect("first word second third")
        assert t.end()[0] == 0
    assert time.monotonic() - begun < 20
    found = subprocess.run([str(BIN / "muster"), "session", "replay", str(cast), "--search", "WORD"], capture_output=True, text=True)
    assert found.returncode == 0 and "0:00.1  first word second third" in found.stdout

"""Sessions at the node: real shells, launchers and ports behind a real relay, driven by golden frames."""

import hashlib
import http.server
import json
import os
import pathlib
import pwd
import signal
import subprocess
import threading
import time

import pytest

import sessions
from conftest import Sandbox, eventually
from shells import Shell, ended, hosts, processes, shell


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    made = Sandbox(tmp_path_factory.mktemp("sessions") / "box", 1)
    yield made
    made.down()
    assert not hosts(made)


@pytest.fixture(scope="module")
def node(sandbox):
    return sandbox.nodes()[0]


def test_a_login_shell_of_the_user_that_is_configured(sandbox, node):
    user = pwd.getpwuid(os.geteuid())
    s = shell(sandbox, node)
    assert s.ask("id -un").strip() == user.pw_name
    assert s.ask("pwd").strip() == os.path.realpath(user.pw_dir)
    assert s.ask("echo $HOME $USER $LOGNAME $SHELL $TERM").split() == [user.pw_dir, user.pw_name, user.pw_name, user.pw_shell, "xterm-256color"]
    assert s.ask("echo $MUSTER_SESSION_ID $AWS_SSM_SESSION_ID").split() == [s.id, s.id]
    assert s.ask("shopt -q login_shell && echo login || echo other; tty").split()[0] == "login"
    assert set(s.ask("ls /proc/$$/fd").split()) <= {"0", "1", "2", "255"}, "nothing of the agent is open in the shell"
    s.stream(b"exit 7\r")
    assert s.over()["ExitCode"] == 7
    assert ended(sandbox, s.id)["Status"] == "Terminated"
    eventually(lambda: not processes(s.id), what="the end of its processes")


def test_keys_size_and_characters(sandbox, node):
    s = shell(sandbox, node)
    assert s.ask("stty size").strip() == "24 80"
    s.stream(json.dumps({"cols": 131, "rows": 47}).encode(), 3)
    assert s.ask("stty size").strip() == "47 131"
    # A signal that comes between two commands of the shell is seen after the second one: that is a short one.
    s.stream(b"sh -c 'trap \"echo c\"\"aught; exit\" INT; echo wai\"\"ting; while :; do sleep 0.1; done'\r")
    s.until(b"waiting\r\n")
    s.stream(b"\x03")
    s.until(b"caught\r\n")
    s.stream(b"sh -c 'echo wai\"\"ting; exec sleep 100'\r")
    s.until(b"waiting\r\n")
    s.stream(b"\x1a")
    s.until(b"Stopped")
    wide = "äöü€漢字🙂" * 300
    s.stream(f"printf %s '{wide}'; echo; echo w''ide\r".encode())
    assert s.until(b"wide\r\n").decode().endswith(f"\r\n{wide}\r\nwide\r\n")
    s.stream(b"exit\rexit\r")
    s.over()
    eventually(lambda: not processes(s.id), what="the end of its jobs")


def test_a_character_is_never_torn_between_frames(sandbox, node):
    s = shell(sandbox, node)
    seen = []
    take = s.take
    s.take = lambda found: (seen.append(found.payload), take(found))
    s.ask("python3 -c \"print('漢字🙂ä' * 3000)\"")
    assert len(seen) > 20
    for payload in seen:
        payload.decode()
    s.stream(b"exit\r")
    s.over()


def test_much_output_arrives_whole(sandbox, node):
    s = shell(sandbox, node)
    expected = hashlib.sha256("".join(f"{i}\n" for i in range(1, 50001)).encode()).hexdigest()
    s.stream(b"seq 1 50000; echo w''hole\r")
    found = s.until(b"whole\r\n", 60)[:-7].replace(b"\r\n", b"\n")
    assert hashlib.sha256(found).hexdigest() == expected
    s.stream(b"exit\r")
    s.over()


def test_pasted_lines_all_arrive(sandbox, node, tmp_path):
    s = shell(sandbox, node)
    s.stream(f"cat > {tmp_path}/pasted\r".encode())
    for i in range(0, 5000, 50):
        s.stream("".join(f"line number {j}\r" for j in range(i, i + 50)).encode())
    s.stream(b"\x04")
    s.ask("true", 60)
    assert (tmp_path / "pasted").read_text() == "".join(f"line number {j}\n" for j in range(5000))
    s.stream(b"exit\r")
    s.over()


@pytest.mark.parametrize("what", ["kill", "restart"])
def test_an_agent_that_dies_costs_no_byte(sandbox, node, what):
    s = shell(sandbox, node)
    s.stream(b"for i in $(seq 1 400); do echo line $i; sleep 0.01; done; echo a''ll\r")
    s.until(b"line 20\r\n")
    before = hosts(sandbox)
    if what == "kill":
        sandbox.kill("agent-0")
        sandbox.control("start", "agent-0")
    else:
        sandbox.control("restart", "agent-0")
    found = s.until(b"all\r\n").decode().split("\r\n")
    assert found == [f"line {i}" for i in range(21, 401)] + ["all", ""]
    assert hosts(sandbox) == before
    s.stream(b"exit 4\r")
    assert s.over()["ExitCode"] == 4
    ended(sandbox, s.id)
    eventually(lambda: not (sandbox.directory / "agent-0" / "sessions" / "open" / s.id).exists(), what="the end of its note")


def test_a_client_that_comes_back_gets_what_it_missed(sandbox, node, tmp_path):
    s, far = shell(sandbox, node), tmp_path / "far"
    s.stream(f"for i in $(seq 1 300); do echo line $i; [ $i = 100 ] && touch {far}; sleep 0.01; done; echo a''ll\r".encode())
    s.until(b"line 10\r\n")
    s.socket.drop()
    eventually(far.exists, what="lines that nobody was there for")
    s.reopen()
    found = s.until(b"all\r\n").decode().split("\r\n")
    assert found == [f"line {i}" for i in range(11, 301)] + ["all", ""]
    s.stream(b"exit\r")
    s.over()


@pytest.mark.parametrize("lost", ["the way back", "acknowledgements"])
def test_a_plugin_whose_connection_breaks_shows_everything_once(sandbox, node, lost):
    """What is in its socket when the connection breaks it still shows; or all it has acknowledged is lost on the way."""
    s = shell(sandbox, node)
    screen = sessions.Showing()
    screen.expected = s.expected
    lines = 100_000
    s.stream(b"for i in $(seq 1 %d); do echo line $i; done; echo a''ll\r" % lines)

    def broken(found):
        raise BrokenPipeError

    def swallowed(found):
        pass

    def read(acknowledge, frames, timeout):
        for _ in range(frames):
            try:
                found = s.next(sessions.OUTPUT, timeout=timeout)
            except TimeoutError:
                return False
            try:
                screen.take(found, acknowledge)
            except BrokenPipeError:
                pass
        return True

    for round in range(3):
        read(s.acknowledge, 20, 10)
        if lost == "the way back":
            read(broken, 5, 10)
        else:
            # Until the host's window is full, and only repeats come.
            seen = -1
            while seen != len(screen.shown):
                seen = len(screen.shown)
                read(swallowed, 8, 2)
        s.socket.drop()
        s.reopen()
    whole = b""
    deadline = time.monotonic() + 60
    while b"all\r\n" not in whole[-2000:]:
        assert time.monotonic() < deadline
        assert read(s.acknowledge, 1, 10), "the session stands still"
        whole = b"".join(screen.shown[-20:])
    assert b"".join(screen.shown) == b"".join(b"line %d\r\n" % i for i in range(1, lines + 1)) + b"all\r\n"
    s.stream(b"exit\r")
    s.over()
    row = ended(sandbox, s.id)
    assert row["Status"] == "Terminated", row
    # Frames come before their turn and twice: what is recorded is what was shown.
    sandbox.muster("session", "verify", s.id)
    cast = pathlib.Path(sandbox.directory) / "controller" / "recordings" / f"{s.id}.cast"
    events = [json.loads(line) for line in cast.read_text().splitlines()[1:]]
    recorded = "".join(data for _, kind, data in events if kind == "o")
    assert not [data for _, kind, data in events if kind == "m" and "missing" in data]
    assert "".join(f"line {i}\r\n" for i in range(1, lines + 1)) + "all\r\n" in recorded


def test_a_controller_that_restarts_keeps_the_session(sandbox, node):
    s = shell(sandbox, node)
    s.stream(b"for i in $(seq 1 600); do echo line $i; sleep 0.01; done; echo a''ll\r")
    s.until(b"line 10\r\n")
    sandbox.control("restart", "controller")
    s.socket.drop()
    sandbox.load()
    s.ssm = sandbox.client()

    def back():
        try:
            s.reopen()
            return True
        except (sessions.Refused, OSError):
            return False

    eventually(back, what="the way back")
    found = s.until(b"all\r\n", 60).decode().split("\r\n")
    assert found == [f"line {i}" for i in range(11, 601)] + ["all", ""]
    s.stream(b"exit\r")
    s.over()


def test_terminate_ends_the_whole_tree(sandbox, node):
    s = shell(sandbox, node)
    s.stream(b"(setsid sleep 1000 &) ; nohup sleep 1000 & sleep 1000 | cat; echo\r")
    eventually(lambda: len(processes(s.id)) >= 4, what="its processes")
    began = time.monotonic()
    sandbox.client().terminate_session(SessionId=s.id)
    eventually(lambda: not processes(s.id), 5, what="the end of the tree")
    assert time.monotonic() - began < 2
    s.over()
    assert ended(sandbox, s.id)["Status"] == "Terminated"


def test_a_host_that_is_killed_ends_its_sessions_as_failed(sandbox, node):
    s = shell(sandbox, node)
    s.stream(b"(setsid sleep 1000 &); sleep 1000\r")
    eventually(lambda: len(processes(s.id)) >= 3, what="its processes")
    (host,) = hosts(sandbox)
    os.kill(host, signal.SIGKILL)
    eventually(lambda: not processes(s.id), 15, what="the end of the tree")
    assert ended(sandbox, s.id)["Status"] in ("Failed", "Terminated")
    # And the next one begins all the same.
    again = shell(sandbox, node)
    assert again.ask("echo again").strip() == "again"
    again.stream(b"exit\r")
    again.over()


def test_nothing_listens_for_sessions_but_a_private_socket(sandbox, node):
    s = shell(sandbox, node)
    (host,) = hosts(sandbox)
    state = sandbox.directory / "agent-0" / "sessions"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "host.sock").stat().st_mode & 0o777 == 0o600
    listening = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True).stdout if pathlib.Path("/usr/bin/ss").exists() else ""
    assert f"pid={host}," not in listening
    s.stream(b"exit\r")
    s.over()


def test_without_a_user_a_session_is_refused(tmp_path):
    box = Sandbox(tmp_path / "box", 1, agent={"MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": ""})
    try:
        s = Shell(box, box.nodes()[0])
        s.over()
        row = ended(box, s.id)
        assert row["Status"] == "Failed"
        assert "sessionRunAsDefault" in (row.get("Details") or "") + (s.end.get("Output") or "")
    finally:
        box.down()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_as_another_user_there_is_no_way_back(tmp_path):
    box = Sandbox(tmp_path / "box", 1, agent={"MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": "daemon"})
    try:
        ssm = box.client()
        s = Shell(box, box.nodes()[0])
        # Its login shell is nologin on most systems: it says so and ends.
        s.over()
        assert ended(box, s.id)["Status"] == "Terminated"
    finally:
        box.down()


# Commands

def test_a_command_on_a_terminal(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartInteractiveCommand", command="tty; echo $MUSTER_SESSION_ID; exit 6")
    end = s.over()
    assert b"/dev/pts/" in s.seen and s.id.encode() in s.seen
    assert end["ExitCode"] == 6


def test_a_command_without_a_terminal_for_a_stock_client(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartNonInteractiveCommand", command="sh -c 'echo out; echo err >&2; cat; exit 3'")
    end = s.over()
    assert (s.seen, s.errors, s.exit) == (b"out\n", b"err\n", b"EXIT_CODE: 3")
    assert s.request["RequestedClientActions"][0]["ActionParameters"] == {"SessionType": "NonInteractiveCommands", "Properties": None}
    assert end["ExitCode"] == 3


def test_a_command_hears_ctrl_c(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartNonInteractiveCommand", command="sh -c 'echo up; sleep 1000'")
    s.until(b"up\n")
    s.stream(b"\x03")
    assert s.over()["ExitCode"] == 130


def test_standard_input_of_a_native_client(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartNonInteractiveCommand", native=True, command="sha256sum")
    data = os.urandom(3_000_000)
    while not hasattr(s, "complete"):
        s.pump()
    for start in range(0, len(data), 60_000):
        s.stream(data[start:start + 60_000])
    s.socket.send(sessions.frame(sessions.INPUT, b"", s.sent, flags=2, payload_type=1))
    s.over()
    assert s.seen.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert s.exit == b"EXIT_CODE: 0"


def test_what_cannot_be_executed_is_said(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartNonInteractiveCommand", command="/nonexistent/program")
    assert "/nonexistent/program" in s.over()["Output"]
    assert "/nonexistent/program" in ended(sandbox, s.id)["Details"]


# Ports

def smux(command, stream, payload=b""):
    return bytes([1, command]) + len(payload).to_bytes(2, "little") + stream.to_bytes(4, "little") + payload


@pytest.fixture(scope="module")
def web():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"page {self.path}".encode() * 1000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


class Port(Shell):
    """A port session with smux, as the stock plugin speaks it."""

    def __init__(self, sandbox, node, document="AWS-StartPortForwardingSession", **parameters):
        self.streams, self.closed_streams, self.flags, self.partial = {}, set(), [], b""
        super().__init__(sandbox, node, document, **parameters)
        while not hasattr(self, "complete"):
            assert self.pump(), self.end

    def take(self, found):
        if found.payload_type == 10:
            self.flags.append(int.from_bytes(found.payload, "big"))
        if found.payload_type != 1:
            return super().take(found)
        self.partial += found.payload
        while len(self.partial) >= 8:
            length = int.from_bytes(self.partial[2:4], "little")
            if len(self.partial) < 8 + length:
                break
            command, stream, payload = self.partial[1], int.from_bytes(self.partial[4:8], "little"), self.partial[8:8 + length]
            self.partial = self.partial[8 + length:]
            if command == 2:
                self.streams[stream] = self.streams.get(stream, b"") + payload
            elif command == 1:
                self.closed_streams.add(stream)


def test_two_hundred_requests_over_a_port(sandbox, node, web):
    s = Port(sandbox, node, portNumber=str(web))
    assert s.request["RequestedClientActions"][0]["ActionParameters"]["Properties"]["portNumber"] == str(web)
    wanted = {3 + 2 * i: f"page /{i}".encode() * 1000 for i in range(200)}
    for first in range(0, 200, 20):
        for i in range(first, first + 20):
            s.stream(smux(0, 3 + 2 * i) + smux(2, 3 + 2 * i, f"GET /{i} HTTP/1.0\r\n\r\n".encode()))
        deadline = time.monotonic() + 30
        while not all(3 + 2 * i in s.closed_streams for i in range(first, first + 20)):
            assert time.monotonic() < deadline and s.pump()
    for stream, body in wanted.items():
        assert s.streams[stream].endswith(body) and s.streams[stream].startswith(b"HTTP/1.0 200")
    s.stream((2).to_bytes(4, "big"), 10)
    s.over()
    assert ended(sandbox, s.id)["Status"] == "Terminated"


def test_a_port_where_nobody_listens(sandbox, node):
    s = Port(sandbox, node, portNumber="1")
    s.stream(smux(0, 3) + smux(2, 3, b"hello"))
    while 3 not in s.closed_streams:
        assert s.pump()
    assert s.flags == [3]
    sandbox.client().terminate_session(SessionId=s.id)
    s.over()


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "::ffff:169.254.169.254", "fe80::1%1"])
def test_metadata_services_are_out_of_reach(sandbox, node, host):
    try:
        s = Port(sandbox, node, "AWS-StartPortForwardingSessionToRemoteHost", host=host, portNumber="80")
    except sandbox.client().exceptions.ClientError:
        return  # The document does not let such a host through.
    s.stream(smux(0, 3) + smux(2, 3, b"GET / HTTP/1.0\r\n\r\n"))
    while 3 not in s.closed_streams:
        assert s.pump()
    assert s.flags == [3] and not s.streams
    sandbox.client().terminate_session(SessionId=s.id)
    s.over()


def test_a_remote_host_by_name(sandbox, node, web):
    s = Port(sandbox, node, "AWS-StartPortForwardingSessionToRemoteHost", host="localhost", portNumber=str(web))
    s.stream(smux(0, 3) + smux(2, 3, b"GET /x HTTP/1.0\r\n\r\n"))
    while 3 not in s.closed_streams:
        assert s.pump()
    assert s.streams[3].endswith(b"page /x")
    sandbox.client().terminate_session(SessionId=s.id)
    s.over()


def test_a_unix_socket(sandbox, node, tmp_path):
    import socket as sockets
    path = str(tmp_path / "socket")
    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        s = Port(sandbox, node, "AWS-StartPortForwardingSessionToSocket", socketPath=path)
        s.stream(smux(0, 3) + smux(2, 3, b"ping"))
        server.settimeout(10)
        peer, _ = server.accept()
        assert peer.recv(4) == b"ping"
        peer.sendall(b"pong")
        peer.close()
        while 3 not in s.closed_streams:
            assert s.pump()
        assert s.streams[3] == b"pong"
    sandbox.client().terminate_session(SessionId=s.id)
    s.over()


def test_one_connection_as_ssh_uses_it(sandbox, node):
    import socket as sockets
    with sockets.create_server(("127.0.0.1", 0)) as server:
        s = Shell(sandbox, node, "AWS-StartSSHSession", portNumber=str(server.getsockname()[1]))
        while not hasattr(s, "complete"):
            assert s.pump(), s.end
        peer, _ = server.accept()
        s.stream(b"SSH-2.0-test\r\n")
        assert peer.recv(100) == b"SSH-2.0-test\r\n"
        data = os.urandom(2_000_000)
        threading.Thread(target=lambda: (peer.sendall(data), peer.close())).start()
        s.over()
        assert hashlib.sha256(s.seen).digest() == hashlib.sha256(data).digest()
    assert ended(sandbox, s.id)["Status"] == "Terminated"


def test_ssh_to_a_port_where_nobody_listens_fails_in_words(sandbox, node):
    s = Shell(sandbox, node, "AWS-StartSSHSession", portNumber="1")
    assert "Connection refused" in s.over()["Output"]
    assert "Connection refused" in ended(sandbox, s.id)["Details"]

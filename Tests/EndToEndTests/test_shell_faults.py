"""A `muster shell` with bytes on their way in both directions while everything around it breaks: it stays usable, none is lost, none doubled."""

import hashlib
import json
import os
import re
import subprocess
import termios
import textwrap
import threading
import time

import pytest
from conftest import BIN, Sandbox, eventually
from proxy import Proxy
from sshd import SSHServer
from terminal import Terminal

# What both ends make of a number: text without a tilde, which would be an escape behind a newline.
LINES = """
import hashlib

def piece(way, number):
    return b"".join(b"%s %09d %s\\n" % (way, n, hashlib.sha256(b"%s %d" % (way, n)).hexdigest().encode()) for n in range(number * 64, number * 64 + 64))
"""
# In the session: reads until the end is said, writes all the while, and tells what it has read and written.
FAR = LINES + """
import os, threading, time, termios, tty

saved = termios.tcgetattr(0)
tty.setraw(0, termios.TCSADRAIN)
os.write(1, b"READY\\n")
over = threading.Event()
written = 0

def write():
    global written
    while not over.is_set():
        data = piece(b"down", written)
        while data:
            data = data[os.write(1, data):]
        written += 1
        time.sleep(0.001)

writer = threading.Thread(target=write)
writer.start()
digest, size, tail = hashlib.sha256(), 0, b""
while not tail.endswith(b"END\\n"):
    tail += os.read(0, 1 << 16)
    keep = 4
    digest.update(tail[:-keep])
    size += len(tail[:-keep])
    tail = tail[-keep:]
over.set()
writer.join()
os.write(1, b"READ %d %s WRITTEN %d\\n" % (size, digest.hexdigest().encode(), written))
termios.tcsetattr(0, termios.TCSADRAIN, saved)
"""
exec(LINES)


class Shell(Terminal):
    """A shell that keeps every byte it has shown; what muster says of itself goes elsewhere."""

    def __init__(self, env, node, folder):
        self.words = open(folder / "stderr", "w+")
        self.far = folder / "far.py"
        self.far.write_text(textwrap.dedent(FAR))
        super().__init__(BIN / "muster", "shell", node, env=env, stderr=self.words)
        self.shown, self.changed = bytearray(), threading.Condition()
        self.reader = threading.Thread(target=self.keep, daemon=True)
        self.reader.start()
        # Until then the terminal here repeats what is typed.
        eventually(lambda: not termios.tcgetattr(self.master)[3] & termios.ECHO, what="a raw terminal")
        self.type("PS1= PS2= PROMPT_COMMAND=; bind 'set enable-bracketed-paste off'; stty -echo; KEPT=here; echo i''d=$MUSTER_SESSION_ID-\n")
        self.id = self.until(rb"id=(\S+)-\r\n")[1].decode()

    def keep(self):
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                data = b""
            with self.changed:
                self.shown += data
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def until(self, pattern, start=0, timeout=30):
        deadline = time.monotonic() + timeout
        with self.changed:
            while not (match := re.compile(pattern).search(self.shown, start)):
                assert self.reader.is_alive() and time.monotonic() < deadline, (pattern, bytes(self.shown[-300:]), self.said())
                self.changed.wait(1)
        return match

    def said(self):
        self.words.flush()
        return open(self.words.name).read()

    def close(self):
        super().close()
        self.words.close()

    def transfer(self):
        self.type(f"python3 {self.far}\n")
        self.begin = self.until(rb"READY\n").end()
        self.over, self.sent, self.digest, self.size = threading.Event(), 0, hashlib.sha256(), 0
        self.writer = threading.Thread(target=self.write, daemon=True)
        self.writer.start()

    def write(self):
        while not self.over.is_set():
            data = piece(b"up", self.sent)
            self.sent += 1
            self.digest.update(data)
            self.size += len(data)
            while data:
                data = data[os.write(self.master, data):]
            time.sleep(0.001)
        os.write(self.master, b"END\n")

    def moves_on(self, more=1 << 20, timeout=60):
        """In both directions."""
        shown, size = len(self.shown) + more, self.size + more
        eventually(lambda: (len(self.shown) >= shown and self.size >= size) or self.process.poll() is not None, timeout=timeout, what="more bytes")
        assert self.process.poll() is None, self.said()

    def finish(self):
        """Compares what was sent with what came, in both directions; then it is a shell as before."""
        self.over.set()
        self.writer.join(60)
        assert not self.writer.is_alive()
        told = self.until(rb"READ (\d+) (\w+) WRITTEN (\d+)\n", max(self.begin, len(self.shown) - 4096), 60)
        assert (int(told[1]), told[2].decode()) == (self.size, self.digest.hexdigest()), "from here to the node"
        came = hashlib.sha256(self.shown[self.begin:told.start()]).hexdigest()
        went = hashlib.sha256()
        for number in range(int(told[3])):
            went.update(piece(b"down", number))
        assert came == went.hexdigest(), "from the node to here"
        moved = (self.size, told.start() - self.begin)
        self.type("echo still-$KEPT; stty size; exit 7\n")
        self.until(rb"still-here\r\n24 80\r\n", told.end())
        assert self.process.wait(20) == 7
        return moved


@pytest.fixture(scope="module")
def links():
    """The ways of the agent and of the client to the controller."""
    with Proxy() as agent, Proxy() as client:
        yield {"agent": agent, "client": client}


@pytest.fixture(scope="module")
def box(tmp_path_factory, links):
    made = Sandbox(tmp_path_factory.mktemp("shells") / "s", 1, agent={
        "MUSTER_AGENT_PROXY": links["agent"].url})
    yield made
    made.down()


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


@pytest.fixture
def moving(box, node, links, tmp_path):
    env = {**box.clean_env(), "HTTPS_PROXY": links["client"].url, "NO_PROXY": ""}
    with Shell(env, node, tmp_path) as shell:
        shell.transfer()
        shell.moves_on()
        yield shell
        moved = shell.finish()
        print(f"\n{moved[0] / 1e6:.1f} MB up, {moved[1] / 1e6:.1f} MB down; {shell.said().split(chr(10))[:4]}")
    # What was shown is what was recorded, to the byte, and proven.
    kept = eventually(lambda: (lambda r: r if r and r["state"] != "open" else None)(
        json.loads(box.muster("session", "show", shell.id, "-o", "json").stdout).get("Recording")), what="the end of the recording")
    assert kept["state"] == "complete"
    replayed = subprocess.run([str(BIN / "muster"), "session", "replay", shell.id], env={**os.environ, **box.env}, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)
    assert replayed.stdout == bytes(shell.shown)
    assert box.muster("session", "verify", shell.id).returncode == 0


def test_sshd_is_stopped(moving, tmp_path_factory):
    server = SSHServer(tmp_path_factory.mktemp("sshd"))
    other = None
    try:
        assert subprocess.run(server.command("echo", "it", "works"), capture_output=True, timeout=30).stdout == b"it works\n"
        other = subprocess.Popen(server.command("echo in; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert other.stdout.readline() == b"in\n"
        moving.moves_on()
    finally:
        server.stop()
    assert other.wait(20) == 255 and not server.listens(), "there is no SSH any more"
    moving.moves_on(2 << 20)


@pytest.mark.parametrize("fault", ["agent restarted", "agent killed", "controller restarted", "controller killed"])
def test_a_process_ends(moving, box, fault):
    box.restart("agent-0" if "agent" in fault else "controller", kill="killed" in fault)
    moving.moves_on(2 << 20)


# The agent's control channel notices a dead link later than sessions do: nothing is begun on it after the last of these.
@pytest.mark.parametrize("leg", ["client", "agent"])
@pytest.mark.parametrize("kind, seconds", [
    # Packets wait and go on; below the limit of silence nobody need connect anew.
    ("held", 4), pytest.param("held", 30, marks=pytest.mark.soak),
    # Packets are gone, and nobody is told.
    ("lost", 14), pytest.param("lost", 30, marks=pytest.mark.soak),
])
def test_a_link_is_cut(moving, links, leg, kind, seconds):
    link = links[leg]
    before = link.tunnels
    (link.hold if kind == "held" else link.blackhole)()
    try:
        time.sleep(seconds)
    finally:
        (link.release if kind == "held" else link.restore)()
    moving.moves_on(2 << 20)
    if kind == "held" and seconds < 10:
        assert link.tunnels == before

"""Whatever ends a session ends its whole tree in time, and nothing of it stays: no process, no terminal, no file, no row that is not final."""

import concurrent.futures
import json
import os
import pathlib
import select
import signal
import sqlite3
import subprocess
import time

import pytest

import sessions
from clock import Clock
from conftest import BIN, Sandbox, alive, descendants, eventually
from proxy import Proxy
from shells import Shell, hosts, processes
from terminal import Terminal

# What a session's user can leave behind who does not want to go: other sessions and groups, no signal heard, nothing in the environment,
# no terminal, parents that are gone, and children that are made all the while.
STUBBORN = """#!/bin/bash
trap '' HUP INT QUIT TERM TSTP
M=$1
setsid bash -c "trap '' HUP TERM; while :; do sleep $M; done" &
nohup sleep $M > /dev/null 2>&1 &
env -i /usr/bin/setsid --fork /usr/bin/sleep $M < /dev/null > /dev/null 2>&1
bash -c "trap '' HUP TERM; exec sleep $M" < /dev/null > /dev/null 2>&1 &
bash -c ": $M; while :; do sleep 0.05 & wait; done" > /dev/null 2>&1 &
python3 -c "
import os, signal, time
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir('/')
os.closerange(0, 256)
os.execve('/usr/bin/sleep', ['sleep', '$M'], {})
"
"""
KINDS = 6


class Marks:
    """Numbers that are nobody else's, for the command lines of what is left behind."""

    def __init__(self, folder):
        self.script = folder / "stubborn"
        self.script.write_text(STUBBORN)
        self.script.chmod(0o755)
        self.count = 0

    def new(self):
        self.count += 1
        return f"9{os.getpid()}{int(time.monotonic())}.{self.count}"

    def line(self, mark):
        return f"trap '' HUP TERM; {self.script} {mark}"


def marked(mark):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes() and alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def descriptors(pid):
    """What a process has open, without its connections to us."""
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:
            pass
    return found


class Ground:
    """What is there without sessions, to be found again after them."""

    def __init__(self, box):
        self.box = box
        eventually(lambda: not self.rows() and not any((box.directory / "agent-0" / "sessions" / "open").iterdir()), what="the end of the first one")
        self.files = self.folder()
        self.open = {name: len(descriptors(pid)) for name, pid in self.running().items()}

    def running(self):
        (host,) = hosts(self.box)
        return {"controller": self.box.pids["controller"], "agent": self.box.pids["agent-0"], "host": host}

    def folder(self):
        keep = self.box.directory / "controller" / "recordings"
        return {str(p) for p in self.box.directory.rglob("*") if keep not in p.parents and not p.name.endswith(("-wal", "-shm"))}

    def rows(self):
        with sqlite3.connect(f"file:{self.box.directory}/controller/controller.sqlite?mode=ro", uri=True) as db:
            return (db.execute("SELECT session_id, status FROM sessions WHERE status NOT IN ('Terminated', 'Failed')").fetchall()
                    + db.execute("SELECT session_id, state FROM recordings WHERE state = 'open'").fetchall())

    def terminals(self):
        return [pid for pid in self.running().values() for link in descriptors(pid) if "/ptmx" in link or "/pts/" in link]

    def is_as_it_was(self, timeout=20):
        eventually(lambda: not self.rows(), timeout, what="final rows")
        eventually(lambda: not self.terminals(), timeout, what="the end of the terminals")
        try:
            eventually(lambda: self.folder() == self.files, timeout, what="the files of before")
        except AssertionError as error:
            raise AssertionError(f"left or gone: {self.folder() ^ self.files}") from error
        kept = self.box.directory / "controller" / "recordings"
        assert {p.suffix for p in kept.iterdir()} <= {".cast", ".chain", ".seal"}
        for name, pid in self.running().items():
            # A few connections are kept by those who asked.
            slack = 12 if name == "controller" else 2
            eventually(lambda: len(descriptors(pid)) <= self.open[name] + slack, timeout, what=f"as few descriptors of {name} as before")


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    return Marks(tmp_path_factory.mktemp("marks"))


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    made = Sandbox(tmp_path_factory.mktemp("ends") / "s", 1)
    yield made
    made.down()


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


def warm(box, node):
    """One session that has come and gone: what is made once is there."""
    s = Shell(box, node, "AWS-StartNonInteractiveCommand", command="true")
    s.over()
    return Ground(box)


def stubborn(box, node, marks, kind="shell", document=None):
    """A session whose user does not want it to end."""
    mark = marks.new()
    line = marks.line(mark)
    if kind == "shell":
        s = Shell(box, node, document)
        s.stream(line.encode() + b"\r")
    elif kind == "terminal":
        s = Shell(box, node, "AWS-StartInteractiveCommand", command=line + f"; sleep {mark}")
    else:
        s = Shell(box, node, "AWS-StartNonInteractiveCommand", command=f"bash -c \"{line}; sleep {mark}\"")
        while not hasattr(s, "complete"):
            assert s.pump()
    s.mark = mark
    eventually(lambda: len(marked(mark)) >= KINDS, what="its processes")
    return s


def all_gone(s, timeout):
    eventually(lambda: not marked(s.mark) and not processes(s.id), timeout, what=f"the end of the tree, and not {marked(s.mark)}")


def answer(s, patience):
    """Takes what has come: a ping is answered, and nothing need come behind it."""
    try:
        while select.select([s.socket.socket], [], [], patience)[0] and s.pump(0.05):
            pass
    except TimeoutError:
        pass


def test_many_sessions_leave_nothing_open(box, node):
    """More than what is allowed for connections that are kept: a descriptor of each would show."""
    ground = warm(box, node)
    for number in range(20):
        assert box.muster("exec", node, "--", "echo", str(number)).stdout == f"{number}\n"
    ground.is_as_it_was()


@pytest.mark.parametrize("kind", ["shell", "terminal", "pipes"])
def test_terminate(box, node, marks, kind):
    ground = warm(box, node)
    s = stubborn(box, node, marks, kind)
    began = time.monotonic()
    box.client().terminate_session(SessionId=s.id)
    all_gone(s, 5)
    took = time.monotonic() - began
    assert took < 3
    assert "terminated by" in s.over()["Output"]
    ground.is_as_it_was()
    print(f"\nthe tree ended after {took:.2f} s")


def test_the_programs_own_end_ends_the_rest(box, node, marks):
    ground = warm(box, node)
    s = stubborn(box, node, marks)
    s.stream(b"exit 6\r")
    assert s.over()["ExitCode"] == 6
    all_gone(s, 5)
    ground.is_as_it_was()


def test_a_client_that_says_goodbye(box, node, marks):
    """~. of `muster shell`."""
    ground = warm(box, node)
    mark = marks.new()
    with Terminal(BIN / "muster", "shell", node, env=box.clean_env()) as terminal:
        terminal.type(marks.line(mark) + "\n")
        eventually(lambda: len(marked(mark)) >= KINDS, what="its processes")
        terminal.type("\r~.")
        assert terminal.end()[0] == 255
    eventually(lambda: not marked(mark), 5, what="the end of the tree")
    ground.is_as_it_was()


def inputs(box, name, **preferences):
    box.client().create_document(Name=name, DocumentType="Session", Content=json.dumps(
        {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": preferences}))
    return name


def test_the_maximum_passes_while_the_controller_is_away(tmp_path_factory, tmp_path, marks):
    """The age of a session counts from its start, also for a controller that was not there."""
    clock = Clock(tmp_path)
    box = Sandbox(tmp_path_factory.mktemp("ends") / "s", 1, controller=clock.environment)
    try:
        node = box.nodes()[0]
        ground = warm(box, node)
        s = stubborn(box, node, marks, document=inputs(box, "A-Minute", maxSessionDuration="1"))
        other = stubborn(box, node, marks)
        box.kill("controller")
        clock.advance(seconds=61)
        box.control("start", "controller")
        all_gone(s, 15)
        row = eventually(lambda: box.client().describe_sessions(State="History", Filters=[{"key": "SessionId", "value": s.id}])["Sessions"], what="its row")[0]
        assert row["Status"] == "Terminated" and "maximum duration of 1 minutes" in row["Details"]
        # The other one has no maximum and goes on.
        assert len(marked(other.mark)) >= KINDS
        other.ssm = box.client()
        other.reopen()
        box.client().terminate_session(SessionId=other.id)
        all_gone(other, 5)
        ground.open["controller"] = len(descriptors(box.pids["controller"]))
        ground.is_as_it_was()
    finally:
        box.down()


@pytest.mark.soak
def test_every_limit_of_time(box, node, marks):
    """Idle, maximum and a client that vanished, all at once: they take a minute or two each."""
    ground = warm(box, node)
    began, ends = {}, {}

    def begin(name, s):
        began[name] = time.monotonic()
        return name, s

    quiet = begin("idle", stubborn(box, node, marks, document=inputs(box, "Idle-Minute", idleSessionTimeout="1")))
    busy = begin("maximum", stubborn(box, node, marks, document=inputs(box, "Whole-Minute", maxSessionDuration="1")))
    # Vanished without a word, twice: the stock client's connection, and a killed `muster shell`.
    left = begin("vanished", stubborn(box, node, marks))
    left[1].socket.drop()
    mark = marks.new()
    terminal = Terminal(BIN / "muster", "shell", node, env=box.clean_env())
    terminal.type(f"stty -echo; echo i''d=$MUSTER_SESSION_ID-; {marks.line(mark)}\n")
    killed_id = terminal.expect(r"id=\S+-\r\n").split("id=")[1].strip()[:-1]
    eventually(lambda: len(marked(mark)) >= KINDS, what="its processes")
    terminal.close()
    killed = Shell.__new__(Shell)
    killed.id, killed.mark = killed_id, mark
    waiting = dict([quiet, busy, left, begin("killed", killed)])

    while waiting:
        now = time.monotonic()
        for name, s in list(waiting.items()):
            if not marked(s.mark) and not processes(s.id):
                ends[name] = time.monotonic() - began[name]
                del waiting[name]
            assert now - began[name] < 160, (name, marked(s.mark))
        if "maximum" in waiting:
            # It is not idle.
            busy[1].stream(b"echo\r")
        for name, s in (quiet, busy):
            if name in waiting:
                answer(s, 0.5)
    print("\n" + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ends.items()))
    # `stubborn` begins before the clock is read, and a client that is gone is noticed when its connection ends.
    for name, low, high in (("idle", 50, 70), ("maximum", 50, 70), ("vanished", 115, 135), ("killed", 115, 140)):
        assert low < ends[name] < high, ends
    ssm = box.client()
    for s, words in ((quiet[1], "idle for 1 minutes"), (busy[1], "maximum duration of 1 minutes"), (left[1], "away for 120 seconds"),
                     (killed, "away for 120 seconds")):
        row = eventually(lambda: ssm.describe_sessions(State="History", Filters=[{"key": "SessionId", "value": s.id}])["Sessions"], what="its row")[0]
        assert row["Status"] == "Terminated" and words in row["Details"], row
    ground.is_as_it_was()


@pytest.mark.soak
def test_terminated_while_the_host_cannot_hear_it(tmp_path_factory, marks):
    """The row is final within seconds; the tree ends as soon as the node is back."""
    with Proxy() as link:
        box = Sandbox(tmp_path_factory.mktemp("ends") / "s", 1, agent={"MUSTER_AGENT_PROXY": link.url, "MUSTER_AGENT_KEEP_ALIVE_SECONDS": "1"})
        try:
            node = box.nodes()[0]
            ground = warm(box, node)
            s = stubborn(box, node, marks)
            link.blackhole()
            box.client().terminate_session(SessionId=s.id)
            began = time.monotonic()
            eventually(lambda: not ground.rows(), 15, what="a final row")
            assert time.monotonic() - began < 13
            assert marked(s.mark), "nobody could tell the node"
            link.restore()
            all_gone(s, 60)
            # It has learnt it from the answer to its return.
            ground.is_as_it_was(60)
        finally:
            box.down()


# A thousand

def private(pids):
    total = 0
    for pid in pids:
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Private_"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total / 1024


@pytest.mark.soak
def test_a_thousand_sessions_on_one_host(tmp_path_factory):
    count, box = 1000, Sandbox(tmp_path_factory.mktemp("thousand") / "s", 1)
    try:
        node, ssm = box.nodes()[0], box.client(max_pool_connections=32)
        ground = warm(box, node)
        (host,) = hosts(box)
        terminals = int(pathlib.Path("/proc/sys/kernel/pty/nr").read_text())

        def figures(what):
            below = descendants(host)
            launchers = [p for p in below if (pathlib.Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0") + [b""])[1] == b"session-launch"]
            print(f"{what}: host {private([host]):.1f} MB private, {len(launchers)} launchers {private(launchers):.1f} MB, "
                  f"descriptors host {len(descriptors(host))}, agent {len(descriptors(box.pids['agent-0']))}, "
                  f"controller {len(descriptors(box.pids['controller']))}, controller {private([box.pids['controller']]):.1f} MB, load {os.getloadavg()[0]:.1f}")
            return len(launchers)

        print()
        figures("before")
        began = time.monotonic()
        opened = []

        def open_one(_):
            start = time.monotonic()
            s = Shell(box, node, "AWS-StartInteractiveCommand", ssm=ssm, command="echo re''ady; exec cat")
            s.until(b"ready\r\n")
            opened.append(time.monotonic() - start)
            return s

        all_of_them = []
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for first in range(0, count, 100):
                all_of_them += pool.map(open_one, range(first, min(count, first + 100)))
                # Pings are answered.
                for s in all_of_them:
                    answer(s, 0)
        took = time.monotonic() - began
        opened.sort()
        print(f"{count} opened in {took:.1f} s, 16 at a time: median {opened[count // 2] * 1000:.0f} ms, p99 {opened[count * 99 // 100] * 1000:.0f} ms")
        assert figures("at 1,000") == count + 1
        cats = {s.id: processes(s.id) for s in (all_of_them[0], all_of_them[-1])}
        assert all(cats.values())

        # One more is refused, in words, and costs the others nothing.
        more = Shell(box, node, "AWS-StartInteractiveCommand", ssm=ssm, command="cat")
        assert "as many as its agent.json5 allows" in more.over()["Output"]

        def echo(round_):
            for number, s in enumerate(all_of_them):
                s.seen = b""
                s.stream(f"{round_}-{number}-x\r".encode())
            for number, s in enumerate(all_of_them):
                # Once from the terminal, once from cat.
                s.until(f"{round_}-{number}-x\r\n{round_}-{number}-x\r\n".encode())

        for round_ in range(3):
            began = time.monotonic()
            echo(round_)
            print(f"round {round_}: all answered after {time.monotonic() - began:.2f} s")
        figures("after echoes")

        began = time.monotonic()
        for s in all_of_them[: count // 2]:
            s.stream(b"\x04")
        for s in all_of_them[: count // 2]:
            assert s.over()["ExitCode"] == 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda s: ssm.terminate_session(SessionId=s.id), all_of_them[count // 2:]))
        for s in all_of_them[count // 2:]:
            assert "terminated by" in s.over()["Output"]
        print(f"all ended in {time.monotonic() - began:.1f} s")
        for s in all_of_them:
            s.socket.drop()
        eventually(lambda: descendants(host) == [] or len(descendants(host)) == 1, 60, what="the end of every launcher")
        ssm.close()
        ground.is_as_it_was(60)
        figures("after")
        assert int(pathlib.Path("/proc/sys/kernel/pty/nr").read_text()) <= terminals + 16, "others may have some"
        with sqlite3.connect(f"file:{box.directory}/controller/controller.sqlite?mode=ro", uri=True) as db:
            states = dict(db.execute("SELECT status, COUNT(*) FROM sessions GROUP BY status").fetchall())
            kept = dict(db.execute("SELECT state, COUNT(*) FROM recordings GROUP BY state").fetchall())
        print(states, kept)
        assert states.get("Terminated") == count + 1 and kept.get("complete", 0) >= count + 1
    finally:
        box.down()

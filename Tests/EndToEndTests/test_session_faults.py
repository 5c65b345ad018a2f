"""Sessions of muster while everything between its two ends breaks: no byte lost, none doubled."""

import hashlib
import subprocess
import threading
import time

import pytest
from conftest import BIN, eventually
from proxy import Proxy
from terminal import Terminal

@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(1)


class Transfer:
    """A command that takes an endless input and gives it back, its bytes known at both ends."""

    def __init__(self, env, node):
        self.process = subprocess.Popen([str(BIN / "muster"), "exec", node, "--", "cat"], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.sent_bytes = self.got_bytes = 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self.write, self.read)]
        for thread in self.threads:
            thread.start()

    def write(self):
        counter = 0
        while not self.ended.is_set():
            piece = hashlib.sha512(b"%d" % counter).digest() * 64
            counter += 1
            try:
                self.process.stdin.write(piece)
            except OSError:
                return
            self.sent.update(piece)
            self.sent_bytes += len(piece)
            time.sleep(0.0005)
        self.process.stdin.close()

    def read(self):
        while piece := self.process.stdout.read1(1 << 16):
            self.got.update(piece)
            self.got_bytes += len(piece)

    def moves_on(self, more=1 << 20, timeout=60):
        goal = self.got_bytes + more
        eventually(lambda: self.got_bytes >= goal or self.process.poll() is not None, timeout=timeout, what="more bytes")
        assert self.process.poll() is None, self.process.stderr.read()

    def finish(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(90)
        words = self.process.stderr.read()
        assert self.process.wait(timeout=60) == 0, words
        assert self.got_bytes == self.sent_bytes, words
        assert self.got.digest() == self.sent.digest()


@pytest.mark.parametrize("fault", ["agent restarted", "agent killed", "controller restarted", "controller killed"])
def test_a_long_transfer_survives(box, fault):
    transfer = Transfer(box.clean_env(), box.nodes()[0])
    transfer.moves_on()
    box.restart("agent-0" if "agent" in fault else "controller", kill="killed" in fault)
    transfer.moves_on(4 << 20)
    transfer.finish()


def test_a_link_that_is_cut(box):
    """Once without a word, which its end finds out by itself; then with one, while what was lost is still being sent again."""
    with Proxy() as proxy:
        transfer = Transfer({**box.clean_env(), "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}, box.nodes()[0])
        transfer.moves_on()
        proxy.blackhole()
        eventually(lambda: proxy.knocks, what="an end that looks for another way")
        proxy.restore(refusing=True)
        transfer.moves_on()
        proxy.cut()
        transfer.moves_on()
        transfer.finish()


@pytest.mark.soak
def test_a_link_that_is_cut_for_long(box):
    with Proxy() as proxy:
        transfer = Transfer({**box.clean_env(), "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}, box.nodes()[0])
        transfer.moves_on()
        for _ in range(2):
            proxy.blackhole()
            time.sleep(30)
            proxy.restore()
            transfer.moves_on(2 << 20)
        transfer.finish()


def test_a_shell_says_that_its_peer_is_dead_and_goes_on(box):
    node = box.nodes()[0]
    with Proxy() as proxy:
        env = {**box.clean_env(), "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}
        with Terminal(BIN / "muster", "shell", node, env=env) as terminal:
            terminal.type("X=kept; echo re''ady\n")
            terminal.expect("ready")
            proxy.blackhole()
            terminal.type("echo typed-while-$X-was-away\n")
            began = time.monotonic()
            terminal.expect("connection is lost", timeout=16)
            assert time.monotonic() - began < 15
            proxy.restore()
            terminal.expect("connected again", timeout=40)
            terminal.expect("typed-while-kept-was-away\r\n", timeout=20)
            # Nothing was typed twice.
            terminal.type("exit 4\n")
            status, rest = terminal.end()
            assert status == 4 and "typed-while-kept" not in rest


def test_a_shell_over_a_killed_agent(box):
    with Terminal(BIN / "muster", "shell", box.nodes()[0], env=box.clean_env()) as terminal:
        terminal.type("stty -echo; PS1=; (seq 1 200000; echo al''l) | cat; exit 3\n")
        terminal.expect("\r\n5000\r\n")
        box.kill("agent-0")
        box.control("start", "agent-0")
        terminal.expect("\r\nall\r\n", timeout=60)
        assert terminal.end()[0] == 3

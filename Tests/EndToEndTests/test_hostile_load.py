"""Those who have shown nothing, and one node, try to keep everybody else out. Short forms always, all of them together with MUSTER_SOAK=1."""

import os
import pathlib
import re
import socket
import statistics
import time
import urllib.request
import ssl

import pytest

import attack
import sessions
from conftest import eventually


@pytest.fixture(scope="module")
def fleet(make_sandbox):
    """Few places, so that a few connections take them all: 256 for strangers, 128 of them for one address."""
    sandbox = make_sandbox(2, controller={"MUSTER_CONTROLLER_MAXIMUM_CONNECTIONS": "1024"})
    sandbox.names = sandbox.nodes()
    return sandbox


@pytest.fixture
def attacker(fleet):
    address = (pathlib.Path(fleet.directory) / "controller" / "listening").read_text().split()[0]
    attacker = attack.Attacker(address, fleet.env["AWS_CA_BUNDLE"])
    yield attacker
    attacker.release()


def metric(fleet, name):
    context = ssl.create_default_context(cafile=fleet.env["AWS_CA_BUNDLE"])
    with urllib.request.urlopen(fleet.env["AWS_ENDPOINT_URL"] + "/metrics", context=context, timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


def memory(fleet, field="VmRSS"):
    status = pathlib.Path(f"/proc/{fleet.pids['controller']}/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) * 1024


def descriptors(fleet):
    return len(os.listdir(f"/proc/{fleet.pids['controller']}/fd"))


def log(fleet):
    return (pathlib.Path(fleet.directory) / "logs" / "controller.log").read_text()


def works(fleet):
    """A call, a command and a session, by somebody who has keys."""
    assert fleet.client(retries=2).describe_instance_information()["InstanceInformationList"]
    assert fleet.muster("exec", fleet.names[0], "--", "echo", "hello", timeout=30).stdout.strip() == "hello"
    begin = time.monotonic()
    assert fleet.muster("run", "--node", fleet.names[1], "--", "echo", "hello", timeout=30).returncode == 0
    return time.monotonic() - begin


def test_aborted_upgrades_leave_no_slot_behind(fleet, attacker):
    for _ in range(400):
        attacker.aborted("127.0.0.1")
    works(fleet)
    eventually(lambda: metric(fleet, "muster_data_channels_unopened") == 0, what="all slots back")


def test_unopened_data_channels_keep_nobody_from_a_session(fleet, attacker):
    for _ in range(300):
        try:
            attacker.unopened("127.0.5.1")
        except OSError:
            pass
    assert metric(fleet, "muster_data_channels_unopened") <= 132
    works(fleet)
    attacker.release()
    eventually(lambda: metric(fleet, "muster_data_channels_unopened") == 0, what="all slots back")


def test_half_open_connections_keep_nobody_out(fleet, attacker):
    before = memory(fleet)
    for number in range(1_000):
        try:
            attacker.halfopen(f"127.0.7.{1 + number % 10}")
        except OSError:
            pass
    works(fleet)
    assert metric(fleet, "muster_connections_cut_total") > 0
    assert memory(fleet) - before < 48 << 20
    fleet.restart("agent-1")  # whose node has its place as well
    works(fleet)


def test_slow_bodies_of_strangers_take_little_memory(fleet, attacker):
    before = memory(fleet)
    for number in range(200):
        try:
            attacker.bodies(f"127.0.8.{1 + number % 4}")
        except OSError:
            pass
    assert metric(fleet, "muster_bodies_bytes") <= 64 << 20
    assert memory(fleet) - before < 160 << 20
    works(fleet)
    attacker.release()
    eventually(lambda: metric(fleet, "muster_bodies_bytes") == 0, what="all bytes back")


def test_resets_of_strangers_are_no_errors(fleet, attacker):
    before = len(log(fleet))
    for _ in range(50):
        attacker.resets()
    works(fleet)
    said = log(fleet)[before:]
    assert "failed" not in said and "rror" not in said


def test_denied_calls_keep_nobody_out(fleet, attacker):
    for _ in range(150):
        attacker.denied("127.0.9.1")
    works(fleet)


def test_a_node_has_its_place_among_strangers(fleet, attacker):
    """Handshakes under a node's certificate go on while all places of strangers are taken."""
    leg = sessions.AgentLeg(fleet, "", 0)
    for number in range(300):
        try:
            attacker.halfopen(f"127.0.6.{1 + number % 3}")
        except OSError:
            pass
    node = attack.Attacker(leg.address, fleet.env["AWS_CA_BUNDLE"], leg.certificate)
    connection = node.secure("127.0.6.200")
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in connection.recv(4_096)
    connection.close()


class Keys:
    """A terminal on a node, and how long a key takes to come back."""

    def __init__(self, fleet):
        self.plugin = sessions.Plugin(fleet, fleet.client(retries=4).start_session(Target=fleet.names[0])).open()
        self.seen = set()
        eventually(lambda: self.take(1), what="a prompt")
        self.drain()

    def take(self, timeout):
        """What the terminal shows next, each frame once and in whatever order they come; nothing after the time."""
        try:
            found = self.plugin.next(sessions.OUTPUT, timeout=timeout)
        except TimeoutError:
            return b""
        self.plugin.acknowledge(found)
        if found.sequence in self.seen:
            return b""
        self.seen.add(found.sequence)
        return found.payload

    def drain(self):
        while self.take(0.5):
            pass

    def strike(self, times):
        took = []
        for _ in range(times):
            begin = time.monotonic()
            self.plugin.stream(b"a")
            while b"a" not in self.take(30):
                assert time.monotonic() - begin < 30, "a key is lost"
            took.append(time.monotonic() - begin)
            time.sleep(0.02)
        self.plugin.stream(b"\x15")  # the line is deleted again
        self.drain()
        return took


@pytest.mark.soak
def test_everything_at_once(make_sandbox):
    """Attack after attack, then all of them, twice; the operator notices none, and afterwards all is as it was."""
    fleet = make_sandbox(2)
    fleet.names = fleet.nodes()
    command = fleet.send("sleep 100000", [fleet.names[1]])
    path = f"/v1/output/{command}/runShellScript/stdout"
    certificate = sessions.AgentLeg(fleet, "", 1).certificate
    keys = Keys(fleet)
    works(fleet)
    idle, figures = descriptors(fleet), []
    kinds = ["aborted", "halfopen", "unopened", "bodies", "denied", "resets", "uploads"]
    seconds = float(os.environ.get("MUSTER_SOAK_SECONDS", "20"))

    def suffer(kinds, rate):
        with attack.running(fleet, kinds, seconds + 60, rate, certificate, path):
            took, echoes, end = [], [], time.monotonic() + seconds
            while time.monotonic() < end:
                took += keys.strike(20)
                echoes.append(works(fleet))
        figures.append((kinds if len(kinds) == 1 else "all", statistics.median(took), max(echoes)))
        print(f"\n{figures[-1][0]}: keystroke median {figures[-1][1] * 1000:.2f} ms, run at most {figures[-1][2]:.2f} s, "
              f"{memory(fleet) >> 20} MB, {descriptors(fleet)} descriptors")

    def calm():
        for name in ("muster_data_channels_unopened", "muster_bodies_bytes"):
            eventually(lambda: metric(fleet, name) == 0, timeout=60, what=f"{name} at rest")
        eventually(lambda: metric(fleet, "muster_connections_open") <= 12, timeout=90, every=1, what="connections at rest")
        eventually(lambda: descriptors(fleet) <= idle + 8, timeout=90, every=1, what="descriptors at rest")

    for kind in kinds:
        suffer([kind], 400)
    suffer(kinds, 70)
    calm()
    first = memory(fleet)
    suffer(kinds, 70)
    calm()
    assert memory(fleet) <= first * 1.1 + (8 << 20), "memory grows from round to round"
    assert all(median <= 0.005 and slowest <= 1 for _, median, slowest in figures), figures

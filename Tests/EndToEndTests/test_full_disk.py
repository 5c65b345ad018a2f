"""A full disk under an agent's state costs commands, never the way in: a tmpfs of 4 MB, filled in every state of the agent."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import BIN, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own for the agent's state needs root")
ENVIRONMENT = {**os.environ, "MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": "root"}


class Host:
    """An agent whose state lies on a small disk of its own."""

    def __init__(self, folder):
        self.state, self.log, self.process = folder / "state", folder / "log", None
        self.state.mkdir(mode=0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(self.state)], capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
        self.filler = self.state / "filler"

    def fill(self):
        """To the last byte."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (65536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass
        with pytest.raises(OSError):
            (self.state / "more").write_text("x")

    def free(self):
        self.filler.unlink(missing_ok=True)

    def join(self, line):
        code = re.search(r"echo '(\w+)'", line)[1]
        return subprocess.run([str(BIN / "muster-agent"), "register", *line.split("muster-agent register ")[1].split(), "--state-dir", str(self.state)],
                              input=code, capture_output=True, text=True, timeout=60)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(BIN / "muster-agent"), "run", "--state-dir", str(self.state)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=ENVIRONMENT)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def words(self):
        return self.log.read_text()

    def end(self):
        self.kill()
        # Those who outlive an agent: the session host and its own.
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.state).encode() in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
        eventually(lambda: subprocess.run(["umount", str(self.state)], capture_output=True).returncode == 0, what="the end of the mount")


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(0)


@pytest.fixture(scope="module")
def host(box, tmp_path_factory):
    made = Host(tmp_path_factory.mktemp("full"))
    try:
        # At registration: it is refused before the activation is used, and the same line works when there is space.
        line = box.muster("enroll").stdout
        made.fill()
        refused = made.join(line)
        assert refused.returncode == 1 and "no space is left on the disk" in refused.stderr and "the activation was not used" in refused.stderr, refused.stderr
        assert box.client().describe_instance_information()["InstanceInformationList"] == []
        made.free()
        assert (joined := made.join(line)).returncode == 0, joined.stderr
        # Between that and the first start.
        made.fill()
        made.node = re.search(r"mi-\w+", joined.stdout)[0]
        made.start()
        online(box, made)
        yield made
    finally:
        made.end()


def online(box, host):
    eventually(lambda: box.client().get_connection_status(Target=host.node)["Status"] == "connected", what="the node's connection")


def back(box, host):
    """The agent is killed and comes back under a new connection number."""
    connections = host.words().count('msg=connected')
    host.kill()
    host.start()
    eventually(lambda: host.words().count('msg=connected') > connections, what="another connection")
    online(box, host)


def result(box, host, commands, **arguments):
    command = box.send(commands, [host.node], **arguments)
    ended = eventually(lambda: (found := box.client().get_command_invocation(CommandId=command, InstanceId=host.node))["Status"]
                       not in ("Pending", "InProgress", "Delayed") and found, what="the end of the command")
    return ended


def test_idle(box, host):
    """It came up on a full disk, and comes up again, any number of times; a command fails with the reason in its output."""
    for _ in range(3):
        back(box, host)
    failed = result(box, host, "echo hi")
    assert failed["Status"] == "Failed" and failed["StandardOutputContent"] == "", failed
    assert "no space is left on the disk. Free some there." in failed["StandardErrorContent"] and str(host.state) in failed["StandardErrorContent"], failed
    host.free()
    assert result(box, host, "echo hi")["StandardOutputContent"] == "hi\n"
    # What was refused is not run once there is space.
    back(box, host)
    assert box.client().get_command_invocation(CommandId=failed["CommandId"], InstanceId=host.node)["Status"] == "Failed"


def test_running(box, host, tmp_path):
    """What runs goes on to its end, can be cancelled, and its end is known, also by the next agent."""
    host.free()
    gate = tmp_path / "gate"
    running = box.send(f"until [ -e {gate} ]; do sleep 0.05; done; echo through", [host.node])
    endless = box.send(f"touch {tmp_path}/endless; sleep 600", [host.node])
    eventually((tmp_path / "endless").exists, what="the start of the second")
    host.fill()
    back(box, host)
    box.client().cancel_command(CommandId=endless)
    gate.touch()

    def status(command):
        return box.client().get_command_invocation(CommandId=command, InstanceId=host.node)["Status"]

    eventually(lambda: status(endless) == "Cancelled", what="the cancellation")
    eventually(lambda: status(running) in ("Success", "Failed"), what="the end of what ran")
    assert status(running) == "Success"
    back(box, host)
    assert (status(running), status(endless)) == ("Success", "Cancelled")
    host.free()


def test_session(box, host):
    """Somebody gets in to clear the disk: a session begins on a full one, and it is a session that frees it."""
    host.fill()
    assert box.muster("exec", host.node, "--", "echo", "in").stdout == "in\n"
    back(box, host)
    box.muster("exec", host.node, "--", "rm", str(host.filler))
    assert result(box, host, "echo free")["StandardOutputContent"] == "free\n"


def test_renewal(box, host):
    """A renewed certificate is on the full disk, and the next agent proves itself with it."""
    host.fill()
    for _ in range(3):
        renewals = host.words().count("certificate renewed")
        host.process.send_signal(signal.SIGHUP)
        eventually(lambda: host.words().count("certificate renewed") > renewals, what="a renewal")
    serial = subprocess.run([str(BIN / "muster-agent"), "status", "--state-dir", str(host.state)], capture_output=True, text=True).stdout
    back(box, host)
    assert serial and "expired" not in serial
    assert "cannot renew" not in host.words()
    host.free()
    assert result(box, host, "echo renewed")["StandardOutputContent"] == "renewed\n"

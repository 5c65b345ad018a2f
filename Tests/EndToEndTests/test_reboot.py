"""Exit code 194: the host reboots, and the same step runs again, and nothing else does.

The "host" reboots by a command of its own that kills the agent as a reboot would, and by a file in the place of the kernel's boot
id; that another agent starts afterwards is the init system's part, and here the test's.
"""

import json
import pathlib
import re
import time
import uuid

import pytest

from conftest import alive, eventually, muster


class Host:
    """A sandbox of one agent whose host reboots as `script` says."""

    def __init__(self, make_sandbox, folder, script, **settings):
        self.boot, self.asked, command = folder / "boot", folder / "asked", folder / "reboot"
        self.turn()
        command.write_text(f"#!/bin/sh\necho asked >> {self.asked}\n" + script.format(boot=self.boot))
        command.chmod(0o755)
        agent = {
            "MUSTER_AGENT_ALLOW_REBOOT": "true", "MUSTER_AGENT_REBOOT_COMMAND": json.dumps([str(command)]),
            "MUSTER_AGENT_BOOT_ID_FILE": str(self.boot), "MUSTER_AGENT_REBOOT_PATIENCE_SECONDS": "2", **settings,
        }
        self.sandbox = make_sandbox(1, agent=agent)
        self.node = self.sandbox.nodes()[0]

    def turn(self):
        self.boot.write_text(str(uuid.uuid4()))

    def start(self):
        """What an init system does, once the agent is gone."""
        eventually(lambda: not alive(self.sandbox.pids["agent-0"]), what="the reboot")
        # It may be on its way into the next reboot before it is Online.
        muster("sandbox", "start", "agent-0", "--dir", self.sandbox.directory, check=False)

    def times(self):
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0

    def invocation(self, command):
        return self.sandbox.invocations(command)[self.node]

    def send(self, script):
        return self.sandbox.send(script, [self.node])


KILLS = "cat /proc/sys/kernel/random/uuid > {boot}\nkill -9 $PPID\n"


@pytest.fixture(scope="module")
def host(make_sandbox, tmp_path_factory):
    return Host(make_sandbox, tmp_path_factory.mktemp("host"), KILLS)


def twice(log):
    """A script that asks for a reboot in its first run."""
    return f'echo run >> {log}; n=$(wc -l < {log}); echo "this is run $n"; [ $n -gt 1 ] || exit 194'


def test_the_same_step_runs_again_after_the_reboot(host, tmp_path):
    log, before = tmp_path / "log", host.times()
    command = host.send(twice(log))
    eventually(lambda: host.times() == before + 1, what="the order to reboot")
    eventually(lambda: not alive(host.sandbox.pids["agent-0"]), what="the reboot")
    waiting = host.invocation(command)
    assert (waiting["Status"], waiting["StatusDetails"]) == ("InProgress", "InProgress")
    assert host.sandbox.client().get_command_invocation(CommandId=command, InstanceId=host.node)["Status"] == "InProgress"
    host.start()
    assert host.sandbox.finished(command)["Status"] == "Success"
    plugin = host.invocation(command)["CommandPlugins"][0]
    assert (plugin["ResponseCode"], plugin["Output"]) == (0, "this is run 1\nthis is run 2\n")
    assert log.read_text() == "run\nrun\n" and host.times() == before + 1


def test_another_run_may_fail(host, tmp_path):
    log = tmp_path / "log"
    command = host.send(f"echo run >> {log}; n=$(wc -l < {log}); echo $n; echo e$n >&2; [ $n -gt 1 ] && exit 3; exit 194")
    host.start()
    assert host.sandbox.finished(command)["Status"] == "Failed"
    plugin = host.invocation(command)["CommandPlugins"][0]
    assert plugin["ResponseCode"] == 3
    assert plugin["Output"] == "1\n2\n\n----------ERROR-------\ne1\ne2\nfailed to run commands: exit status 3"


def test_the_reboot_waits_for_other_jobs_and_starts_no_new_ones(host, tmp_path):
    log, go, later, before = tmp_path / "log", tmp_path / "go", tmp_path / "later", host.times()
    other = host.send(f"echo up > {log}.other; while [ ! -e {go} ]; do sleep 0.02; done; echo other")
    eventually(lambda: pathlib.Path(f"{log}.other").exists(), what="the other job")
    command = host.send(twice(log))
    eventually(lambda: "run 1" in host.invocation(command)["CommandPlugins"][0]["Output"], what="the news that it waits")
    new = host.send(f"echo new > {later}")
    time.sleep(0.5)
    assert host.times() == before and not later.exists()
    go.touch()
    host.start()
    assert host.sandbox.finished(other)["Status"] == "Success"
    assert host.invocation(other)["CommandPlugins"][0]["Output"] == "other\n"
    assert host.sandbox.finished(command)["Status"] == "Success"
    assert host.sandbox.finished(new)["Status"] == "Success"
    assert log.read_text() == "run\nrun\n" and later.read_text() == "new\n" and host.times() == before + 1


def test_the_agent_dies_before_it_has_written_anything_of_the_reboot(host, tmp_path):
    """The script reboots the host by itself: its exit status is all that there is."""
    log, go, over, before = tmp_path / "log", tmp_path / "go", tmp_path / "over", host.times()
    command = host.send(f"echo run >> {log}; [ $(wc -l < {log}) -gt 1 ] && exit 0; while [ ! -e {go} ]; do sleep 0.02; done; exit 194")
    eventually(log.exists, what="the start")
    agent = host.sandbox.pids["agent-0"]
    supervisor = re.compile(rf"supervise.{re.escape(str(host.sandbox.directory))}")

    def words(process):
        try:
            return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""  # it has ended meanwhile

    def supervised():
        return any(supervisor.search(words(p)) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit())

    host.sandbox.kill("agent-0")
    go.touch()
    eventually(lambda: not supervised(), what="the end of the supervisor")
    host.turn()
    host.start()
    assert host.sandbox.finished(command)["Status"] == "Success"
    assert log.read_text() == "run\nrun\n" and host.times() == before
    assert agent != host.sandbox.pids["agent-0"]


def test_a_cancelled_job_runs_no_more(host, tmp_path):
    log = tmp_path / "log"
    command = host.send(f"echo run >> {log}; exit 194")
    eventually(log.exists, what="the first run")
    eventually(lambda: not alive(host.sandbox.pids["agent-0"]), what="the reboot")
    host.sandbox.client().cancel_command(CommandId=command)
    # It may have begun its next run when the news arrives, and be on its way into the next reboot.
    for _ in range(5):
        if alive(host.sandbox.pids["agent-0"]):
            break
        host.start()
        time.sleep(0.5)
    assert host.sandbox.finished(command)["Status"] == "Cancelled"
    runs = len(log.read_text().splitlines())
    time.sleep(1)
    assert len(log.read_text().splitlines()) == runs
    if not alive(host.sandbox.pids["agent-0"]):
        host.start()


def test_a_step_that_asks_for_ever_is_failed_in_words(host, tmp_path):
    log, before = tmp_path / "log", host.times()
    command = host.send(f"echo run >> {log}; exit 194")
    for n in range(14):
        eventually(lambda: host.times() == before + n + 1, what=f"reboot {n + 1}")
        host.start()
    assert host.sandbox.finished(command)["Status"] == "Failed"
    plugin = host.invocation(command)["CommandPlugins"][0]
    assert plugin["ResponseCode"] == 194 and "15 times, which is the limit" in plugin["Output"]
    assert len(log.read_text().splitlines()) == 15 and host.times() == before + 14


def test_a_host_that_does_not_reboot(make_sandbox, tmp_path):
    host = Host(make_sandbox, tmp_path, "kill -9 $PPID\n")
    log = tmp_path / "log"
    command = host.send(f"echo run >> {log}; exit 194")
    for n in range(3):
        eventually(lambda: host.times() == n + 1, what=f"try {n + 1}")
        host.start()
    assert host.sandbox.finished(command)["Status"] == "Failed"
    plugin = host.invocation(command)["CommandPlugins"][0]
    assert plugin["ResponseCode"] == 194 and "asked to reboot 3 times, and did not" in plugin["Output"]
    assert log.read_text() == "run\n" and host.times() == 3


def test_a_reboot_command_that_fails(make_sandbox, tmp_path):
    host = Host(make_sandbox, tmp_path, "exit 7\n")
    command = host.send("exit 194")
    assert host.sandbox.finished(command)["Status"] == "Failed"
    assert "ended with exit status 7" in host.invocation(command)["CommandPlugins"][0]["Output"]
    # What was held back goes on.
    assert host.sandbox.run("echo on", [host.node])[0]["Status"] == "Success"


def test_a_sandbox_never_reboots_its_machine_by_default(sandbox, nodes):
    command, invocations = sandbox.run("exit 194", nodes[:1])
    assert command["Status"] == "Failed"
    assert "may not reboot this host" in invocations[nodes[0]]["CommandPlugins"][0]["Output"]

"""Anything may die between two lines: at most one start per node, and one truthful end.

MUSTER_CRASH_ROUNDS repeats every case (default 1; `make crash` uses 20).
"""

import os
import pathlib
import signal
import subprocess
import threading
import time
import uuid

import botocore.exceptions
import pytest

from conftest import alive, eventually

ROUNDS = range(int(os.environ.get("MUSTER_CRASH_ROUNDS", "1")))


@pytest.fixture(scope="module")
def crash(make_sandbox):
    return make_sandbox(3)


@pytest.fixture(scope="module")
def three(crash):
    return crash.nodes()


@pytest.fixture(autouse=True)
def everything_up(crash):
    yield
    for name, pid in list(crash.pids.items()):
        if not alive(pid):
            crash.control("start", name)


def script(log, body):
    """Notes its start before anything else, so that a second start cannot go unseen."""
    return f'echo "start $AWS_SSM_INSTANCE_ID" >> {log}; {body}'


def starts(log, node):
    return log.read_text().splitlines().count(f"start {node}") if log.exists() else 0


def supervisors(crash, agent):
    found = []
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(arguments) > 2 and arguments[1] == b"supervise" and str(crash.directory / agent).encode() in arguments[2]:
                found.append(int(process.name))
    return found


def one_end(crash, command, node, timeout=60):
    def ended():
        invocation = crash.invocations(command).get(node)
        return invocation if invocation and invocation["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") else None
    return eventually(ended, timeout, every=0.05, what=f"the end of {command} on {node}")


@pytest.mark.parametrize("round", ROUNDS)
def test_agent_killed_before_start(crash, three, tmp_path, round):
    """The agent dies around the moment the job arrives: the job starts once when it is back."""
    log = tmp_path / "log"
    command = crash.send(script(log, "echo done"), three[:1])
    crash.kill("agent-0")
    crash.control("start", "agent-0")
    invocation = one_end(crash, command, three[0])
    assert starts(log, three[0]) <= 1
    if invocation["Status"] == "Success":
        assert starts(log, three[0]) == 1
    else:
        assert invocation["Status"] == "Failed" and "unknown" in invocation["CommandPlugins"][0]["Output"].lower()


@pytest.mark.parametrize("round", ROUNDS)
def test_agent_killed_while_running(crash, three, tmp_path, round):
    """The step outlives its agent; a restarted agent adopts it."""
    log, go = tmp_path / "log", tmp_path / "go"
    os.mkfifo(go)
    command = crash.send(script(log, f"echo before; read line < {go}; echo $line; exit 7"), three[:1])
    eventually(lambda: starts(log, three[0]) == 1, what="the start")
    crash.kill("agent-0")
    crash.control("start", "agent-0")
    go.write_text("after\n")
    invocation = one_end(crash, command, three[0])
    assert invocation["Status"] == "Failed" and invocation["CommandPlugins"][0]["ResponseCode"] == 7
    assert invocation["CommandPlugins"][0]["Output"].startswith("before\nafter\n")
    assert starts(log, three[0]) == 1


@pytest.mark.parametrize("round", ROUNDS)
def test_agent_killed_and_script_ends_before_it_is_back(crash, three, tmp_path, round):
    log, go, over = tmp_path / "log", tmp_path / "go", tmp_path / "over"
    os.mkfifo(go)
    command = crash.send(script(log, f"read line < {go}; echo $line; echo over > {over}"), three[:1])
    eventually(lambda: starts(log, three[0]) == 1, what="the start")
    crash.kill("agent-0")
    go.write_text("unheard\n")
    eventually(lambda: over.exists() and not supervisors(crash, "agent-0"), what="the end of script and supervisor")
    crash.control("start", "agent-0")
    invocation = one_end(crash, command, three[0])
    assert (invocation["Status"], invocation["CommandPlugins"][0]["Output"]) == ("Success", "unheard\n")
    assert starts(log, three[0]) == 1


@pytest.mark.parametrize("round", ROUNDS)
def test_agent_killed_before_the_result_is_acknowledged(crash, three, tmp_path, round):
    """The controller is away when the script ends and the agent dies with the unacknowledged result."""
    log, go, over = tmp_path / "log", tmp_path / "go", tmp_path / "over"
    os.mkfifo(go)
    command = crash.send(script(log, f"read line < {go}; echo $line; echo over > {over}"), three[:1])
    eventually(lambda: starts(log, three[0]) == 1, what="the start")
    crash.kill("controller")
    go.write_text("kept\n")
    eventually(lambda: over.exists() and not supervisors(crash, "agent-0"), what="the end of script and supervisor")
    crash.kill("agent-0")
    crash.control("start", "controller")
    crash.control("start", "agent-0")
    invocation = one_end(crash, command, three[0])
    assert (invocation["Status"], invocation["CommandPlugins"][0]["Output"]) == ("Success", "kept\n")
    assert starts(log, three[0]) == 1


@pytest.mark.parametrize("round", ROUNDS)
def test_supervisor_killed(crash, three, tmp_path, round):
    """Only the supervisor dies: the outcome is unknown, is reported so, and nothing of the script is left."""
    log = tmp_path / "log"
    mark = str(40_000 + uuid.uuid4().int % 50_000)
    command = crash.send(script(log, f"sleep {mark}"), three[:1])
    eventually(lambda: starts(log, three[0]) == 1, what="the start")
    for pid in supervisors(crash, "agent-0"):
        os.kill(pid, signal.SIGKILL)
    invocation = one_end(crash, command, three[0])
    assert invocation["Status"] == "Failed" and "unknown" in invocation["CommandPlugins"][0]["Output"].lower()
    assert starts(log, three[0]) == 1
    eventually(lambda: subprocess.run(["pgrep", "-f", f"^sleep {mark}$"], capture_output=True).returncode == 1, what="the end of the script's processes")


@pytest.mark.parametrize("round", ROUNDS)
def test_agent_and_supervisor_killed_together(crash, three, tmp_path, round):
    log = tmp_path / "log"
    command = crash.send(script(log, "sleep 600"), three[:1])
    eventually(lambda: starts(log, three[0]) == 1, what="the start")
    agent = crash.pids["agent-0"]
    for pid in [agent, *supervisors(crash, "agent-0")]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(agent), what="the end of the agent")
    crash.control("start", "agent-0")
    invocation = one_end(crash, command, three[0])
    assert invocation["Status"] == "Failed" and "unknown" in invocation["CommandPlugins"][0]["Output"].lower()
    assert starts(log, three[0]) == 1


@pytest.mark.parametrize("round", ROUNDS)
def test_controller_killed_after_commit_and_before_the_answer(crash, three, tmp_path, round):
    """The SDK repeats its call after the restart, with the same invocation id: one command, one start."""
    log = tmp_path / "log"
    ssm = crash.client(retries=0)
    invocation = str(uuid.uuid4())

    def same_id(request, **_):
        request.headers["amz-sdk-invocation-id"] = invocation

    ssm.meta.events.register("before-send.ssm.SendCommand", same_id)
    comment = uuid.uuid4().hex
    arguments = dict(DocumentName="AWS-RunShellScript", InstanceIds=three[:1], Comment=comment, Parameters={"commands": [script(log, "echo done")]})
    answers = []

    def call():
        try:
            answers.append(ssm.send_command(**arguments)["Command"]["CommandId"])
        except botocore.exceptions.BotoCoreError:
            pass

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.002 * (round % 10))  # another moment of the call in each round
    crash.kill("controller")
    caller.join()
    crash.control("start", "controller")
    call()
    assert answers and len(set(answers)) == 1
    assert one_end(crash, answers[0], three[0])["Status"] == "Success"
    assert starts(log, three[0]) == 1
    with_comment = [c for p in ssm.get_paginator("list_commands").paginate() for c in p["Commands"] if c["Comment"] == comment]
    assert len(with_comment) == 1


@pytest.mark.parametrize("round", ROUNDS)
def test_controller_killed_mid_dispatch_and_while_results_arrive(crash, three, tmp_path, round):
    log = tmp_path / "log"
    commands = [crash.send(script(log, f"sleep 0.0{n}; echo {n}"), three, MaxConcurrency="2") for n in range(4)]
    time.sleep(0.02 * (round % 10))  # another moment of the dispatch in each round
    crash.kill("controller")
    crash.control("start", "controller")
    for n, command in enumerate(commands):
        assert crash.finished(command)["Status"] == "Success"
        for invocation in crash.invocations(command).values():
            assert (invocation["Status"], invocation["CommandPlugins"][0]["Output"]) == ("Success", f"{n}\n")
    for node in three:
        assert starts(log, node) == 4

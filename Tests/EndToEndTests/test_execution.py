"""What commands do on the host: output limits, process trees, sockets, parallel jobs."""

import os
import pathlib
import time
import uuid

from conftest import alive, eventually

MARK = "\n---Output truncated---"


def output(found, node):
    return found[node]["CommandPlugins"][0]["Output"]


def test_one_megabyte_shows_2500_characters(sandbox, nodes):
    texts = {
        "ascii": ("x", 1_000_000), "two bytes": ("é", 500_000), "emoji": ("👩‍👩‍👧", 60_000), "lines": ("ab\r\n", 250_000),
        "control": ("\x01", 24_000),
    }
    for name, (unit, count) in texts.items():
        source = unit.encode().hex()
        _, found = sandbox.run(f"python3 -c \"import sys; sys.stdout.buffer.write(bytes.fromhex('{source}') * {count})\"", nodes[:1])
        shown = output(found, nodes[0])
        assert len(shown) == 2500, name
        assert shown.endswith(MARK) and (unit * count).startswith(shown[:-len(MARK)]), name
        got = sandbox.client().get_command_invocation(CommandId=found[nodes[0]]["CommandId"], InstanceId=nodes[0])
        content = got["StandardOutputContent"]
        assert len(content) <= 24_000 and (unit * count).startswith(content.removesuffix("--output truncated--")), name


def test_invalid_utf8_is_shown_replaced(sandbox, nodes):
    _, found = sandbox.run(r"printf 'a\377b\n'", nodes[:1])
    assert output(found, nodes[0]) == "a\ufffdb\n"


def test_both_streams_truncated(sandbox, nodes):
    _, found = sandbox.run("head -c 5000 /dev/zero | tr '\\0' o; head -c 5000 /dev/zero | tr '\\0' e >&2", nodes[:1])
    shown = output(found, nodes[0])
    assert shown == "o" * 1215 + MARK + "\n----------ERROR-------\n" + "e" * 1215 + "\n---Error truncated----"


def test_cancel_ends_the_whole_tree(sandbox, ssm, nodes):
    mark = f"31{uuid.uuid4().int % 10_000_000}"
    command = sandbox.send(f"(setsid sleep {mark} &) ; sleep {mark}1", nodes[:1])

    def sleeping():
        return [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and
                any(a.startswith(mark.encode()) for a in read(p / "cmdline").split(b"\0")) and b"sleep" in read(p / "cmdline").split(b"\0")[0]]

    eventually(lambda: len(sleeping()) == 2, what="two sleeps")
    ssm.cancel_command(CommandId=command)
    assert sandbox.finished(command, timeout=10)["Status"] == "Cancelled"
    assert sleeping() == []


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_daemon_of_a_successful_script_lives_on(sandbox, nodes, tmp_path):
    command, _ = sandbox.run(f"setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! > {tmp_path}/pid", nodes[:1])
    assert command["Status"] == "Success"
    pid = int((tmp_path / "pid").read_text())
    try:
        assert alive(pid)
    finally:
        os.kill(pid, 9)


def test_shebang_environment_and_directory(sandbox, ssm, nodes, tmp_path):
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters={
        "commands": ["#!/usr/bin/env python3", "import os", "print(os.getcwd(), os.environ['AWS_SSM_INSTANCE_ID'], os.environ['SSM_COMMAND_ID'])"],
        "workingDirectory": [str(tmp_path)]})["Command"]["CommandId"]
    sandbox.finished(command)
    assert output(sandbox.invocations(command), nodes[0]) == f"{tmp_path} {nodes[0]} {command}\n"


def test_standard_input_is_empty(sandbox, nodes):
    _, found = sandbox.run("cat; echo done", nodes[:1])
    assert output(found, nodes[0]) == "done\n"


def test_a_stuck_command_does_not_block_others(sandbox, ssm, nodes):
    stuck = sandbox.send("sleep 600", nodes[:1])
    begun = time.monotonic()
    for _ in range(3):
        assert sandbox.run("echo quick", nodes[:1])[0]["Status"] == "Success"
    assert time.monotonic() - begun < 10
    ssm.cancel_command(CommandId=stuck)
    sandbox.finished(stuck, timeout=10)


def test_no_agent_listens(sandbox):
    """No agent has a listening TCP, UDP or Unix stream socket."""
    inodes = {}
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                inodes[fields[9]] = table
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & 0x10000:  # __SO_ACCEPTCON
            inodes[fields[6]] = "unix"
    for table in ("udp", "udp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            inodes[line.split()[9]] = table
    agents = {name: pid for name, pid in sandbox.pids.items() if name.startswith("agent-")}
    assert len(agents) == 5
    for name, pid in agents.items():
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        listening = [inodes[link[8:-1]] for link in links if link.startswith("socket:[") and link[8:-1] in inodes]
        assert listening == [], (name, listening)

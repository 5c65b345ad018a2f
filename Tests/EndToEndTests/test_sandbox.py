"""The sandbox keeps its promises, and the people's command line its exit statuses."""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import time

import pytest

from conftest import BIN, Sandbox, alive, eventually, muster


def test_files_and_modes(sandbox):
    directory = sandbox.directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "env").stat().st_mode) == 0o600
    assert set(sandbox.env) >= {"AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
    names = [line.split()[0] for line in (directory / "pids").read_text().splitlines()]
    assert names == ["controller", *(f"agent-{i}" for i in range(5))]
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.suffix in (".log", ".pem"), path


def test_secrets_are_not_in_logs_or_arguments(sandbox):
    secret = sandbox.env["AWS_SECRET_ACCESS_KEY"]
    for log in sandbox.directory.rglob("*.log"):
        assert secret not in log.read_text(errors="replace")
    for pid in sandbox.pids.values():
        assert secret.encode() not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()


def test_stop_start_restart_and_down(tmp_path):
    box = Sandbox(tmp_path / "box", 1)
    try:
        endpoint, node = box.env["AWS_ENDPOINT_URL"], box.nodes()[0]
        box.control("restart", "controller")
        box.load()
        assert box.env["AWS_ENDPOINT_URL"] == endpoint
        before = box.pids["agent-0"]
        box.control("restart", "agent-0")
        assert box.pids["agent-0"] != before and not alive(before)
        assert box.nodes() == [node]
        assert box.run("echo hi", [node])[0]["Status"] == "Success"
        assert "controller" in muster("sandbox", "status", "--dir", box.directory).stdout
        pids = box.pids
    finally:
        box.down()
    assert not any(alive(pid) for pid in pids.values())
    left = subprocess.run(["pgrep", "-f", str(box.directory)], capture_output=True, text=True).stdout.split()
    assert left == []


def test_down_spares_processes_that_are_not_its_own(tmp_path):
    box = Sandbox(tmp_path / "box", 1)
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        pids = box.pids
        (box.directory / "pids").write_text(f"controller {pids['controller']}\nagent-0 {pids['agent-0']}\nagent-1 {stranger.pid}\n")
        box.down()
        assert stranger.poll() is None
        assert not any(alive(pid) for pid in pids.values())
    finally:
        stranger.kill()
        stranger.wait()


def test_up_lets_go_of_the_callers_streams(tmp_path):
    begun = time.monotonic()
    result = subprocess.run([str(BIN / "muster"), "sandbox", "up", "--dir", str(tmp_path / "box"), "--agents", "1"],
                            stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60)
    try:
        assert result.returncode == 0, result.stderr
        assert time.monotonic() - begun < 50
    finally:
        muster("sandbox", "down", "--dir", tmp_path / "box")


def test_nodes(sandbox, nodes):
    table = sandbox.muster("nodes").stdout
    assert all(node in table for node in nodes) and "\x1b" not in table
    listed = json.loads(sandbox.muster("nodes", "--output", "json").stdout)
    assert {n["InstanceId"] for n in listed} == set(nodes)


def test_run_exit_statuses(sandbox, nodes):
    good = sandbox.muster("run", "--target", "tag:role=web", "--", "echo hi there")
    assert good.returncode == 0 and good.stdout.count("hi there") == 3 and "\x1b" not in good.stdout + good.stderr
    bad = sandbox.muster("run", "--node", nodes[0], "--", "exit 9", check=False)
    assert bad.returncode == 1 and "9" in bad.stdout
    assert sandbox.muster("run", "--node", "no-such-node", "--", "true", check=False).returncode == 2
    assert sandbox.muster("run", "--", "true", check=False).returncode == 2
    assert sandbox.muster("run", "--target", "tag:role=nobody", "--", "true", check=False).returncode in (1, 2)
    assert sandbox.muster("run", "--all", "--max-concurrency", "0", "--", "true", check=False).returncode == 2
    assert muster("run", "--all", "--", "true", env={"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
                  check=False).returncode == 2


def test_run_json_detach_and_look_again(sandbox, nodes):
    results = json.loads(sandbox.muster("run", "--all", "--output", "json", "--", "echo x").stdout)
    assert results["Status"] == "Success" and len(results["Invocations"]) == 5
    detached = sandbox.muster("run", "--node", nodes[0], "--detach", "--", "echo later").stdout
    command = re.search(r"[0-9a-f-]{36}", detached)[0]
    sandbox.finished(command)
    assert "later" in sandbox.muster("command", command).stdout
    assert command in sandbox.muster("commands").stdout
    by_document = sandbox.muster("run", "--node", nodes[0], "--document", "AWS-RunShellScript", "--param", "commands=echo by document")
    assert "by document" in by_document.stdout


def test_interrupt_leaves_or_cancels(sandbox, nodes):
    """Off a terminal there is nobody to ask: the command is left running, and the words say how to cancel it."""
    process = subprocess.Popen([str(BIN / "muster"), "run", "--node", nodes[0], "--", "sleep 600"], env={**os.environ, **sandbox.env},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ssm = sandbox.client()
    command = eventually(lambda: [c for c in ssm.list_commands(InstanceId=nodes[0], Filters=[{"key": "Status", "value": "InProgress"}])["Commands"]],
                         what="the command")[0]["CommandId"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert command in out + err and "muster cancel" in out + err
    sandbox.muster("cancel", command)
    assert sandbox.finished(command, timeout=10)["Status"] == "Cancelled"


def test_tag_and_deregister(tmp_path):
    box = Sandbox(tmp_path / "box", 2)
    try:
        first, second = box.nodes()
        box.muster("tag", first, "env=lab")
        assert "env=lab" in box.muster("nodes").stdout
        assert box.muster("run", "--target", "tag:env=lab", "--", "echo hi").stdout.count("hi") >= 1
        waiting = box.send("sleep 600", [second])
        eventually(lambda: box.invocations(waiting)[second]["Status"] == "InProgress", what="the start")
        box.muster("deregister", second, "--yes")
        ended = box.finished(waiting, timeout=10)
        assert ended["Status"] == "Failed"
        assert box.invocations(waiting)[second]["StatusDetails"] == "Undeliverable"
        assert [n["InstanceId"] for n in box.client().describe_instance_information()["InstanceInformationList"]] == [first]
        join = box.muster("enroll").stdout
        assert "muster-agent register" in join and "--pin sha256:" in join
    finally:
        box.down()

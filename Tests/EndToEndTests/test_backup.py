"""Backup and restore, by the commands of docs/operations.md, with real processes."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BIN, alive, eventually

OPERATIONS = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"


def documented(verb):
    """The line of the page, without its leading blanks."""
    section = OPERATIONS.read_text().split("## Backup and restore")[1].split("\n## ")[0]
    return next(line.strip() for line in section.splitlines() if re.match(rf"    muster-controller {verb}\b", line))


def control(sandbox, line, backup, check=True):
    """Runs the documented line on the sandbox's data folder."""
    words = line.replace("/var/lib/muster-controller/backup-1", str(backup)).split()
    environment = {**os.environ, "MUSTER_CONTROLLER_DATA_DIRECTORY": str(sandbox.directory / "controller")}
    result = subprocess.run([str(BIN / words[0]), *words[1:]], env=environment, capture_output=True, text=True, timeout=120)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def interrupted(sandbox, line, backup, seconds):
    words = line.replace("/var/lib/muster-controller/backup-1", str(backup)).split()
    environment = {**os.environ, "MUSTER_CONTROLLER_DATA_DIRECTORY": str(sandbox.directory / "controller")}
    process = subprocess.Popen([str(BIN / words[0]), *words[1:]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()


def test_a_backup_is_restored_as_documented(make_sandbox, tmp_path):
    sandbox = make_sandbox(2)
    nodes = sandbox.nodes()
    sandbox.run("echo before", nodes)
    marks = tmp_path / "marks"
    gate = tmp_path / "gate"
    # Runs on over the restore, and must not run twice.
    running = sandbox.send(f"echo x >> {marks}; while [ ! -e {gate} ]; do sleep 0.1; done; echo over", nodes[:1])
    eventually(marks.exists, what="the command on its node")
    backup = tmp_path / "backup"
    control(sandbox, documented("backup"), backup)
    manifest = json.loads((backup / "manifest.json").read_text())
    assert {"store/controller.sqlite", "keys/ca-key.pem", "keys/operator-keys.key"} <= {f["path"] for f in manifest["files"]}
    assert (backup / "keys").stat().st_mode & 0o777 == 0o700

    # Gone after the backup; sent after the backup.
    sandbox.client().deregister_managed_instance(InstanceId=nodes[1])
    later = sandbox.send(f"echo y >> {marks}", nodes[:1])
    sandbox.finished(later)
    refused = control(sandbox, documented("restore"), backup, check=False)
    assert refused.returncode != 0 and "is running" in refused.stderr, refused.stderr
    sandbox.control("stop", "controller")

    # Killed at several moments: what it leaves is finished or begun anew.
    for number in range(1, 5):
        interrupted(sandbox, documented("restore"), backup, 0.02 * number)
    result = control(sandbox, documented("restore"), backup)
    if "has been finished" in result.stdout:
        # The kill came behind the point of no return; once more, for the words.
        result = control(sandbox, documented("restore"), backup)
    assert "new epoch" in result.stdout and running in result.stdout or "LOST" in result.stdout, result.stdout
    control(sandbox, documented("check"), backup)

    sandbox.control("start", "controller")
    eventually(lambda: sandbox.client().get_connection_status(Target=nodes[0])["Status"] == "connected", what="the node")
    found = sandbox.client().list_command_invocations(CommandId=running)["CommandInvocations"]
    assert found[0]["Status"] == "Failed" and "Outcome unknown" in found[0]["TraceOutput"]
    # The node takes orders of the restored store, because its authority has signed for it.
    again = sandbox.send("echo after", nodes[:1])
    sandbox.finished(again)
    assert sandbox.invocations(again)[nodes[0]]["Status"] == "Success"
    gate.touch()
    eventually(lambda: "over" in sandbox.client().get_command_invocation(CommandId=running, InstanceId=nodes[0])["StandardOutputContent"],
               what="what the node reported of the command")
    assert marks.read_text() == "x\ny\n"
    # The deregistered one is a node again.
    eventually(lambda: nodes[1] in sandbox.nodes(), what="the node that was deregistered since")

    # An old copy of the store, started without `restore`, runs nothing.
    sandbox.control("stop", "controller")
    data = sandbox.directory / "controller"
    for name in ("controller.sqlite-wal", "controller.sqlite-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(backup / "store" / "controller.sqlite", data / "controller.sqlite")
    sandbox.control("start", "controller")
    eventually(lambda: sandbox.client().get_connection_status(Target=nodes[0])["Status"] == "connected", what="the node")
    stale = sandbox.send(f"echo z >> {marks}", nodes[:1])
    sandbox.finished(stale)
    invocation = sandbox.invocations(stale)[nodes[0]]
    assert invocation["Status"] == "Failed" and "muster-controller restore" in invocation["TraceOutput"], invocation
    assert marks.read_text() == "x\ny\n"


def test_a_backup_that_was_killed_is_none(make_sandbox, tmp_path):
    sandbox = make_sandbox(1)
    backup = tmp_path / "backup"
    interrupted(sandbox, documented("backup"), backup, 0.05)
    if (backup / "manifest.json").exists():
        pytest.skip("it was quicker than the kill")
    sandbox.control("stop", "controller")
    result = control(sandbox, documented("restore"), backup, check=False)
    assert result.returncode != 0
    sandbox.control("start", "controller")

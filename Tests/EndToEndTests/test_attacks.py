"""Attacks on a fleet of real processes, and what has to come of each. docs/threat-model.md says where the others are."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import botocore.exceptions
import pytest

import sessions
from clock import Clock
from conftest import BIN, descendants, eventually


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(2)


@pytest.fixture(scope="module")
def two(box):
    return box.nodes()


def audit(box):
    """All of the trail, as it is stored."""
    with sqlite3.connect(f"file:{box.directory}/controller/controller.sqlite?mode=ro", uri=True) as db:
        return "\n".join(map(str, db.execute("SELECT * FROM audit_events").fetchall()))


class Captured:
    """Calls of boto3 as they went over the wire, to be sent again."""

    def __init__(self, box):
        self.box, self.client, self.calls = box, box.client(), []
        self.client.meta.events.register("before-send.ssm.*", lambda request, **_: self.calls.append(
            (request.url, dict(request.headers.items()), request.body)))

    def again(self, index=-1, **changes):
        """The answer's status and error code."""
        url, headers, body = self.calls[index]
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in headers.items()}
        text.update({k.replace("_", "-"): v for k, v in changes.items()})
        context = ssl.create_default_context(cafile=self.box.env["AWS_CA_BUNDLE"])
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=text), context=context, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["__type"]


# 4: the same name again

def test_a_name_that_is_enrolled_again_inherits_nothing(box, tmp_path):
    ssm = box.client()
    pin = box.muster("enroll").stdout.split("--pin ")[1].split()[0]

    def enrol(state):
        made = ssm.create_activation(IamRole="test", DefaultInstanceName="twin")
        subprocess.run([str(BIN / "muster-agent"), "register", "--controller", box.env["AWS_ENDPOINT_URL"], "--activation-id", made["ActivationId"],
                        "--pin", pin, "--state-dir", str(state)], input=made["ActivationCode"], capture_output=True, text=True, timeout=60, check=True)
        return next(n["InstanceId"] for p in ssm.get_paginator("describe_instance_information").paginate() for n in p["InstanceInformationList"]
                    if n.get("Name") == "twin")

    first = enrol(tmp_path / "first")
    ssm.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=first, Tags=[{"Key": "trusted", "Value": "yes"}])
    waiting = box.send(f"touch {tmp_path}/ran", [first])
    ssm.deregister_managed_instance(InstanceId=first)
    second = enrol(tmp_path / "second")
    agent = subprocess.Popen([str(BIN / "muster-agent"), "run", "--state-dir", str(tmp_path / "second")], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: ssm.get_connection_status(Target=second)["Status"] == "connected", what="the second one")
        assert second != first and box.run("true", [second])[0]["Status"] == "Success"
        assert ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=second)["TagList"] == []
        assert {c["CommandId"] for c in ssm.list_commands(InstanceId=second)["Commands"]}.isdisjoint({waiting})
        assert box.finished(waiting)["Status"] == "Failed" and not (tmp_path / "ran").exists()
    finally:
        agent.terminate()
        agent.wait(timeout=20)
        ssm.deregister_managed_instance(InstanceId=second)


# 5: replay

def test_a_captured_call_changes_nothing_again(box, two):
    wire = Captured(box)
    comment = f"captured {time.monotonic()}"
    wire.client.send_command(DocumentName="AWS-RunShellScript", InstanceIds=two[:1], Comment=comment, Parameters={"commands": ["true"]})
    wire.client.start_session(Target=two[1])
    wire.client.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=two[0], Tags=[{"Key": "lent", "Value": "yes"}])
    wire.client.remove_tags_from_resource(ResourceType="ManagedInstance", ResourceId=two[0], TagKeys=["lent"])
    time.sleep(2.1)  # a signature's grain and the way: within it a call made twice cannot be told from one sent twice

    def refused():
        for index in range(4):
            assert wire.again(index) == (400, "ThrottlingException"), index
            # The id by which SDKs repeat a call is not signed by all of them.
            assert wire.again(index, amz_sdk_invocation_id="another") == (400, "ThrottlingException"), index

    refused()
    box.control("restart", "controller")
    box.load()
    refused()
    ssm = box.client()
    commands = [c for page in ssm.get_paginator("list_commands").paginate(InstanceId=two[0]) for c in page["Commands"]]
    assert [c["Comment"] for c in commands].count(comment) == 1
    assert "lent" not in [t["Key"] for t in ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=two[0])["TagList"]]
    assert len(ssm.describe_sessions(State="Active", Filters=[{"key": "Target", "value": two[1]}])["Sessions"]) == 1
    ssm.terminate_session(SessionId=ssm.describe_sessions(State="Active")["Sessions"][0]["SessionId"])
    assert "ReplayedSignature" in audit(box)


def test_a_call_made_twice_in_a_second_is_two_calls(box, two):
    ssm = box.client(retries=3)
    sent = [ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=two[:1], Parameters={"commands": ["true"]})["Command"]["CommandId"]
            for _ in range(4)]
    assert len(set(sent)) == 4
    for command in sent:
        box.finished(command)


# 6: clocks

@pytest.mark.parametrize("days", [1, -1, 3650, -3650])
def test_a_node_whose_clock_is_wrong_stays_manageable(box, two, tmp_path, days):
    """An agent that starts under the wrong clock connects, runs what is sent, and judges start-by by the controller's time."""
    clock = Clock(tmp_path)
    clock.advance(days=days)
    ssm = box.client()
    box.control("stop", "agent-1")
    log = open(tmp_path / "agent.log", "wb")
    agent = subprocess.Popen([str(BIN / "muster-agent"), "run", "--state-dir", str(box.directory / "agent-1")],
                             env={**os.environ, **clock.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: ssm.get_connection_status(Target=two[1])["Status"] == "connected", what=f"a node {days} days off")
        command, found = box.run("echo here", two[1:])
        assert (command["Status"], found[two[1]]["CommandPlugins"][0]["Output"]) == ("Success", "here\n")
    finally:
        agent.terminate()
        agent.wait(timeout=20)
        box.control("start", "agent-1")
    eventually(lambda: ssm.get_connection_status(Target=two[1])["Status"] == "connected", what="the node with its own clock")


# 7: names that are paths

HOSTILE = ["../../etc/cron.d/x", "/etc/cron.d/x", "x\0y", "n" * 4096, "раssword", ".", "..", "x/", "X/../x"]


def test_names_never_become_paths(box, two):
    def files():
        return {p for root in (box.directory / "controller", box.directory / "agent-0") for p in root.rglob("*") if "tmp" not in p.name}

    ssm = box.client(parameter_validation=False)
    before, cron = files(), sorted(os.listdir("/etc/cron.d")) if os.path.isdir("/etc/cron.d") else None
    for name in HOSTILE:
        for call, arguments in [
            (ssm.send_command, dict(DocumentName=name, InstanceIds=two[:1])),
            (ssm.send_command, dict(DocumentName="AWS-RunShellScript", InstanceIds=[name], Parameters={"commands": ["true"]})),
            (ssm.get_command_invocation, dict(CommandId=name, InstanceId=two[0])),
            (ssm.cancel_command, dict(CommandId=name)),
            (ssm.start_session, dict(Target=name)),
            (ssm.start_session, dict(Target=two[0], DocumentName=name)),
            (ssm.resume_session, dict(SessionId=name)),
            (ssm.create_document, dict(Name=name, Content='{"schemaVersion":"2.2"}', DocumentType="Command")),
            (ssm.create_document, dict(Name="Hostile-Step", DocumentType="Command", Content=json.dumps({
                "schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": ["true"]}}]}))),
            (ssm.get_document, dict(Name=name)),
            (ssm.deregister_managed_instance, dict(InstanceId=name)),
        ]:
            with pytest.raises(botocore.exceptions.ClientError) as refused:
                call(**arguments)
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, (name[:40], call)
            assert refused.value.response["Error"]["Code"] not in ("ThrottlingException", "SerializationException"), (name[:40], call)
    assert files() == before
    assert cron is None or sorted(os.listdir("/etc/cron.d")) == cron


# 8: what somebody else has put into a state folder

@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_what_was_planted_is_not_followed(box, two, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    state = box.directory / "agent-1"
    box.control("stop", "agent-1")
    kept = {}
    try:
        for name in ("jobs", "sessions", "identity/connection-number", "identity/identity.json"):
            place = state / name
            if place.exists():
                kept[place] = tmp_path / name.replace("/", "-")
                place.rename(kept[place])
            if kind == "link":
                place.symlink_to(outside / "file" if "." in name or "-" in name else outside)
            elif kind == "pipe":
                os.mkfifo(place)
            else:
                os.link(outside / "file", place)
            for program in (["status"], ["run"]):
                agent = subprocess.Popen([str(BIN / "muster-agent"), *program, "--state-dir", str(state)], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    # It ends in words, or runs without what was planted: it never waits for it.
                    agent.wait(timeout=1.5)
                except subprocess.TimeoutExpired:
                    assert program == ["run"], (name, "status hangs")
                    agent.terminate()
                    agent.wait(timeout=10)
            assert [p.name for p in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "untouched", name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            if place in kept:
                kept.pop(place).rename(place)
    finally:
        for place, saved in kept.items():
            place.unlink(missing_ok=True)
            saved.rename(place)
        box.control("start", "agent-1")
    ssm = box.client()
    eventually(lambda: ssm.get_connection_status(Target=two[1])["Status"] == "connected", what="the node without what was planted")


# 11: the set of targets is the one that was accepted

def test_a_tag_that_is_taken_away_meanwhile_changes_nothing(box, two, tmp_path):
    ssm = box.client()
    for node in two:
        ssm.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "frozen", "Value": "yes"}])
    gate = tmp_path / "gate"
    command = box.send(f"until [ -e {gate} ]; do sleep 0.02; done", Targets=[{"Key": "tag:frozen", "Values": ["yes"]}], MaxConcurrency="1")
    eventually(lambda: "InProgress" in {i["Status"] for i in box.invocations(command, details=False).values()}, what="the first start")
    for node in two:
        ssm.remove_tags_from_resource(ResourceType="ManagedInstance", ResourceId=node, TagKeys=["frozen"])
    gate.touch()
    ended = box.finished(command)
    assert (ended["Status"], ended["TargetCount"], ended["CompletedCount"]) == ("Success", 2, 2)
    assert set(box.invocations(command)) == set(two)
    for targets in ([{"Key": "tag:frozen", "Values": ["*"]}], [{"Key": "tag:frozen", "Values": [""]}], [{"Key": "tag:*", "Values": ["*"]}]):
        try:
            nobody = box.finished(box.send("true", Targets=targets))
        except botocore.exceptions.ClientError as refused:
            assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        else:
            assert nobody["TargetCount"] == 0 and nobody["Status"] == "Failed", targets


# 12: bombs

def bombs():
    step = {"action": "aws:runShellScript", "name": "a", "inputs": {"runCommand": ["true"]}}
    good = json.dumps({"schemaVersion": "2.2", "mainSteps": [step]})
    yield "deep list", "[" * 10_000
    yield "deep object", '{"a":' * 10_000
    yield "deep inside", json.dumps({"schemaVersion": "2.2", "mainSteps": [step]})[:-1] + ',"description":' + "[" * 10_000 + "]" * 10_000 + "}"
    yield "duplicate keys", good.replace('"name": "a"', '"name": "a", "name": "b"')
    yield "64 KB and one", good + " " * (65_537 - len(good))
    yield "unknown schema", good.replace("2.2", "9.9")
    yield "unknown field", good[:-1] + ', "surprise": 1}'
    yield "a huge number", good[:-1] + ', "description": 1' + "0" * 60_000 + "}"
    yield "catastrophic pattern", json.dumps({"schemaVersion": "2.2", "mainSteps": [step], "parameters": {
        "p": {"type": "String", "default": "a" * 30_000 + "!", "allowedPattern": "^(a+)+$"}}})
    yield "a pattern that multiplies", json.dumps({"schemaVersion": "2.2", "mainSteps": [step], "parameters": {
        "p": {"type": "String", "default": "x", "allowedPattern": "(((a{1,1000}){1,1000}){1,1000}){1,1000}"}}})
    yield "YAML of aliases", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"


def resident(pid):
    return int(next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])


def test_bombs_are_refused_quickly_and_cost_little(box):
    ssm, controller = box.client(), box.pids["controller"]
    before = resident(controller)
    for what, content in bombs():
        begun = time.monotonic()
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            ssm.create_document(Name="Bomb", Content=content, DocumentType="Command")
        assert refused.value.response["Error"]["Code"] in ("InvalidDocumentContent", "MaxDocumentSizeExceeded", "InvalidDocumentSchemaVersion",
                                                           "ValidationException", "InvalidDocument"), what
        assert time.monotonic() - begun < 5, what
    assert resident(controller) - before < 64 << 10
    # Not understood, so never unpacked.
    wire = Captured(box)
    wire.client.list_commands()
    assert wire.again(Content_Encoding="gzip")[0] in (200, 400, 415)


# 20: secrets

def test_no_core_is_dumped(box):
    """Started where cores are wanted, they have none."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        for name in ("controller", "agent-0"):
            box.control("restart", name)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    box.load()
    for name in ("controller", "agent-0"):
        limits = pathlib.Path(f"/proc/{box.pids[name]}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4] == "0", name
    ssm = box.client()
    eventually(lambda: all(ssm.get_connection_status(Target=node)["Status"] == "connected" for node in box.nodes()), what="the nodes")


def test_a_parameter_is_nowhere_but_in_its_command(box, two):
    """Not in an argument list, the environment of another process, a log or the audit trail, while it is used and after."""
    secret = f"secret{os.urandom(8).hex()}"
    command = box.client().send_command(
        DocumentName="AWS-RunShellScript", InstanceIds=two[:1], Parameters={"commands": [f": {secret}; sleep 600"]})["Command"]["CommandId"]
    eventually(lambda: box.invocations(command, details=False)[two[0]]["Status"] == "InProgress", what="the start")
    try:
        processes = list(box.pids.values())
        for pid in processes + [p for top in processes for p in descendants(top)]:
            for file in ("cmdline", "environ"):
                try:
                    text = pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
                except OSError:
                    continue
                assert secret.encode() not in text, (pid, file)
    finally:
        box.client().cancel_command(CommandId=command)
        box.finished(command)
    for log in box.directory.rglob("*.log"):
        assert secret not in log.read_text(errors="replace"), log
    assert secret not in audit(box)


# 22: another controller

def test_a_node_does_not_change_sides_unasked(box, two, make_sandbox):
    """Without --force nothing changes; with it the agent says so loudly, and the old controller sees it lost."""
    other = make_sandbox(0)
    made = other.client().create_activation(IamRole="test", RegistrationLimit=2)
    pin = other.muster("enroll").stdout.split("--pin ")[1].split()[0]
    state = box.directory / "agent-1"
    before = (state / "identity" / "identity.json").read_bytes()

    def register(*options):
        return subprocess.run([str(BIN / "muster-agent"), "register", "--controller", other.env["AWS_ENDPOINT_URL"], "--activation-id", made["ActivationId"],
                               "--pin", pin, "--state-dir", str(state), *options], input=made["ActivationCode"], capture_output=True, text=True, timeout=60)

    refused = register()
    assert refused.returncode != 0 and "--force" in refused.stderr
    assert (state / "identity" / "identity.json").read_bytes() == before
    assert other.client().describe_instance_information()["InstanceInformationList"] == []
    # No remote message can do it: the controller's name is not taken from what a controller says.
    ssm = box.client()
    box.control("stop", "agent-1")
    forced = register("--force")
    assert forced.returncode == 0 and "which still lists it" in forced.stdout + forced.stderr and two[1] in forced.stdout + forced.stderr
    gone = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [two[1]]}])["InstanceInformationList"][0]
    assert gone["PingStatus"] == "ConnectionLost"


# 25: a hostile node

def flood(fake, stop, frames):
    """As many frames as the socket takes."""
    data = b"".join(masked(f) for f in frames) * 20
    try:
        while not stop.is_set():
            fake.socket.socket.sendall(data)
    except OSError:
        pass


def masked(payload):
    mask, length = b"\1\2\3\4", len(payload)
    head = bytes([0x82]) + (bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + struct.pack(">H", length))
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def test_floods_of_one_node_do_not_stop_the_others(make_sandbox):
    """Frames of no use, replies to jobs that never were, handshakes that never end: the others' commands still end in time."""
    fleet = make_sandbox(4)
    nodes = fleet.nodes()
    for index in (2, 3):
        fleet.kill(f"agent-{index}")
    fakes = [sessions.FakeNode(fleet, index) for index in (2, 3)]
    controller, before = fleet.pids["controller"], resident(fleet.pids["controller"])
    host, port = urllib.parse.urlsplit(fleet.env["AWS_ENDPOINT_URL"]).netloc.split(":")
    stop = threading.Event()
    unknown = [sessions.frame("no_such_message", b"x" * 100)]
    foreign = [sessions.frame("agent_job_reply", json.dumps({
        "schemaVersion": 1, "jobId": f"aws.ssm.{'0' * 8}-0000-0000-0000-{'0' * 12}.{fakes[1].node}", "content": "{}", "topic": "aws.ssm.sendCommand"}).encode())]
    threads = [threading.Thread(target=flood, args=(fakes[0], stop, unknown)), threading.Thread(target=flood, args=(fakes[1], stop, foreign))]
    slow = []
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
            slow.append(connection)
        took = []
        for _ in range(5):
            begun = time.monotonic()
            command, _ = fleet.run("true", nodes[:2])
            took.append(time.monotonic() - begun)
            assert command["Status"] == "Success"
        assert sorted(took)[2] < 5, took
        assert resident(controller) - before < 150 << 10
        # Those who never finish their handshake are sent away.
        slow[0].settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while slow[0].recv(100):
                pass
    finally:
        stop.set()
        for connection in slow:
            connection.close()
        for fake in fakes:
            fake.socket.drop()
        for thread in threads:
            thread.join(timeout=10)

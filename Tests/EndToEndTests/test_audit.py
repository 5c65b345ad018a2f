"""The audit trail: who did what, in CloudTrail's shape; delivered elsewhere, and proven there."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading

import boto3
import botocore
import pytest

from conftest import BIN, Sandbox, alive, eventually, muster
from test_recording import Terminal, sealed


class Syslog:
    """A daemon that takes RFC 5424 messages over TCP, with counted octets."""

    def __init__(self):
        self.messages, self.port, self.listener, self.open = [], 0, None, []
        self.start()

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        buffer = b""
        while True:
            try:
                more = connection.recv(1 << 16)
            except OSError:
                return
            if not more:
                return
            buffer += more
            while (found := re.match(rb"(\d+) ", buffer)) and len(buffer) >= found.end() + int(found[1]):
                end = found.end() + int(found[1])
                self.messages.append(buffer[found.end():end])
                buffer = buffer[end:]

    def stop(self):
        # A thread in accept(2) would go on with one more connection.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self.open = []

    def lines(self):
        return [m[m.index(b"{"):] for m in self.messages]


@pytest.fixture(scope="module")
def syslog():
    daemon = Syslog()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    log = open(folder / "log", "w+")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=log, stderr=log)
    try:
        def port():
            assert server.poll() is None, (folder / "log").read_text()
            found = re.search(r"http://127.0.0.1:(\d+)", (folder / "log").read_text())
            return found and found[1]
        endpoint = "http://127.0.0.1:" + eventually(port, what="the S3 server")
        (folder / "keys").write_text("aws_access_key_id = test\naws_secret_access_key = test-secret\n")
        os.chmod(folder / "keys", 0o600)
        client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test-secret", region_name="us-east-1")
        client.create_bucket(Bucket="trail")
        yield client, endpoint, folder / "keys"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def box(tmp_path_factory, syslog, s3):
    _, endpoint, keys = s3
    made = Sandbox(tmp_path_factory.mktemp("audit") / "s", 1, controller={
        "MUSTER_CONTROLLER_AUDIT_FOLDER": str(tmp_path_factory.mktemp("elsewhere") / "trail"),
        "MUSTER_CONTROLLER_AUDIT_SYSLOG": f"tcp:127.0.0.1:{syslog.port}",
        "MUSTER_CONTROLLER_AUDIT_S3_BUCKET": "trail",
        "MUSTER_CONTROLLER_OUTPUT_S3_ENDPOINT": endpoint,
        "MUSTER_CONTROLLER_OUTPUT_S3_CREDENTIALS_FILE": str(keys),
        "MUSTER_CONTROLLER_RECORDING_COMMIT_SECONDS": "1",
    })
    made.trail = pathlib.Path(re.search(r"AUDIT_FOLDER=(\S+)", environment(made))[1])
    yield made
    made.down()


def environment(box):
    return pathlib.Path(f"/proc/{box.pids['controller']}/environ").read_text().replace("\0", "\n")


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


def events(box, **attributes):
    pages = box.client("cloudtrail").get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": k, "AttributeValue": v} for k, v in attributes.items()])
    return [{**e, "Record": json.loads(e["CloudTrailEvent"])} for page in pages for e in page["Events"]]


def verify(*arguments, env=None):
    return muster("audit", "verify", *arguments, env=env or {"HOME": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent/config"}, check=False)


def export(box, folder, *arguments):
    found = box.muster("audit", "export", folder, *arguments).stdout.split()
    return pathlib.Path(found[0]), pathlib.Path(found[1])


def store(box, name="controller.sqlite"):
    return box.directory / "controller" / name


def test_lookup_events_speaks_as_cloudtrail_does(box, node):
    secret = "hunter2-" + os.urandom(4).hex()
    text = f"echo {secret}"
    command = box.send(text, [node], Comment="a look")
    box.finished(command)
    eventually(lambda: events(box, ResourceName=command), what="the events")
    found = eventually(lambda: (lambda e: e if {"SendCommand", "StartInvocation", "EndInvocation"} <= {x["EventName"] for x in e} else None)(
        events(box, ResourceName=command)), what="the end of the invocation")
    sent = next(e for e in found if e["EventName"] == "SendCommand")
    record = sent["Record"]
    assert sent["Username"] == "administrator" and sent["AccessKeyId"] == box.env["AWS_ACCESS_KEY_ID"] and sent["ReadOnly"] == "false"
    assert record["userIdentity"]["type"] == "IAMUser" and record["userIdentity"]["arn"].endswith(":user/administrator")
    assert record["eventSource"] == "ssm.amazonaws.com" and record["sourceIPAddress"] == "127.0.0.1" and "Boto3" in record["userAgent"]
    assert record["requestParameters"]["instanceIds"] == [node] and record["requestParameters"]["comment"] == "a look"
    assert record["requestParameters"]["parameters"]["commands"] == ["sha256:" + hashlib.sha256(text.encode()).hexdigest()]
    assert record["responseElements"] == {"command": {"commandId": command}} and record["requestID"] and record["eventID"] == sent["EventId"]
    assert record["resources"][0] == {"ARN": f"arn:aws:ssm:{record['awsRegion']}:{record['recipientAccountId']}:command/{command}",
                                      "type": "AWS::SSM::Command"}
    end = next(e for e in found if e["EventName"] == "EndInvocation")["Record"]
    assert end["additionalEventData"] == {"status": "Success", "statusDetails": "Success"} and end["eventType"] == "AwsServiceEvent"
    assert node in [r["ARN"].split("/")[-1] for r in end["resources"]]
    assert {e["EventName"] for e in events(box, ResourceName=node)} >= {"StartInvocation", "EndInvocation"}

    # Reading what a node wrote is an event, and no event holds what it wrote or ran.
    box.client().get_command_invocation(CommandId=command, InstanceId=node)
    assert [e["ReadOnly"] for e in events(box, EventName="GetCommandInvocation")] == ["true"]
    db = sqlite3.connect(f"file:{store(box)}?mode=ro", uri=True)
    assert not [r for (r,) in db.execute("SELECT record FROM audit_events") if secret in r]
    db.close()

    with pytest.raises(botocore.exceptions.ClientError, match="InvalidLookupAttributes"):
        box.client("cloudtrail").lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2)
    with pytest.raises(botocore.exceptions.ClientError, match="EventCategory"):
        box.client("cloudtrail").lookup_events(EventCategory="insight")
    # A signature for another service does not open it.
    other = boto3.client("cloudtrail", endpoint_url=box.env["AWS_ENDPOINT_URL"], verify=box.env["AWS_CA_BUNDLE"], region_name="us-east-1",
                         aws_access_key_id=box.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40)
    with pytest.raises(botocore.exceptions.ClientError, match="Signature"):
        other.lookup_events()


def test_the_aws_command_line_and_search(box, node):
    command = box.send("true", [node])
    box.finished(command)
    aws = pathlib.Path(sys.executable).parent / "aws"
    found = subprocess.run([str(aws), "cloudtrail", "lookup-events", "--lookup-attributes", f"AttributeKey=ResourceName,AttributeValue={command}",
                            "--max-items", "5", "--output", "json"], env=box.clean_env(), capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert "SendCommand" in {e["EventName"] for e in json.loads(found.stdout)["Events"]}
    table = box.muster("audit", "search", "--event", "SendCommand", "--user", "administrator", "--since", "1h", "--limit", "3").stdout
    assert "SendCommand" in table and command in table and "administrator" in table
    records = json.loads(box.muster("audit", "search", "--resource", command, "--changes", "-o", "json").stdout)
    assert records and all(r["eventVersion"] == "1.11" and not r["readOnly"] for r in records)
    assert box.muster("audit", "search", "--event", "Nothing", check=False).returncode == 1
    assert box.muster("audit", "search", "--since", "yesterday", check=False).returncode == 2


def test_an_export_is_proven_away_from_the_controller_and_what_was_done_to_it_is_named(box, node, tmp_path):
    box.finished(box.send("true", [node]))
    ca = box.env["AWS_CA_BUNDLE"]
    file, checkpoint = export(box, tmp_path / "export")
    intact = verify(file, "--ca", ca, "--checkpoint", checkpoint)
    assert intact.returncode == 0 and "intact" in intact.stdout and "1 checkpoint from outside agree" in intact.stdout, intact
    assert verify(file).returncode == 1, "nobody said whose signature counts"
    lines = file.read_bytes().splitlines(keepends=True)
    records = [i for i, line in enumerate(lines) if line.startswith(b'{"record"')]
    at = records[5]
    number = json.loads(lines[at])["sequence"]

    def damaged(change, *arguments):
        changed = list(lines)
        change(changed)
        (tmp_path / "damaged.jsonl").write_bytes(b"".join(changed))
        result = verify(tmp_path / "damaged.jsonl", "--ca", ca, "-o", "json", *arguments)
        assert result.returncode == 1, result.stdout
        return json.loads(result.stdout)

    def byte(found):
        found[at] = found[at].replace(b'"eventID":"', b'"eventID":"x', 1)

    def swap(found):
        found[at], found[records[6]] = found[records[6]], found[at]

    def remove(found):
        del found[at]

    for change in (byte, swap, remove):
        assert damaged(change)["FirstBadRecord"] == number, change.__name__

    def tail(found):
        del found[records[-3]:]

    # Without a checkpoint from outside a trail that ends early looks like a trail that ended.
    found = damaged(tail, "--checkpoint", checkpoint)
    assert found["FirstBadRecord"] == json.loads(lines[records[-3]])["sequence"] and "missing at the end" in found["Words"]

    # Streaming, in parts, and straight from the controller.
    assert box.muster("audit", "verify").returncode == 0
    text = subprocess.run([str(BIN / "muster"), "audit", "export", "-", "--after", "3"], env={**os.environ, **box.env}, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=60).stdout
    (tmp_path / "part.jsonl").write_bytes(text)
    assert verify(tmp_path / "part.jsonl", "--ca", ca).returncode == 1
    part = verify(tmp_path / "part.jsonl", "--ca", ca, "--part")
    assert part.returncode == 0 and "records 4 to" in part.stdout, part


def test_it_is_delivered_to_a_folder_and_to_syslog(box, node, syslog, tmp_path):
    box.finished(box.send("true", [node]))
    ca = box.env["AWS_CA_BUNDLE"]
    kept = tmp_path / "kept"
    kept.write_text(box.muster("audit", "checkpoint").stdout)
    covers = json.loads(json.loads(kept.read_text())["statement"])["mark"]["sequence"]

    def arrived():
        result = verify(box.trail, "--ca", ca, "--checkpoint", kept, "-o", "json")
        return result.returncode == 0 and json.loads(result.stdout)["LastRecord"] >= covers
    eventually(arrived, every=0.2, what="the folder")
    assert oct(box.trail.stat().st_mode & 0o777) == "0o700"

    sequences = lambda: [json.loads(line)["sequence"] for line in syslog.lines() if line.startswith(b'{"record"')]
    eventually(lambda: sequences() and sequences()[-1] >= covers, what="syslog")
    message = next(m for m in syslog.messages if b'"eventName":"SendCommand"' in m)
    assert re.match(rb"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ muster-controller \d+ record - \{", message)
    # What a daemon wrote down is a trail that verifies.
    (tmp_path / "syslog.jsonl").write_bytes(b"\n".join(syslog.lines()) + b"\n")
    result = verify(tmp_path / "syslog.jsonl", "--ca", ca, "--checkpoint", kept)
    assert result.returncode == 0, result.stdout

    # Away, and back: nothing is lost, and what came before is not sent again.
    syslog.stop()
    count = len(syslog.messages)
    command = box.send("true", [node])
    box.finished(command)
    syslog.start()
    eventually(lambda: any(command.encode() in m and b'"SendCommand"' in m for m in syslog.messages[count:]), timeout=60, what="the return")
    found = sequences()
    assert set(range(1, found[-1] + 1)) <= set(found)


def test_recordings_are_proven_by_what_was_delivered(box, node, tmp_path):
    t = Terminal(box, node)
    t.ask("echo shown")
    t.stream(b"exit\r")
    t.drain(20)
    sealed(box, t.id)
    ca = box.env["AWS_CA_BUNDLE"]
    eventually(lambda: any(f'session/{t.id}"'.encode() in p.read_bytes() and b"SealRecording" in p.read_bytes() for p in box.trail.glob("*.jsonl")),
               what="the commitment elsewhere")
    box.muster("session", "export", t.id, tmp_path)
    cast = tmp_path / f"{t.id}.cast"
    (tmp_path / f"{t.id}.commitments").unlink()
    proven = muster("session", "verify", cast, "--ca", ca, "--commitments", box.trail, check=False)
    assert proven.returncode == 0 and "commitments agree" in proven.stdout, proven
    cast.write_bytes(cast.read_bytes().replace(b"shown", b"shawn"))
    assert muster("session", "verify", cast, "--ca", ca, "--commitments", box.trail, check=False).returncode == 1
    assert {"StartSession", "OpenDataChannel", "EndSession", "BeginRecording", "SealRecording"} <= {
        e["EventName"] for e in events(box, ResourceName=t.id)}


def keep(box, path):
    """A copy of the store, journal and all."""
    source, target = sqlite3.connect(store(box)), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()


def put_back(box, path):
    for journal in ("-wal", "-shm"):
        store(box, "controller.sqlite" + journal).unlink(missing_ok=True)
    shutil.copy(path, store(box))
    os.chmod(store(box), 0o600)


def controller(box, *arguments):
    return subprocess.run([str(BIN / "muster-controller"), "audit", "verify", "--data-dir", str(box.directory / "controller"), *map(str, arguments)],
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_the_store_itself_is_held_against_its_chain(box, tmp_path, s3, syslog):
    intact = controller(box)
    assert intact.returncode == 0 and "intact" in intact.stdout, intact
    box.control("stop", "controller")
    try:
        # The last checkpoint is signed at the end, and has reached every target.
        last = json.loads(json.loads(store(box, "audit.checkpoint").read_text())["statement"])
        assert last["kind"] == "shutdown" and json.loads(json.loads((box.trail / "audit.checkpoint").read_text())["statement"]) == last
        client, _, _ = s3
        keys = [o["Key"] for o in client.list_objects_v2(Bucket="trail", Prefix=f"audit/{last['mark']['trail']}/")["Contents"]]
        for key in keys:
            (tmp_path / key.split("/")[-1]).write_bytes(client.get_object(Bucket="trail", Key=key)["Body"].read())
        got = verify(tmp_path, "--ca", box.env["AWS_CA_BUNDLE"], "--checkpoint", store(box, "audit.checkpoint"), "-o", "json")
        assert got.returncode == 0 and json.loads(got.stdout)["LastRecord"] == last["mark"]["sequence"], got

        keep(box, tmp_path / "copy")
        for statement, first in [
            ("UPDATE audit_events SET record = replace(record, '\"readOnly\":false', '\"readOnly\":true') WHERE sequence = 3", 3),
            ("DELETE FROM audit_events WHERE sequence = 5", 5),
            ("UPDATE audit_events SET sequence = CASE sequence WHEN 6 THEN -7 ELSE -6 END WHERE sequence IN (6, 7);"
             "UPDATE audit_events SET sequence = -sequence WHERE sequence < 0", 6),
            (f"DELETE FROM audit_events WHERE sequence > {last['mark']['sequence'] - 2}", last["mark"]["sequence"] - 1),
        ]:
            db = sqlite3.connect(store(box))
            db.executescript(statement)
            db.close()
            found = controller(box)
            assert found.returncode != 0 and f"first bad record {first}:" in found.stdout, (statement, found)
            put_back(box, tmp_path / "copy")
    finally:
        box.control("start", "controller")
    assert controller(box).returncode == 0
    assert not events(box, EventName="DetectAuditRollback")


def test_a_store_that_was_put_back_is_noticed(box, node, tmp_path):
    box.control("stop", "controller")
    keep(box, tmp_path / "backup")
    box.control("start", "controller")
    box.finished(box.send("rm -rf /nothing-here", [node]))
    kept = tmp_path / "kept"
    kept.write_text(box.muster("audit", "checkpoint").stdout)
    box.control("stop", "controller")
    put_back(box, tmp_path / "backup")
    box.control("start", "controller")
    found = eventually(lambda: events(box, EventName="DetectAuditRollback"), what="the event")
    assert found[0]["Record"]["errorCode"] == "Failed" and "rolled back" in found[0]["Record"]["additionalEventData"]["found"]
    # Twice: by the checkpoint beside the store, and by the one in the folder.
    assert {e["Record"]["additionalEventData"]["checkpoint"] for e in found} >= {f"folder:{box.trail}", str(store(box, "audit.checkpoint"))}
    file, _ = export(box, tmp_path / "export")
    result = verify(file, "--ca", box.env["AWS_CA_BUNDLE"], "--checkpoint", kept)
    assert result.returncode == 1 and "rolled back" in result.stdout, result
    # The folder has both branches, and says where they part.
    eventually(lambda: b"DetectAuditRollback" in b"".join(p.read_bytes() for p in box.trail.glob("*.jsonl")), what="the delivery")
    assert "come again" in verify(box.trail, "--ca", box.env["AWS_CA_BUNDLE"]).stdout


def test_the_bucket_alone_tells_that_a_store_was_put_back(box, node, s3, tmp_path):
    client, _, _ = s3
    box.control("stop", "controller")
    keep(box, tmp_path / "backup")
    box.control("start", "controller")
    hidden = box.send("rm -rf /nothing-here", [node])
    box.finished(hidden)
    box.control("stop", "controller")
    last = json.loads(json.loads(client.get_object(Bucket="trail", Key="audit/audit.checkpoint")["Body"].read())["statement"])
    assert last["kind"] == "shutdown"
    put_back(box, tmp_path / "backup")
    # Whoever does that takes away what is within reach.
    store(box, "audit.checkpoint").unlink()
    shutil.rmtree(box.trail)
    box.control("start", "controller")
    sequence = str(last["mark"]["sequence"])
    found = eventually(lambda: [e for e in events(box, EventName="DetectAuditRollback")
                                if e["Record"]["additionalEventData"]["checkpointSequence"] == sequence], what="the event")
    told = found[0]["Record"]["additionalEventData"]
    assert len(found) == 1 and told["checkpoint"] == "s3:127.0.0.1/trail/audit/" and "rolled back" in told["found"], found
    assert not events(box, ResourceName=hidden)
    # The bucket keeps what is to be hidden beside what came after it.
    box.control("stop", "controller")
    try:
        keys = [o["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="trail", Prefix=f"audit/{last['mark']['trail']}/")
                for o in page["Contents"]]
        for key in keys:
            (tmp_path / key.split("/")[-1]).write_bytes(client.get_object(Bucket="trail", Key=key)["Body"].read())
        (tmp_path / "backup").unlink()
        assert any(hidden.encode() in p.read_bytes() for p in tmp_path.glob("*.jsonl"))
        result = verify(tmp_path, "--ca", box.env["AWS_CA_BUNDLE"])
        assert result.returncode == 1 and "come again" in result.stdout, result
    finally:
        box.control("start", "controller")


def test_a_full_disk_refuses_changes_rather_than_skipping_audit(tmp_path):
    place = tmp_path / "s"
    place.mkdir(mode=0o700)
    (tmp_path / "controller").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(place)], capture_output=True).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        small = Sandbox(place / "s", 1)
        try:
            node = small.nodes()[0]
            small.finished(small.send("true", [node]))
            with open(place / "filler", "wb") as filler:
                try:
                    while True:
                        filler.write(b"x" * 65536)
                        filler.flush()
                except OSError:
                    pass
            ssm = small.client()

            def refused():
                # What is left in the journal's file may carry a few changes more, each with its event.
                try:
                    ssm.create_activation(IamRole="r", Description="x" * 200)
                except botocore.exceptions.ClientError as error:
                    assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error
                    return True
            eventually(refused, every=0, what="a refusal")
            (place / "filler").unlink()
            made = {a["ActivationId"] for page in ssm.get_paginator("describe_activations").paginate() for a in page["ActivationList"]}
            told = {e["Record"]["responseElements"]["activationId"] for e in events(small, EventName="CreateActivation") if e["Record"]["responseElements"]}
            assert made <= told
            ssm.create_activation(IamRole="r")
            assert controller(small).returncode == 0
        finally:
            small.down()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

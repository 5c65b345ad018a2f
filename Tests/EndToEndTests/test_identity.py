"""Enrolment and identity with real processes: who may join, what a copy of an identity can do, what a deregistered node can."""

import json
import os
import re
import shutil
import stat
import subprocess

import botocore.exceptions
import pytest

from conftest import BIN, Sandbox, alive, eventually


@pytest.fixture
def box(tmp_path):
    box = Sandbox(tmp_path / "box", 1)
    yield box
    box.down()


def register(box, state, activation, code, pin, check=True):
    result = subprocess.run(
        [str(BIN / "muster-agent"), "register", "--controller", box.env["AWS_ENDPOINT_URL"], "--activation-id", activation, "--pin", pin, "--state-dir", str(state)],
        input=code, capture_output=True, text=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture
def join(box):
    """An activation for one node, and the pin."""
    made = box.client().create_activation(IamRole="test", RegistrationLimit=1, Tags=[{"Key": "role", "Value": "web"}, {"Key": "index", "Value": "1"}])
    line = box.muster("enroll").stdout
    return made["ActivationId"], made["ActivationCode"], line.split("--pin ")[1].split()[0]


def test_one_code_one_node(box, join, tmp_path):
    activation, code, pin = join
    register(box, tmp_path / "a", activation, code, pin)
    refused = register(box, tmp_path / "b", activation, code, pin, check=False)
    assert refused.returncode != 0 and code not in refused.stdout + refused.stderr
    assert len(box.client().describe_instance_information()["InstanceInformationList"]) == 2
    again = register(box, tmp_path / "a", activation, code, pin, check=False)
    assert len(box.client().describe_instance_information()["InstanceInformationList"]) == 2, again.stdout


def test_wrong_code_and_wrong_pin(box, join, tmp_path):
    activation, code, pin = join
    assert register(box, tmp_path / "a", activation, "x" * len(code), pin, check=False).returncode != 0
    wrong = "sha256:" + "0" * 64
    refused = register(box, tmp_path / "b", activation, code, wrong, check=False)
    assert refused.returncode != 0
    found, = box.client().describe_activations(Filters=[{"FilterKey": "ActivationIds", "FilterValues": [activation]}])["ActivationList"]
    assert found["RegistrationsCount"] == 0


def test_private_files(box):
    for path in (box.directory / "agent-0").rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_a_copied_identity_quarantines_both(box, tmp_path):
    node, = box.nodes()
    box.control("stop", "agent-0")
    shutil.copytree(box.directory / "agent-0", tmp_path / "copy")
    box.control("start", "agent-0")
    log = open(tmp_path / "copy.log", "wb")
    copy = subprocess.Popen([str(BIN / "muster-agent"), "run", "--state-dir", str(tmp_path / "copy")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        ssm = box.client()
        eventually(lambda: ssm.get_connection_status(Target=node)["Status"] == "notconnected", what="both being shut out")
        assert ssm.describe_instance_information()["InstanceInformationList"][0]["PingStatus"] == "ConnectionLost"
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            box.send("touch %s" % (tmp_path / "ran"), [node])
        assert refused.value.response["Error"]["Code"] == "InvalidInstanceId"
    finally:
        copy.kill()
        copy.wait()
    assert not (tmp_path / "ran").exists()


def test_a_deregistered_node_stays_out(box):
    node, = box.nodes()
    ssm = box.client()
    ssm.deregister_managed_instance(InstanceId=node)
    assert ssm.describe_instance_information()["InstanceInformationList"] == []
    eventually(lambda: ssm.get_connection_status(Target=node)["Status"] == "notconnected", what="the connection's end")
    assert alive(box.pids["agent-0"])  # it keeps trying, quietly


def test_node_certificate_on_an_operator_route(box):
    """The certificate opens node routes only."""
    state = box.directory / "agent-0"
    pems = [p for p in state.rglob("*") if p.is_file() and b"BEGIN CERTIFICATE" in p.read_bytes()]
    keys = [p for p in state.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert pems and keys
    scratch = box.directory / "certificate.pem"
    texts = [m for p in pems for m in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", p.read_text().replace("\\n", "\n"), re.S)]
    leaf = next(t for t in texts if "CA:TRUE" not in subprocess.run(["openssl", "x509", "-text", "-noout"], input=t, capture_output=True, text=True).stdout)
    scratch.write_text(leaf + "\n")
    key = box.directory / "key.pem"
    key.write_text(re.search(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----", keys[0].read_text().replace("\\n", "\n"), re.S)[0] + "\n")
    os.chmod(key, 0o600)
    out = subprocess.run(["curl", "-sS", "-m", "10", "--cacert", box.env["AWS_CA_BUNDLE"], "--cert", str(scratch), "--key", str(key),
                          "-H", "X-Amz-Target: AmazonSSM.ListCommands", "-H", "Content-Type: application/x-amz-json-1.1", "-d", "{}",
                          box.env["AWS_ENDPOINT_URL"] + "/"], capture_output=True, text=True)
    assert json.loads(out.stdout)["__type"] == "AccessDeniedException", out

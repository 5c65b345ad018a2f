"""The certificate authority is replaced while agents and operators work: prepare, switch, retire."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading

import pytest

from conftest import BIN, Sandbox, eventually


def ca(box, *arguments, check=True):
    result = subprocess.run([str(BIN / "muster-controller"), "ca", *arguments, "--data-dir", str(box.directory / "controller")],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def renew(box, *agents):
    """What `systemctl reload muster-agent` does."""
    for agent in agents:
        os.kill(box.pids[f"agent-{agent}"], signal.SIGHUP)


def identity(box, agent, folder):
    """A copy of what an agent proves itself with now, as curl and openssl read it."""
    stored = json.loads((box.directory / f"agent-{agent}" / "identity" / "identity.json").read_text())
    texts = [v for v in stored.values() if isinstance(v, str)] + [t for v in stored.values() if isinstance(v, list) for t in v if isinstance(t, str)]
    folder.mkdir()
    key = next(t for t in texts if "PRIVATE KEY" in t)
    leaves = [c for t in texts for c in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", t, re.S)
              if "CA:TRUE" not in subprocess.run(["openssl", "x509", "-text", "-noout"], input=c, capture_output=True, text=True).stdout]
    (folder / "leaf.pem").write_text(leaves[0])
    (folder / "key.pem").write_text(key)
    os.chmod(folder / "key.pem", 0o600)
    return folder


def shake_hands(box, who, bundle):
    """`openssl s_client` under a node's certificate, up to an answer of the controller."""
    host = box.env["AWS_ENDPOINT_URL"].removeprefix("https://")
    return subprocess.run(["openssl", "s_client", "-connect", host, "-CAfile", str(bundle), "-verify_return_error", "-cert", str(who / "leaf.pem"), "-key", str(who / "key.pem"), "-quiet"],
                          input="GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", capture_output=True, text=True, timeout=20)


def join(box, line, state, *options):
    code = re.search(r"echo '(\w+)'", line)[1]
    words = line.split("muster-agent register ")[1].split()
    return subprocess.run([str(BIN / "muster-agent"), "register", *words, *options, "--state-dir", str(state)], input=code, capture_output=True, text=True, timeout=60)


def calls(box, bundle):
    """Whether boto3 and the AWS CLI get through with these authorities."""
    box.env["AWS_CA_BUNDLE"] = box.env["SSL_CERT_FILE"] = str(bundle)
    try:
        box.client().describe_instance_information()
    except Exception as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
        assert box.aws("describe-instance-information", check=False).returncode != 0
        return False
    box.aws("describe-instance-information")
    return True


def audit(box):
    store = sqlite3.connect(f"file:{box.directory}/controller/controller.sqlite?mode=ro", uri=True)
    try:
        return store.execute("SELECT operation, caller, outcome FROM audit_events WHERE operation LIKE '%CertificateAuthority' ORDER BY sequence").fetchall()
    finally:
        store.close()


@contextlib.contextmanager
def agent(state, log):
    """An agent beside those of the sandbox, which waits for its own to be online."""
    with open(log, "wb") as output:
        process = subprocess.Popen([str(BIN / "muster-agent"), "run", "--state-dir", str(state)], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


class Work(threading.Thread):
    """Commands on the first nodes, one after the other, until told to stop."""

    def __init__(self, box, nodes):
        super().__init__()
        self.box, self.nodes, self.done, self.failed, self.over = box, nodes, 0, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                command, invocations = self.box.run("echo $((6*7)); head -c 40000 /dev/zero | tr '\\0' x", self.nodes)
                bad = {n: i["StatusDetails"] for n, i in invocations.items() if i["Status"] != "Success"}
                if bad or command["CompletedCount"] != len(self.nodes):
                    self.failed.append((command["StatusDetails"], bad))
            except Exception as error:
                self.failed.append(error)
            self.done += 1

    def stop(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive()


@pytest.fixture
def make(tmp_path):
    made = []

    def make(agents):
        made.append(Sandbox(tmp_path / "box", agents))
        return made[-1]

    yield make
    for box in made:
        box.down()


def test_a_roll_with_overlap(make, tmp_path):
    box = make(4)
    nodes = box.nodes()
    first = tmp_path / "first.pem"
    shutil.copy(box.env["AWS_CA_BUNDLE"], first)
    box.env["AWS_CA_BUNDLE"] = str(first)
    old = identity(box, 0, tmp_path / "old")
    line = box.muster("enroll", "--limit", "2").stdout
    box.control("stop", "agent-3")
    work = Work(box, nodes[:3])
    work.start()
    try:
        said = ca(box, "prepare").stdout
        assert "0 of 4 nodes hold authority 2" in said
        assert "already" in ca(box, "prepare", check=False).stderr
        both = tmp_path / "both.pem"
        shutil.copy(box.directory / "controller" / "ca.pem", both)
        assert both.read_text().count("BEGIN CERTIFICATE") == 2
        assert (box.directory / "profile" / "ca.pem").read_text() == both.read_text()
        assert (box.directory / "controller" / "ca-2-key.pem").stat().st_mode & 0o777 == 0o600
        refused = ca(box, "switch", check=False)
        assert refused.returncode != 0 and all(n in refused.stderr for n in nodes)
        # The running controller hands out both within a second; whoever renewed before that renews again.
        eventually(lambda: len(json.loads(signed(box))["Authorities"]) == 2, what="the controller's taking both")
        renew(box, 0, 1, 2)
        eventually(lambda: "3 of 4 nodes hold authority 2" in ca(box).stdout, every=0.2, what="three nodes holding both")
        refused = ca(box, "switch", check=False)
        assert refused.returncode != 0 and nodes[3] in refused.stderr and nodes[0] not in refused.stderr

        forced = ca(box, "switch", "--force")
        assert nodes[3] in forced.stderr and "Warning" in forced.stderr
        second = re.search(r"authority 2  issuing  (sha256:\w+)", forced.stdout)[1]
        assert re.search(r"activation [\w-]+", forced.stdout)[0].split()[1] in line
        eventually(lambda: second[7:] in shown(box), what="a server certificate of the second authority")
        assert f"--pin {second}" in box.muster("enroll").stdout
        # Lines from before are still good, and so is the node that slept: they meet the second authority by way of the first.
        assert join(box, line, tmp_path / "late").returncode == 0
        box.control("start", "agent-3")
        eventually(lambda: box.client().get_connection_status(Target=nodes[3])["Status"] == "connected", what="the sleeper's return")
        assert box.run("echo awake", [nodes[3]])[0]["Status"] == "Success"
        assert [calls(box, b) for b in (both, first)] == [True, True]
        assert "200 OK" in shake_hands(box, old, first).stdout

        refused = ca(box, "retire", check=False)
        assert refused.returncode != 0 and all(n in refused.stderr for n in nodes)
        renew(box, 0, 1, 2, 3)
        late = json.loads((tmp_path / "late" / "identity" / "identity.json").read_text())
        named = lambda: ca(box, "retire", check=False).stderr
        eventually(lambda: not any(n in named() for n in nodes), every=0.2, what="certificates of the second authority")
        # It was registered and has never been connected, so nobody knows what it stored.
        stranger = re.search(r"mi-\w+", named())[0]
        assert stranger in json.dumps(late)
        box.env["AWS_CA_BUNDLE"] = str(both)
        box.client().deregister_managed_instance(InstanceId=stranger)
        said = ca(box, "retire").stdout
        assert "do not work any more" in said
        after = work.done
        eventually(lambda: work.done >= after + 2, what="commands after the retirement")
    finally:
        work.stop()
    assert work.failed == [] and work.done > 5, (work.done, work.failed)
    only = tmp_path / "second.pem"
    shutil.copy(box.directory / "controller" / "ca.pem", only)
    assert only.read_text().count("BEGIN CERTIFICATE") == 1
    assert not (box.directory / "controller" / "ca-key.pem").exists()
    eventually(lambda: not calls(box, first), what="the end of the first authority")
    assert [calls(box, b) for b in (both, only)] == [True, True]
    gone = shake_hands(box, old, only)
    assert "200 OK" not in gone.stdout and "alert" in gone.stderr, gone
    now = identity(box, 0, tmp_path / "now")
    assert "200 OK" in shake_hands(box, now, only).stdout
    assert join(box, line, tmp_path / "later").returncode != 0
    assert [(o, c, r) for o, c, r in audit(box)] == [(f"{w}CertificateAuthority", "local-administrator", "success") for w in ("Prepare", "Switch", "Retire")]
    # And everything is as it was, but for the authority.
    box.control("stop", "controller")
    box.control("start", "controller")
    eventually(lambda: all(box.client().get_connection_status(Target=n)["Status"] == "connected" for n in nodes), what="everyone's return")
    assert "To replace it" in ca(box).stdout


def signed(box):
    """GET /v1/authorities as an operator."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", box.env["AWS_ENDPOINT_URL"] + "/v1/authorities")
    SigV4Auth(Credentials(box.env["AWS_ACCESS_KEY_ID"], box.env["AWS_SECRET_ACCESS_KEY"]), "ssm", box.env["AWS_DEFAULT_REGION"]).add_auth(request)
    headers = [f"-H{k}: {v}" for k, v in request.headers.items()]
    return subprocess.run(["curl", "-sS", "-m", "10", "--cacert", box.env["AWS_CA_BUNDLE"], *headers, request.url], capture_output=True, text=True).stdout


def shown(box):
    """The digests of the certificates that the controller shows."""
    host = box.env["AWS_ENDPOINT_URL"].removeprefix("https://")
    out = subprocess.run(["openssl", "s_client", "-connect", host, "-showcerts"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20).stdout
    return [subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=c, capture_output=True, text=True).stdout.split("=")[1].strip().replace(":", "").lower()
            for c in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", out, re.S)]


def test_who_holds_both_comes_back_and_who_slept_does_not(make, tmp_path):
    box = make(2)
    nodes = box.nodes()
    box.control("stop", "agent-1")
    ca(box, "prepare")
    eventually(lambda: len(json.loads(signed(box))["Authorities"]) == 2, what="the controller's taking both")
    renew(box, 0)
    eventually(lambda: "1 of 2 nodes hold authority 2" in ca(box).stdout, every=0.2, what="one node holding both")
    before = shown(box)
    ca(box, "switch", "--force")
    eventually(lambda: shown(box) != before, what="a server certificate of the second authority")
    # A controller that starts in the middle shows both ways.
    box.control("stop", "controller")
    box.control("start", "controller")
    assert len(shown(box)) == 4
    refused = ca(box, "retire", check=False).stderr
    assert refused.index("have not stored") < refused.index(nodes[1]) < refused.index("have not used") < refused.index(nodes[0])
    forced = ca(box, "retire", "--force").stderr
    assert forced.index("register them again") < forced.index(nodes[1]) < forced.index("by themselves when") < forced.index(nodes[0])
    # Its connection was cut; with a certificate that nobody takes and the second authority in its set it signs a nonce.
    box.env["AWS_CA_BUNDLE"] = str(box.directory / "controller" / "ca.pem")
    log = box.directory / "logs" / "agent-0.log"
    eventually(lambda: log.read_text().count("certificate renewed") == 2, what="a renewal by signature")
    assert box.run("echo back", [nodes[0]])[0]["Status"] == "Success"
    slept = box.directory / "agent-1"
    with agent(slept, tmp_path / "slept.log") as log:
        eventually(lambda: "certificate verify failed" in log.read_text(), what="the sleeper's complaint")
    assert box.client().get_connection_status(Target=nodes[1])["Status"] == "notconnected"
    # A new line brings the host back, as another node.
    assert join(box, box.muster("enroll").stdout, slept, "--force").returncode == 0
    with agent(slept, tmp_path / "joined.log"):
        other, = {n["InstanceId"] for n in box.client().describe_instance_information()["InstanceInformationList"]} - set(nodes)
        assert box.run("echo again", [other])[0]["Status"] == "Success"


def test_cut_short(make):
    """A key without an authority is nobody's; what is left of a retired one goes with the next command."""
    box = make(0)
    data = box.directory / "controller"
    (data / "ca-2-key.pem").write_text("half a k")
    os.chmod(data / "ca-2-key.pem", 0o600)
    old = (data / "ca-key.pem").read_bytes()
    ca(box, "prepare")
    ca(box, "switch")
    # A bundle from before the crash is put right.
    (data / "ca.pem").write_text("".join((data / "ca.pem").read_text().partition("-----END CERTIFICATE-----\n")[:2]))
    assert ca(box).returncode == 0 and (data / "ca.pem").read_text().count("BEGIN") == 2
    ca(box, "retire")
    (data / "ca-key.pem").write_bytes(old)
    os.chmod(data / "ca-key.pem", 0o600)
    assert "authority 2 issues" in ca(box).stdout.lower() and not (data / "ca-key.pem").exists()
    assert "No former" in ca(box, "retire", check=False).stderr
    assert "No authority is prepared" in ca(box, "switch", check=False).stderr
    assert subprocess.run([str(BIN / "muster-controller"), "check", "--data-dir", str(data)], capture_output=True, timeout=60).returncode == 0
    ca(box, "prepare")
    ca(box, "switch")
    assert sorted(p.name for p in data.glob("ca-*key.pem")) == ["ca-2-key.pem", "ca-3-key.pem"]


def test_killed_at_any_moment(make):
    """A step is done or not done, and the next command goes on from there."""
    box = make(0)
    data = box.directory / "controller"
    stages = {"issues, and no other": "prepare", "hold authority": "switch", "To drop": "retire"}
    taken, kept = 0, 0
    for attempt in range(24):
        said = ca(box).stdout
        step = next(s for words, s in stages.items() if words in said)
        process = subprocess.Popen([str(BIN / "muster-controller"), "ca", step, "--data-dir", str(data)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(attempt % 12 * 0.006)
        process.kill()
        process.wait()
        after = ca(box).stdout
        done = next(s for words, s in stages.items() if words in after) != step
        taken, kept = taken + done, kept + (not done)
        events = [o for o, _, _ in audit(box)]
        assert len(events) == taken, (events, step)
        bundle = (data / "ca.pem").read_text()
        assert bundle.count("BEGIN CERTIFICATE") == (1 if "no other" in after else 2)
        ca(box, next(s for words, s in stages.items() if words in after))
        taken += 1
    assert kept > 0, (taken, kept)
    eventually(lambda: calls(box, data / "ca.pem"), what="a controller that has followed")
    assert subprocess.run([str(BIN / "muster-controller"), "check", "--data-dir", str(data)], capture_output=True, timeout=60).returncode == 0

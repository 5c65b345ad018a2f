"""What a policy makes depend on others: asked by the first call, decided by approvers, used by the same call again, ended in time."""

import json
import os
import re
import subprocess

import botocore.exceptions
import pytest

from callers import User, client
from clock import Clock
from conftest import BIN, Sandbox, eventually, muster
from shells import Shell

ALICE = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Shells", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*",
         "RequireApproval": {"Approvers": ["group/leads"], "Reason": True, "Ticket": "INC-[0-9]+", "MaximumMinutes": 30}},
        {"Sid": "Few", "Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "*",
         "Condition": {"NumericLessThanEquals": {"muster:TargetCount": 1}}},
        {"Sid": "Many", "Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "*", "RequireApproval": {"Approvers": ["bob", "carol"], "Count": 2}},
        {"Sid": "Own", "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"], "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*"},
        {"Sid": "Ask", "Effect": "Allow", "Action": ["ssm:StartAccessRequest", "ssm:GetAccessToken", "ssm:ListCommands"], "Resource": "*"},
    ],
}
# A shell that outlives its approval.
DORA = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Shells", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*",
         "RequireApproval": {"Approvers": ["bob"], "MaximumMinutes": 30, "EndSessions": False}},
        {"Sid": "Own", "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"], "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*"},
    ],
}
LEADS = {"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Resource": "*",
    "Action": ["muster:ListApprovals", "muster:GetApproval", "muster:GrantApproval", "muster:RefuseApproval", "muster:RevokeApproval"]}}


class Person(User):
    """A user with a key of their own."""

    def __init__(self, box, name, policy=None, groups=()):
        super().__init__(box, name, **({"own": json.dumps(policy)} if policy else {}))
        for group in groups:
            self.iam.add_user_to_group(GroupName=group, UserName=name)
        self.ssm = client(box, "ssm", self.key)
        self.env = {"AWS_ACCESS_KEY_ID": self.key[0], "AWS_SECRET_ACCESS_KEY": self.key[1]}

    def muster(self, *arguments, check=True):
        return muster(*arguments, env={**self.sandbox.env, **self.env}, check=check)

    def denied(self, call, **arguments):
        """The words of the denial, and the access request in them."""
        with pytest.raises(botocore.exceptions.ClientError) as failure:
            getattr(self.ssm, call)(**arguments)
        error = failure.value.response["Error"]
        assert error["Code"] == "AccessDeniedException", error
        found = re.search(r"oi-[0-9a-f]{12}", error["Message"])
        return error["Message"], found and found.group()


class Reasoned:
    """A client whose sessions have a reason."""

    def __init__(self, ssm, reason):
        self.ssm, self.reason = ssm, reason

    def start_session(self, **arguments):
        return self.ssm.start_session(Reason=self.reason, **arguments)

    def __getattr__(self, name):
        return getattr(self.ssm, name)


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def box(tmp_path_factory, clock):
    box = Sandbox(tmp_path_factory.mktemp("approvals") / "s", 2, controller=clock.environment)
    iam = box.client("iam")
    iam.create_group(GroupName="leads")
    iam.put_group_policy(GroupName="leads", PolicyName="decide", PolicyDocument=json.dumps(LEADS))
    yield box
    box.down()


@pytest.fixture(scope="module")
def alice(box):
    return Person(box, "alice", ALICE)


@pytest.fixture(scope="module")
def dora(box):
    return Person(box, "dora", DORA)


@pytest.fixture(scope="module")
def bob(box):
    return Person(box, "bob", groups=["leads"])


@pytest.fixture(scope="module")
def carol(box):
    return Person(box, "carol", groups=["leads"])


@pytest.fixture(scope="module")
def targets(box):
    return box.nodes()


def told(box, session):
    """What the audit trail says of a session, the newest first."""
    pages = box.client("cloudtrail").get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": session}])
    return [json.loads(e["CloudTrailEvent"]) for page in pages for e in page["Events"]]


def test_a_shell(box, clock, alice, bob, carol, dora, targets):
    node, other = targets
    # Before anybody is asked, what the policy wants to know.
    assert "reason" in alice.denied("start_session", Target=node)[0]
    words, request = alice.denied("start_session", Target=node, Reason="the disk is full")
    assert "INC-[0-9]+" in words and not request
    words, request = alice.denied("start_session", Target=node, Reason="INC-7 the disk is full")
    assert request and "statement Shells" in words and "group/leads" in words
    assert alice.denied("start_session", Target=node, Reason="INC-7 the disk is full")[1] == request

    # Nobody approves without being allowed to, nor their own.
    assert alice.muster("approvals", "grant", request, check=False).returncode == 2
    iam = box.client("iam")
    iam.add_user_to_group(GroupName="leads", UserName="alice")
    own = alice.muster("approvals", "grant", request, check=False)
    assert own.returncode == 2 and "of his own" in own.stderr
    iam.remove_user_from_group(GroupName="leads", UserName="alice")
    administrator = box.muster("approvals", "grant", request, check=False)
    assert administrator.returncode == 2 and "does not name you" in administrator.stderr

    waiting, = json.loads(carol.muster("approvals", "-o", "json").stdout)
    assert (waiting["AccessRequestId"], waiting["Status"], waiting["Requester"]) == (request, "Pending", "alice")
    assert waiting["Nodes"][0].endswith(node) and waiting["Reason"] == "INC-7 the disk is full" and "Parameters" not in waiting
    granted = json.loads(bob.muster("approvals", "grant", request, "--minutes", "4", "-o", "json").stdout)
    assert granted["Status"] == "Approved" and granted["GrantedBy"] == ["bob"]

    # The identical call; and nothing beside it.
    shell = Shell(box, node, ssm=Reasoned(alice.ssm, "INC-7 the disk is full"))
    shell.until_prompt()
    assert shell.ask("echo $((6*7))").strip() == "42"
    assert alice.denied("start_session", Target=other, Reason="INC-7")[1] != request
    assert alice.denied("start_session", Target=node, Reason="INC-7", DocumentName="AWS-StartSSHSession")[1] != request

    # Beside it a shell by a grant that is over as soon and whose policy lets it go on.
    _, hers = dora.denied("start_session", Target=node, Reason="INC-8")
    bob.muster("approvals", "grant", hers, "--minutes", "4")
    stays = Shell(box, node, ssm=Reasoned(dora.ssm, "INC-8"))
    stays.until_prompt()

    # A minute before the end whoever sits there is told, and at the end the session ends.
    clock.advance(seconds=185)
    shell.until(b"[muster] This session ends in ")
    assert 1 <= int(shell.until(b" seconds, with its approval.").split()[0]) <= 60
    # It goes on until then.
    assert shell.ask("echo $((6*8))").strip() == "48"
    clock.advance(seconds=250)
    assert "approval" in shell.over()["Output"]
    row = eventually(lambda: box.client().describe_sessions(State="History", Filters=[{"key": "SessionId", "value": shell.id}])["Sessions"], what="its row")[0]
    assert row["Status"] == "Terminated" and request in row["Details"]
    # The event says why, and by which request.
    revoked, = [e for e in told(box, shell.id) if e["eventName"] == "RevokeSession"]
    data = revoked["additionalEventData"]
    assert data["accessRequestId"] == request and data["reason"].startswith(f"its approval ({request}) ended at ")
    assert data["principal"].endswith(":user/alice") and revoked["userIdentity"]["type"] == "AWSService"

    # Both were looked at together. Hers goes on, over a lost connection as well, and nobody tells her of an end; a new one needs a new grant.
    assert stays.ask("echo $((6*9))").strip() == "54"
    stays.socket.drop()
    stays.reopen()
    assert "[muster]" not in stays.ask("echo $((6*10))") and b"[muster]" not in stays.seen
    assert not [e for e in told(box, stays.id) if e["eventName"] == "RevokeSession"]
    assert dora.denied("start_session", Target=node, Reason="INC-8")[1] not in (None, hers)
    dora.ssm.terminate_session(SessionId=stays.id)
    stays.over()
    again = alice.denied("start_session", Target=node, Reason="INC-7 the disk is full")[1]
    assert again and again != request

    # A refusal stands for a while.
    bob.muster("approvals", "refuse", again, "--reason", "enough for today")
    words, same = alice.denied("start_session", Target=node, Reason="INC-7 the disk is full")
    assert same == again and "refused by bob: enough for today" in words


def test_a_command_above_a_number_of_targets(box, alice, bob, carol, targets):
    def arguments(nodes, line):
        return dict(DocumentName="AWS-RunShellScript", InstanceIds=nodes, Parameters={"commands": [line]})

    def call(line):
        return ["send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", *targets, "--parameters", f"commands={line}"]

    assert alice.ssm.send_command(**arguments(targets[:1], "true"))["Command"]["TargetCount"] == 1
    _, request = alice.denied("send_command", **arguments(targets, "echo approved"))
    bob.muster("approvals", "grant", request)
    assert "1 more of bob, carol" in alice.denied("send_command", **arguments(targets, "echo approved"))[0]
    bob.muster("approvals", "grant", request)
    assert json.loads(carol.muster("approvals", "show", request, "-o", "json").stdout)["Parameters"] == {"commands": ["echo approved"]}
    carol.muster("approvals", "grant", request)
    assert alice.denied("send_command", **arguments(targets, "echo something else"))[1] != request
    # From the stock command line as well, and once.
    former = dict(box.env)
    box.env.update(alice.env)
    try:
        sent = json.loads(box.aws(*call("echo approved"), "--output", "json").stdout)["Command"]
    finally:
        box.env.clear()
        box.env.update(former)
    assert box.finished(sent["CommandId"])["Status"] == "Success"
    assert alice.denied("send_command", **arguments(targets, "echo approved"))[1] != request


def test_asking_first(box, alice, bob, targets):
    node = targets[0]
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        alice.ssm.start_access_request(Reason="no ticket", Targets=[{"Key": "InstanceIds", "Values": [node]}])
    assert failure.value.response["Error"]["Code"] == "ValidationException"
    request = alice.ssm.start_access_request(Reason="INC-9", Targets=[{"Key": "InstanceIds", "Values": targets}])["AccessRequestId"]
    assert alice.ssm.get_access_token(AccessRequestId=request)["AccessRequestStatus"] == "Pending"
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        box.client().get_access_token(AccessRequestId=request)
    assert failure.value.response["Error"]["Code"] == "ResourceNotFoundException"
    bob.muster("approvals", "grant", request)
    answer = alice.ssm.get_access_token(AccessRequestId=request)
    assert answer["AccessRequestStatus"] == "Approved"
    credentials = answer["Credentials"]
    token = client(box, "ssm", (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]))
    shell = Shell(box, node, ssm=Reasoned(token, "INC-9"))
    shell.until_prompt()
    # For nothing else.
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        token.list_commands()
    assert "no session policy allows" in failure.value.response["Error"]["Message"]
    # Nor for more by way of a role, whose rights would outlive the grant.
    iam = box.client("iam")
    iam.create_group(GroupName="wide")
    iam.add_user_to_group(GroupName="wide", UserName=alice.name)
    sts = client(box, "sts", (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]))
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        sts.assume_role(RoleArn="arn:aws:iam::000000000001:role/wide", RoleSessionName="more")
    assert failure.value.response["Error"]["Code"] == "AccessDenied" and "narrower" in failure.value.response["Error"]["Message"]
    bob.muster("approvals", "revoke", request)
    shell.over()
    assert alice.ssm.get_access_token(AccessRequestId=request)["AccessRequestStatus"] == "Revoked"


def test_simulation(box, alice, targets, tmp_path):
    arn = f"arn:aws:ssm:us-east-1:000000000001:managed-instance/{targets[0]}"
    asked = ["policy", "simulate", "--user", "alice", "--resource", arn]
    answer = box.muster(*asked, "--action", "ssm:StartSession", check=False)
    assert answer.returncode == 1 and answer.stdout.startswith("approvalNeeded") and "statement Shells" in answer.stdout
    assert box.muster(*asked, "--action", "ssm:SendCommand", "--context", "muster:TargetCount=1").stdout.startswith("allowed")
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": {
        "Sid": "Office", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*",
        "Condition": {"muster:TimeWindow": {"aws:CurrentTime": "Mon-Fri 09:00-18:00 Asia/Tokyo"}}}}))
    question = ["policy", "simulate", "--policy", file, "--action", "ssm:StartSession", "--resource", arn, "--context"]
    assert box.muster(*question, "aws:CurrentTime=2026-11-30T01:00:00Z").stdout.startswith("allowed")
    late = box.muster(*question, "aws:CurrentTime=2026-11-30T09:00:00Z", check=False)
    assert late.returncode == 1 and "wanted Mon-Fri 09:00-18:00 Asia/Tokyo" in late.stdout
    # For the local administrator without any controller.
    offline = subprocess.run(
        [BIN / "muster-controller", "policy", "simulate", file, "--action", "ssm:StartSession", "--context", "aws:CurrentTime=2026-11-30T09:00:00Z"],
        capture_output=True, text=True, timeout=60)
    assert offline.returncode == 1 and "statement Office" in offline.stdout
    # Whoever may not ask is told nothing.
    assert alice.muster(*asked, "--action", "ssm:StartSession", check=False).returncode == 2


def test_waiting_for_a_request_and_for_its_decision(box, dora, bob, targets):
    """`approvals --wait` returns by itself, for whoever decides and for whoever asked."""
    for open_one in json.loads(bob.muster("approvals", "-o", "json").stdout):
        verb = ("refuse", "--reason", "tidying up") if open_one["Status"] == "Pending" else ("revoke",)
        bob.muster("approvals", verb[0], open_one["AccessRequestId"], *verb[1:])
    assert bob.muster("approvals", "--wait", "--timeout", "0", check=False).returncode == 124

    def waiting(person, *arguments):
        return subprocess.Popen([str(BIN / "muster"), "approvals", "--wait", *arguments, "--timeout", "60", "-o", "json"], env={**os.environ, **box.env, **person.env},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    approver = waiting(bob)
    request = dora.denied("start_session", Target=targets[1], Reason="waiting for you")[1]
    assert request in approver.communicate(timeout=60)[0] and approver.returncode == 0
    for verb, more, status, code in (("grant", (), "Approved", 0), ("revoke", (), "Revoked", 1)):
        asker = waiting(bob, request) if status == "Approved" else None
        bob.muster("approvals", verb, request, *more)
        asker = asker or waiting(bob, request)
        assert json.loads(asker.communicate(timeout=60)[0])["Status"] == status and asker.returncode == code

"""Who may do what: a policy of ten lines and every way around it, every operation with a key that may nothing, and rights that end."""

import json
import pathlib
import re
import time

import pytest

import callers
import sessions
from callers import User, allow, deny, policy, refused
from conftest import eventually
from shells import Shell

SOURCES = pathlib.Path(__file__).parents[2] / "Sources" / "MusterController"


@pytest.fixture(scope="module")
def box(make_sandbox):
    """Two nodes: one of staging, one of production."""
    box = make_sandbox(2)
    box.staging, box.prod = box.nodes()
    for node, env in ((box.staging, "staging"), (box.prod, "prod")):
        box.client().add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "env", "Value": env}])
    return box


def shells(window, env="staging"):
    """The policy of ten lines, with the hours given."""
    return policy(
        {"Sid": "Shells", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "arn:aws:ssm:*:*:managed-instance/*",
         "Condition": {"StringEquals": {"ssm:resourceTag/env": env}, "Null": {"muster:Reason": "false"},
                       "muster:TimeWindow": {"aws:CurrentTime": window}}},
        {"Sid": "Document", "Effect": "Allow", "Action": "ssm:StartSession",
         "Resource": "arn:aws:ssm:*:*:document/SSM-SessionManagerRunShell"},
        {"Sid": "Own", "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"],
         "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*"})


@pytest.fixture(scope="module")
def alice(box):
    return User(box, "alice", shells=shells(callers.window(-5, 60)))


def ended(box, session):
    return eventually(
        lambda: (box.client().describe_sessions(State="History", Filters=[{"key": "SessionId", "value": session}])["Sessions"] or [None])[0],
        what="the end of the session")


def test_a_shell_on_staging_and_nothing_else(box, alice):
    ssm = alice.client()
    started = ssm.start_session(Target=box.staging, Reason="OPS-12")
    session = started["SessionId"]
    assert session.startswith("alice-")
    plugin = sessions.Plugin(box, started).open()
    plugin.next("output_stream_data")
    assert ssm.resume_session(SessionId=session)["SessionId"] == session
    other = box.client().start_session(Target=box.staging)["SessionId"]

    def words(action, resource):
        return f"User: arn:aws:iam::000000000001:user/alice is not authorized to perform: {action} on resource: {resource}"

    start = lambda **more: lambda: ssm.start_session(**{"Target": box.staging, "Reason": "OPS-12", **more})
    run = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]}}
    arn = f"arn:aws:ssm:{box.env['AWS_DEFAULT_REGION']}:000000000001:"
    ways = {
        "another node": ("StartSession", start(Target=box.prod), arn + "managed-instance/" + box.prod),
        "no reason": ("StartSession", lambda: ssm.start_session(Target=box.staging), arn + "managed-instance/"),
        "exec, cp": ("StartSession", start(DocumentName="AWS-StartNonInteractiveCommand", Parameters={"command": ["id"]}), arn + "document/AWS-StartNon"),
        "a command on a terminal": ("StartSession", start(DocumentName="AWS-StartInteractiveCommand", Parameters={"command": ["id"]}), arn + "document/"),
        "forward": ("StartSession", start(DocumentName="AWS-StartPortForwardingSession", Parameters={"portNumber": ["22"]}), arn + "document/"),
        "ssh": ("StartSession", start(DocumentName="AWS-StartSSHSession"), arn + "document/AWS-StartSSHSession"),
        "a document's ARN": ("StartSession", start(DocumentName="arn:aws:ssm:us-east-1::document/AWS-StartSSHSession"), arn + "document/"),
        "a command by id": ("SendCommand", lambda: ssm.send_command(InstanceIds=[box.staging], **run), "*"),
        "a command by tag": ("SendCommand", lambda: ssm.send_command(Targets=[{"Key": "tag:env", "Values": ["staging"]}], **run), "*"),
        "another's session": ("ResumeSession", lambda: ssm.resume_session(SessionId=other), arn + "session/" + other),
        "another's end": ("TerminateSession", lambda: ssm.terminate_session(SessionId=other), arn + "session/" + other),
        "a new tag": ("AddTagsToResource", lambda: ssm.add_tags_to_resource(
            ResourceType="ManagedInstance", ResourceId=box.prod, Tags=[{"Key": "env", "Value": "staging"}]), "*"),
        "another shell document": ("CreateDocument", lambda: ssm.create_document(
            Name="SSM-SessionManagerRunShell", DocumentType="Session", Content="{}"), "*"),
        "reading output": ("GetCommandInvocation", lambda: ssm.get_command_invocation(
            CommandId="11111111-1111-4111-8111-111111111111", InstanceId=box.staging), "*"),
        "a policy of one's own": ("PutUserPolicy", lambda: alice.client("iam").put_user_policy(
            UserName="alice", PolicyName="all", PolicyDocument=policy(allow("*"))), "*"),
        "another key": ("CreateAccessKey", lambda: alice.client("iam").create_access_key(), "*"),
        "a role": ("AssumeRole", lambda: alice.client("sts").assume_role(
            RoleArn="arn:aws:iam::000000000001:role/ops", RoleSessionName="alice"), "arn:aws:iam::000000000001:role/ops"),
    }
    for way, (operation, call, resource) in ways.items():
        text = refused(call)
        service = {"PutUserPolicy": "iam", "CreateAccessKey": "iam", "AssumeRole": "sts"}.get(operation, "ssm")
        assert text.startswith(words(f"{service}:{operation}", resource)), (way, text)
        newest = callers.denials(box, "alice")[0]
        assert newest[0] == operation and json.dumps(text)[1:-1].split(" (")[0][:60] in newest[1].replace("\\/", "/"), (way, newest)
    # A deny in words is named with policy and statement.
    alice.put("weekend", policy(deny("ssm:StartSession", Sid="NoShellsToday")))
    text = refused(start())
    assert "explicit deny" in text and "policy weekend (user alice), statement NoShellsToday" in text
    assert "policy weekend (user alice), statement NoShellsToday" in callers.denials(box, "alice")[0][1]
    # It ends the session that is open, too.
    assert "no longer allowed" in ended(box, session)["Details"]
    alice.drop("weekend")
    # The hours are over.
    alice.put("shells", shells(callers.window(-60, -5)))
    assert "no identity-based policy allows" in refused(start())
    alice.put("shells", shells(callers.window(-5, 60)))
    box.client().terminate_session(SessionId=ssm.start_session(Target=box.staging, Reason="again")["SessionId"])
    box.client().terminate_session(SessionId=other)


@pytest.mark.parametrize("way", ["policy", "group", "tag", "key", "user"])
def test_rights_that_end_take_their_sessions_along(box, way):
    """A live shell is closed with words, within seconds, and the end says why."""
    iam, may = box.client("iam"), policy(
        allow("ssm:StartSession", Condition={"StringEqualsIfExists": {"ssm:resourceTag/env": ["staging"]}}))
    user = User(box, f"end{way}")
    if way == "group":
        iam.create_group(GroupName="enders")
        iam.put_group_policy(GroupName="enders", PolicyName="may", PolicyDocument=may)
        iam.add_user_to_group(GroupName="enders", UserName=user.name)
    else:
        user.put("may", may)
    shell = Shell(box, box.staging, ssm=user.client())
    shell.until_prompt()
    before = time.monotonic()
    if way == "policy":
        user.drop("may")
    elif way == "group":
        iam.remove_user_from_group(GroupName="enders", UserName=user.name)
    elif way == "tag":
        box.client().add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=box.staging, Tags=[{"Key": "env", "Value": "other"}])
    elif way == "key":
        iam.update_access_key(UserName=user.name, AccessKeyId=user.key[0], Status="Inactive")
    else:
        user.delete()
    while shell.pump():
        pass
    assert time.monotonic() - before < 20
    details = ended(box, shell.id)["Details"]
    assert details.startswith("The session was ended: ") and ("key" in details if way in ("key", "user") else "no longer allowed" in details)
    if way == "tag":
        box.client().add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=box.staging, Tags=[{"Key": "env", "Value": "staging"}])
    if way == "group":
        iam.delete_group_policy(GroupName="enders", PolicyName="may")
        iam.delete_group(GroupName="enders")
    if way != "user":
        user.delete()


def test_a_command_needs_every_node_and_its_document(box):
    user = User(box, "runner", run=policy(
        {"Sid": "Staging", **allow("ssm:SendCommand", "arn:aws:ssm:*:*:managed-instance/*",
                                   Condition={"StringEquals": {"ssm:resourceTag/env": "staging"}})},
        {"Sid": "Script", **allow("ssm:SendCommand", "arn:aws:ssm:*::document/AWS-RunShellScript")},
        allow(["ssm:GetCommandInvocation", "muster:GetCommandOutput", "ssm:CancelCommand"], Condition={"StringEquals": {"muster:Owner": "${aws:username}"}}),
        deny("ssm:SendCommand", Sid="Few", Condition={"NumericGreaterThan": {"muster:TargetCount": "1"}})))
    ssm, run = user.client(), {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["echo mine"]}}
    mine = ssm.send_command(InstanceIds=[box.staging], **run)["Command"]["CommandId"]
    box.finished(mine)
    assert ssm.get_command_invocation(CommandId=mine, InstanceId=box.staging)["StandardOutputContent"] == "mine\n"
    assert callers.raw(box, "GET", f"/v1/command-output/{mine}/{box.staging}", key=user.key)[0] == 200
    ssm.cancel_command(CommandId=mine)
    assert box.prod in refused(ssm.send_command, InstanceIds=[box.prod], **run)
    assert "statement Few" in refused(ssm.send_command, InstanceIds=[box.staging, box.prod], **run)
    assert "statement Few" in refused(ssm.send_command, Targets=[{"Key": "InstanceIds", "Values": ["*"]}], **run)
    # What another has run is another's.
    theirs = box.send("echo theirs", [box.staging])
    box.finished(theirs)
    refused(ssm.get_command_invocation, CommandId=theirs, InstanceId=box.staging)
    refused(ssm.cancel_command, CommandId=theirs)
    refused(ssm.cancel_command, CommandId=theirs, InstanceIds=[box.staging])
    assert callers.raw(box, "GET", f"/v1/command-output/{theirs}/{box.staging}", key=user.key)[0] == 400
    status, text = callers.raw(box, "POST", f"/v1/command-follow/{theirs}", key=user.key, body=b'{"positions":[],"wait":0}')
    assert status == 400 and "AccessDeniedException" in text
    # Nothing was left behind by what was refused.
    assert not [c for c in box.client().list_commands()["Commands"] if c["CommandId"] not in (mine, theirs)]
    user.delete()


# What there is: read from the sources, so that nothing is forgotten that is added.

def served():
    """(name, side) of every operation in JSON."""
    found = {}
    for file in (SOURCES / "Operations").glob("*.swift"):
        for name, side in re.findall(r"register\(\s*([A-Z]\w+)\.self,.*?route: \.(\w+)", file.read_text(), re.S):
            found[name] = side
    assert len(found) >= 35 and found["SendCommand"] == "operators" and found["GetMessages"] == "nodes"
    return found


def forms():
    """(name, service) of every operation of IAM and STS."""
    text = (SOURCES / "Operations" / "CallerOperations.swift").read_text()
    names = re.findall(r'\b(?:change|read)\(\s*"(\w+)"', text)
    for stem in re.findall(r'\b(?:change|read)\(\s*"(\w+)\\\(kind\)(\w+)"', text):
        names += [stem[0] + kind + stem[1] for kind in ("User", "Group")]
    assert len(names) >= 40 and "AttachGroupPolicy" in names
    return [(n, "iam") for n in names] + [(n, "sts") for n in ("GetCallerIdentity", "AssumeRole", "GetSessionToken")]


COMMAND, NODE, SESSION = "11111111-1111-4111-8111-111111111111", "mi-0123456789abcdef0", "alice-0123456789abcdef0"
ROUTES = {
    "GetCommandOutput": ("GET", f"/v1/command-output/{COMMAND}/{NODE}"), "FollowCommandOutput": ("POST", f"/v1/command-follow/{COMMAND}"),
    "GetRecording": ("GET", f"/v1/recordings/{SESSION}"), "ListRecordings": ("GET", "/v1/recordings"),
    "FollowRecording": ("GET", f"/v1/recording-follow/{SESSION}?offset=0&wait=0"),
    "ListRecordingCommitments": ("GET", "/v1/recording-commitments"), "GetAuthorities": ("GET", "/v1/authorities"),
    "SimulatePolicy": ("POST", "/v1/policies/simulate"), "ListApprovals": ("GET", "/v1/approvals"),
    "GetApproval": ("GET", "/v1/approvals/show/1"), "GrantApproval": ("POST", "/v1/approvals/grant/1"),
    "RefuseApproval": ("POST", "/v1/approvals/refuse/1"), "RevokeApproval": ("POST", "/v1/approvals/revoke/1"),
    "ExportAuditTrail": ("GET", "/v1/audit?after=0&until=0"), "CheckpointAuditTrail": ("POST", "/v1/audit-checkpoint"),
}
# Operations of other services than Systems Manager, by their targets.
TARGETS = {"LookupEvents": ("cloudtrail", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.")} | {
    name: ("ec2messages", "EC2WindowsMessageDeliveryService.") for name in ("GetMessages", "AcknowledgeMessage", "FailMessage", "SendReply")}


def there():
    """The routes that there are: one that is added has to be walked, too."""
    found = set()
    for file in SOURCES.rglob("*Routes.swift"):
        found |= set(re.findall(r'register\(\s*"(\w+)", \.', file.read_text()))
    assert len(found) >= 9 and found <= set(ROUTES) | set(NODE_ROUTES), found
    return found
NODE_ROUTES = {"GetOutputProgress": ("GET", f"/v1/output/{COMMAND}/step/stdout"), "PutOutput": ("PUT", f"/v1/output/{COMMAND}/step/stdout?offset=0")}


def test_a_key_that_may_nothing_is_denied_everything(box):
    """boto3 without its own checks sends every operation empty: the denial comes before anything in the body is looked at."""
    user = User(box, "nobody-at-all", none=policy(deny("sts:*")))
    ssm, iam, sts = (user.client(service, validate=False) for service in ("ssm", "iam", "sts"))
    for name, side in served().items():
        service, prefix = TARGETS.get(name, ("ssm", "AmazonSSM."))
        if side == "operators":
            calls = ssm if service == "ssm" else user.client(service, validate=False)
            assert f"{service}:{name} " in refused(calls._make_api_call, name, {}), name
        else:
            status, text = callers.raw(box, "POST", "/", key=user.key, target=prefix + name, body=b"{}")
            assert json.loads(text)["__type"] == "AccessDeniedException", (name, text)
    for name, service in forms():
        if service == "iam":
            assert f"iam:{name} " in refused(iam._make_api_call, name, {}), name
    needed = {"AssumeRole": {"RoleArn": "arn:aws:iam::000000000001:role/ops", "RoleSessionName": "me"}}
    for name in ("GetCallerIdentity", "AssumeRole", "GetSessionToken"):
        assert f"sts:{name} " in refused(sts._make_api_call, name, needed.get(name, {})), name
    routes = there()
    for name, (method, path) in ((n, r) for n, r in (ROUTES | NODE_ROUTES).items() if n in routes):
        status, text = callers.raw(box, method, path, key=user.key, body=b"{}" if method == "POST" else b"")
        assert status in (400, 403) and json.loads(text)["__type"] == "AccessDeniedException", (name, text)
    # Each has left its event.
    audited = {operation for operation, _ in callers.denials(box, user.name)}
    assert audited >= {n for n, side in served().items() if side == "operators"} | routes & set(ROUTES) | {n for n, _ in forms()}
    user.delete()


def test_a_nodes_certificate_opens_no_operators_door(box):
    """Not by itself, and not beside an administrator's signature either."""
    certificate = sessions.AgentLeg(box, "").certificate
    admin = (box.env["AWS_ACCESS_KEY_ID"], box.env["AWS_SECRET_ACCESS_KEY"])
    for key in (None, admin):
        for name, side in served().items():
            if side == "operators":
                service, prefix = TARGETS.get(name, ("ssm", "AmazonSSM."))
                status, text = callers.raw(box, "POST", "/", key=key, target=prefix + name, body=b"{}", certificate=certificate, service=service)
                assert json.loads(text)["__type"] in ("AccessDeniedException", "ThrottlingException"), (name, text)
        for name, service in forms():
            version = "2010-05-08" if service == "iam" else "2011-06-15"
            status, text = callers.raw(box, "POST", "/", key=key, form=f"Action={name}&Version={version}", certificate=certificate, service=service)
            assert "<Code>AccessDenied</Code>" in text or "<Code>Throttling</Code>" in text, (name, text)
        for name, (method, path) in ((n, r) for n, r in ROUTES.items() if n in there()):
            status, text = callers.raw(box, method, path, key=key, body=b"{}" if method == "POST" else b"", certificate=certificate)
            assert status in (403, 429), (name, status, text)

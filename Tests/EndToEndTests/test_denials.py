"""A denial holds: in every role, whatever region a call is signed for, and for what a node has left behind."""

import json

import boto3
import botocore.config
import botocore.exceptions
import pytest

import callers
from callers import User, allow, deny, policy, refused
from conftest import eventually

ACCOUNT = "arn:aws:iam::000000000001"
SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["echo db-password"]}}


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(2)


def group(box, name, members, **policies):
    iam = box.client("iam")
    iam.create_group(GroupName=name)
    for policy_name, document in policies.items():
        iam.put_group_policy(GroupName=name, PolicyName=policy_name, PolicyDocument=document)
    for member in members:
        iam.add_user_to_group(GroupName=name, UserName=member)


def test_an_explicit_deny_is_not_escaped_with_assume_role(box):
    node = box.nodes()[0]
    carl = User(box, "carl")
    group(box, "support", ["carl"], all=policy(allow("ssm:*")))
    issued = carl.client("sts").assume_role(RoleArn=ACCOUNT + ":role/support", RoleSessionName="day")["Credentials"]
    key = issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"]
    in_role = callers.client(box, "ssm", key)
    session = in_role.start_session(Target=node)["SessionId"]
    # Attached afterwards, to another group: it holds for credentials that were issued before, and for what they have opened.
    group(box, "contractors", ["carl"], d=policy(deny(["ssm:SendCommand", "ssm:StartSession"])))
    for call in (lambda: in_role.send_command(InstanceIds=[node], **SCRIPT), lambda: in_role.start_session(Target=node)):
        words = refused(call)
        assert "with an explicit deny" in words and "policy d (group contractors)" in words
    eventually(lambda: box.client().describe_sessions(State="History", Filters=[{"key": "SessionId", "value": session}])["Sessions"],
               what="the end of the session")
    again = carl.client("sts").assume_role(RoleArn=ACCOUNT + ":role/support", RoleSessionName="day")["Credentials"]
    anew = callers.client(box, "ssm", (again["AccessKeyId"], again["SecretAccessKey"], again["SessionToken"]))
    assert "explicit deny" in refused(anew.send_command, InstanceIds=[node], **SCRIPT)
    asked = ["policy", "simulate", "--user", "carl", "--role", "support", "--action", "ssm:SendCommand"]
    answer = box.muster(*asked, check=False)
    assert answer.returncode == 1 and answer.stdout.startswith("explicitDeny") and "group contractors" in answer.stdout
    assert box.muster("policy", "simulate", "--user", "carl", "--role", "support", "--action", "ssm:GetDocument").returncode == 0
    absent = box.muster("policy", "simulate", "--user", "carl", "--role", "ops", "--action", "ssm:GetDocument", check=False)
    assert absent.returncode != 0 and "carl is in no group ops" in absent.stderr


def test_a_deny_that_names_a_region_is_not_escaped_by_signing_for_another(box):
    node = box.nodes()[0]
    arn = f"arn:aws:ssm:{box.env['AWS_DEFAULT_REGION']}:000000000001:managed-instance/{node}"
    bob = User(box, "bob", own=policy(allow("ssm:*"), deny(["ssm:SendCommand", "ssm:StartSession"], arn)))
    for region in ("eu-west-9", box.env["AWS_DEFAULT_REGION"]):
        ssm = boto3.client("ssm", endpoint_url=box.env["AWS_ENDPOINT_URL"], verify=box.env["AWS_CA_BUNDLE"], region_name=region,
                           aws_access_key_id=bob.key[0], aws_secret_access_key=bob.key[1],
                           config=botocore.config.Config(retries={"max_attempts": 0}))
        for call in (lambda: ssm.send_command(InstanceIds=[node], **SCRIPT), lambda: ssm.start_session(Target=node)):
            words = refused(call)
            assert "with an explicit deny" in words and arn in words
        setting = ssm.get_service_setting(SettingId="/ssm/managed-instance/activation-tier")["ServiceSetting"]
        assert setting["ARN"].startswith(f"arn:aws:ssm:{box.env['AWS_DEFAULT_REGION']}:")
    record = json.loads(next(text for operation, text in callers.denials(box, "bob") if operation == "StartSession"))
    assert record["awsRegion"] == box.env["AWS_DEFAULT_REGION"] and record["resources"][0]["ARN"] == arn
    assert record["additionalEventData"]["requestedRegion"] == "eu-west-9"


def test_a_deny_by_tag_outlives_the_node(box):
    node = box.nodes()[1]
    admin = box.client()
    admin.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "role", "Value": "db"}])
    erin = User(box, "erin", own=policy(
        allow(["ssm:*", "muster:*"]), deny("ssm:GetCommandInvocation", Condition={"StringEquals": {"ssm:resourceTag/role": "db"}})))
    command = admin.send_command(InstanceIds=[node], **SCRIPT)["Command"]["CommandId"]
    eventually(lambda: admin.get_command_invocation(CommandId=command, InstanceId=node)["Status"] == "Success", what="the command")
    assert "explicit deny" in refused(erin.client().get_command_invocation, CommandId=command, InstanceId=node)
    admin.deregister_managed_instance(InstanceId=node)
    assert "explicit deny" in refused(erin.client().get_command_invocation, CommandId=command, InstanceId=node)
    assert admin.get_command_invocation(CommandId=command, InstanceId=node)["StandardOutputContent"] == "db-password\n"
    # They decide, and are nowhere to be seen or changed.
    listed = admin.describe_instance_information(Filters=[{"Key": "tag:role", "Values": ["db"]}])["InstanceInformationList"]
    assert listed == []
    for call in (admin.list_tags_for_resource, admin.remove_tags_from_resource):
        with pytest.raises(botocore.exceptions.ClientError) as failure:
            call(ResourceType="ManagedInstance", ResourceId=node, **({"TagKeys": ["role"]} if call == admin.remove_tags_from_resource else {}))
        assert failure.value.response["Error"]["Code"] == "InvalidResourceId"


def test_who_may_nothing_does_not_fill_the_audit_trail(box):
    nobody = User(box, "nobody")
    ssm = nobody.client()
    for _ in range(60):
        refused(ssm.describe_instance_information)
    refused(ssm.list_documents)
    named = [operation for operation, _ in callers.denials(box, "nobody")]
    assert named == ["ListDocuments", "DescribeInstanceInformation"]


def test_nothing_is_told_of_nodes_that_one_may_not_use(box):
    node = box.nodes()[0]
    box.client().add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "env", "Value": "prod"}])
    staging = {"StringEqualsIfExists": {"ssm:resourceTag/env": "staging"}, "Null": {"ssm:resourceTag/env": "false"}}
    nodes = "arn:aws:ssm:*:*:managed-instance/*"
    zoe = User(box, "zoe", own=policy(
        allow(["ssm:SendCommand", "ssm:StartSession"], nodes, Condition=staging),
        allow(["ssm:SendCommand", "ssm:StartSession"], "arn:aws:ssm:*:*:document/*")))
    absent = "mi-0123456789abcdef0"
    for call in (lambda target: zoe.client().start_session(Target=target), lambda target: zoe.client().send_command(InstanceIds=[target], **SCRIPT)):
        # One that is there and one that is not sound alike.
        assert refused(call, node).replace(node, "") == refused(call, absent).replace(absent, "")
    by_tag = refused(zoe.client().send_command, Targets=[{"Key": "tag:env", "Values": ["prod"]}], **SCRIPT)
    assert node not in by_tag
    assert node in next(text for operation, text in callers.denials(box, "zoe") if operation == "SendCommand")
    # Who may use it is told what is the matter, and who may see nodes which it was.
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        box.client().start_session(Target=absent)
    assert failure.value.response["Error"]["Code"] == "TargetNotConnected"
    zoe.put("list", policy(allow("ssm:DescribeInstanceInformation")))
    assert node in refused(zoe.client().send_command, Targets=[{"Key": "tag:env", "Values": ["prod"]}], **SCRIPT)


def test_a_reference_to_the_parameter_store_does_not_run_as_text(box):
    node = box.nodes()[0]
    for call in (
        lambda text: box.client().send_command(InstanceIds=[node], DocumentName="AWS-RunShellScript", Parameters={"commands": [text]}),
        lambda text: box.client().start_session(Target=node, DocumentName="AWS-StartInteractiveCommand", Parameters={"command": [text]}),
    ):
        for text in ("echo {{ssm:password}}", "echo {{ ssm-secure:password }}"):
            with pytest.raises(botocore.exceptions.ClientError) as failure:
                call(text)
            assert failure.value.response["Error"]["Code"] == "InvalidParameters"


def test_simulate_refuses_what_policy_put_refuses(box):
    for more, words in ((["--action", "ssm:SendComand"], "ssm:SendCommand"),
                        (["--action", "ssm:SendCommand", "--context", "muster:Raeson=x"], "muster:Reason")):
        answer = box.muster("policy", "simulate", "--user", "administrator", *more, check=False)
        assert answer.returncode == 2 and f"did you mean '{words}'" in answer.stderr


def test_the_last_administrator_and_a_group_with_members_are_not_deleted_by_mistake(box):
    kept = callers.local(box, "user", "delete", "administrator", check=False)
    assert kept.returncode != 0 and "--force" in kept.stderr
    group(box, "crew", [])
    User(box, "walt")
    box.client("iam").add_user_to_group(GroupName="crew", UserName="walt")
    kept = callers.local(box, "group", "delete", "crew", check=False)
    assert kept.returncode != 0 and "walt" in kept.stderr
    callers.local(box, "group", "delete", "crew", "--force")
    # The way back, as docs/operations.md has it.
    callers.local(box, "user", "delete", "administrator", "--force")
    callers.local(box, "user", "create", "rescue")
    callers.local(box, "policy", "attach", "AdministratorAccess", "--user", "rescue")
    lines = dict(line.split(" = ") for line in callers.local(box, "key", "create", "rescue").stdout.splitlines() if " = " in line)
    iam = callers.client(box, "iam", (lines["aws_access_key_id"], lines["aws_secret_access_key"]))
    assert "rescue" in [user["UserName"] for user in iam.list_users()["Users"]]

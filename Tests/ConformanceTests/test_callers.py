"""Users, groups, keys, policies and temporary credentials as `aws iam`, `aws sts` and boto3 see them."""

import datetime
import json

import pytest

import callers
from callers import User, allow, deny, policy, refused
from test_run_command import code_of

ACCOUNT = "arn:aws:iam::000000000001:"


@pytest.fixture(scope="module")
def iam(sandbox):
    return sandbox.client("iam")


def test_users_and_tags(sandbox, iam):
    made = iam.create_user(UserName="carol", Tags=[{"Key": "team", "Value": "db co"}])["User"]
    assert made["Arn"] == ACCOUNT + "user/carol" and made["UserId"].startswith("AIDA") and made["Path"] == "/"
    assert isinstance(made["CreateDate"], datetime.datetime)
    assert iam.get_user(UserName="carol")["User"] == made and iam.get_user()["User"]["UserName"] == "administrator"
    iam.tag_user(UserName="carol", Tags=[{"Key": "SSMSessionRunAs", "Value": "nobody"}, {"Key": "team", "Value": "x"}])
    iam.untag_user(UserName="carol", TagKeys=["SSMSessionRunAs"])
    assert iam.list_user_tags(UserName="carol")["Tags"] == [{"Key": "team", "Value": "x"}]
    assert code_of(iam.tag_user, UserName="carol", Tags=[{"Key": "SSMSessionRunAs", "Value": "no body"}]) == "InvalidInput"
    for name in ("alpha", "beta", "gamma"):
        iam.create_user(UserName=name)
    listed = [u["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}) for u in page["Users"]]
    assert listed == sorted(listed) and {"alpha", "beta", "gamma", "carol", "administrator"} <= set(listed)
    assert code_of(iam.create_user, UserName="carol") == "EntityAlreadyExists" and code_of(iam.create_user, UserName="Carol") == "EntityAlreadyExists"
    assert code_of(iam.get_user, UserName="Carol") == "NoSuchEntity" and code_of(iam.get_user, UserName="dave") == "NoSuchEntity"
    # Sessions are named after their owners.
    assert code_of(iam.create_user, UserName="carol-2") == "InvalidInput" and code_of(iam.create_user, UserName="a+b") == "ValidationError"
    assert code_of(iam.create_user, UserName="eve", Path="/a/") == "ValidationError"
    assert code_of(iam.create_user, UserName="eve", PermissionsBoundary=ACCOUNT + "policy/x") == "ValidationError"
    for name in ("alpha", "beta", "gamma", "carol"):
        iam.delete_user(UserName=name)
    assert code_of(iam.delete_user, UserName="carol") == "NoSuchEntity"


def test_groups_and_what_they_hold(iam):
    group = iam.create_group(GroupName="ops")["Group"]
    assert group["Arn"] == ACCOUNT + "group/ops" and code_of(iam.create_group, GroupName="OPS") == "EntityAlreadyExists"
    iam.create_user(UserName="carol")
    iam.add_user_to_group(GroupName="ops", UserName="carol")
    iam.add_user_to_group(GroupName="ops", UserName="carol")
    found = iam.get_group(GroupName="ops")
    assert found["Group"] == group and [u["UserName"] for u in found["Users"]] == ["carol"]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName="carol")["Groups"]] == ["ops"]
    assert [g["GroupName"] for g in iam.list_groups()["Groups"]] == ["ops"]
    made = iam.create_policy(PolicyName="look", PolicyDocument=policy(allow("ssm:Describe*")), Description="to look")["Policy"]
    arn = made["Arn"]
    assert arn == ACCOUNT + "policy/look" and made["DefaultVersionId"] == "v1" and made["AttachmentCount"] == 0
    iam.attach_group_policy(GroupName="ops", PolicyArn=arn)
    iam.attach_user_policy(UserName="carol", PolicyArn=arn)
    assert iam.list_attached_group_policies(GroupName="ops")["AttachedPolicies"] == [{"PolicyName": "look", "PolicyArn": arn}]
    assert iam.list_attached_user_policies(UserName="carol")["AttachedPolicies"] == [{"PolicyName": "look", "PolicyArn": arn}]
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [u["UserName"] for u in entities["PolicyUsers"]] == ["carol"] and [g["GroupName"] for g in entities["PolicyGroups"]] == ["ops"]
    document = policy(allow("ssm:List*", Condition={"StringLike": {"aws:UserAgent": "a<b>&\"c*"}}))
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)["PolicyVersion"]
    assert version["VersionId"] == "v2" and version["IsDefaultVersion"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(document)
    assert code_of(iam.get_policy_version, PolicyArn=arn, VersionId="v1") == "NoSuchEntity"
    assert code_of(iam.create_policy_version, PolicyArn=arn, PolicyDocument=document) == "ValidationError"
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2"]
    assert [p["PolicyName"] for p in iam.list_policies(Scope="Local")["Policies"]] == ["look"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 2
    for put, get, names, delete, holder in (
            (iam.put_group_policy, iam.get_group_policy, iam.list_group_policies, iam.delete_group_policy, {"GroupName": "ops"}),
            (iam.put_user_policy, iam.get_user_policy, iam.list_user_policies, iam.delete_user_policy, {"UserName": "carol"})):
        put(PolicyName="own", PolicyDocument=document, **holder)
        assert get(PolicyName="own", **holder)["PolicyDocument"] == json.loads(document) and names(**holder)["PolicyNames"] == ["own"]
        delete(PolicyName="own", **holder)
        assert code_of(get, PolicyName="own", **holder) == "NoSuchEntity"
    assert code_of(iam.delete_policy, PolicyArn=arn) == code_of(iam.delete_group, GroupName="ops") == code_of(iam.delete_user, UserName="carol") == "DeleteConflict"
    iam.detach_group_policy(GroupName="ops", PolicyArn=arn)
    iam.detach_user_policy(UserName="carol", PolicyArn=arn)
    assert code_of(iam.detach_user_policy, UserName="carol", PolicyArn=arn) == "NoSuchEntity"
    iam.delete_policy(PolicyArn=arn)
    iam.remove_user_from_group(GroupName="ops", UserName="carol")
    iam.delete_group(GroupName="ops")
    iam.delete_user(UserName="carol")


@pytest.mark.parametrize("document", [
    "", "{}", "[]", policy(), policy({**allow("ssm:Describe*"), "Principal": "*"}), policy(allow("ssm:StartSesion")), policy(allow("s3:GetObject")),
    policy(allow("ssm:*", Condition={"StringEquls": {"aws:username": "a"}})), policy(allow("ssm:*", Condition={"StringEquals": {"aws:usrname": "a"}})),
    policy(allow("ssm:*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})), policy(allow("ssm:*", "arn:aws:ssm:*:*:x" + "y" * 7000)),
])
def test_policies_that_are_none(iam, document):
    iam.create_user(UserName="policyless")
    try:
        code = code_of(iam.put_user_policy, UserName="policyless", PolicyName="p", PolicyDocument=document) if document else "MalformedPolicyDocument"
        assert code == "MalformedPolicyDocument" and iam.list_user_policies(UserName="policyless")["PolicyNames"] == []
    finally:
        iam.delete_user(UserName="policyless")


def test_keys(sandbox, iam):
    user = User(sandbox, "keeper")
    sts = user.client("sts")
    identity = sts.get_caller_identity()
    assert identity["Arn"] == ACCOUNT + "user/keeper" and identity["UserId"] == iam.get_user(UserName="keeper")["User"]["UserId"]
    used = iam.get_access_key_last_used(AccessKeyId=user.key[0])
    assert used["UserName"] == "keeper" and used["AccessKeyLastUsed"]["ServiceName"] == "sts"
    assert used["AccessKeyLastUsed"]["Region"] == sandbox.env["AWS_DEFAULT_REGION"]
    second = user.new_key()
    assert {k["AccessKeyId"]: k["Status"] for k in iam.list_access_keys(UserName="keeper")["AccessKeyMetadata"]} == {user.key[0]: "Active", second[0]: "Active"}
    # Rotated: the new one works, the old one is off, on again, and gone. Each counts from the next call on.
    iam.update_access_key(UserName="keeper", AccessKeyId=user.key[0], Status="Inactive")
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId" and code_of(user.client().list_commands) == "UnrecognizedClientException"
    assert callers.client(sandbox, "sts", second).get_caller_identity()["Arn"] == identity["Arn"]
    iam.update_access_key(UserName="keeper", AccessKeyId=user.key[0], Status="Active")
    sts.get_caller_identity()
    iam.delete_access_key(UserName="keeper", AccessKeyId=user.key[0])
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    assert code_of(iam.delete_access_key, UserName="administrator", AccessKeyId=second[0]) == "NoSuchEntity"
    for _ in range(4):
        user.new_key()
    assert code_of(iam.create_access_key, UserName="keeper") == "LimitExceeded"
    # Keys and names are not enough to be told of others.
    user.key = second
    refused(user.client("iam").get_access_key_last_used, AccessKeyId=sandbox.env["AWS_ACCESS_KEY_ID"])
    user.delete()


def test_the_last_administrator_stays(sandbox, iam):
    admin = {"UserName": "administrator"}
    key = sandbox.env["AWS_ACCESS_KEY_ID"]
    full = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert code_of(iam.delete_access_key, AccessKeyId=key, **admin) == "DeleteConflict"
    assert code_of(iam.update_access_key, AccessKeyId=key, Status="Inactive", **admin) == "DeleteConflict"
    assert code_of(iam.detach_user_policy, PolicyArn=full, **admin) == "DeleteConflict"
    assert code_of(iam.put_user_policy, PolicyName="no", PolicyDocument=policy(deny("iam:*")), **admin) == "DeleteConflict"
    assert code_of(iam.create_policy_version, PolicyArn=full, PolicyDocument=policy(deny("*")), SetAsDefault=True) == "UnmodifiableEntity"
    assert code_of(iam.delete_policy, PolicyArn=full) == "UnmodifiableEntity"
    # With a second one the first may go, and come back.
    other = User(sandbox, "deputy")
    iam.attach_user_policy(UserName="deputy", PolicyArn=full)
    iam.detach_user_policy(PolicyArn=full, **admin)
    refused(iam.list_users)
    other.client("iam").attach_user_policy(PolicyArn=full, **admin)
    assert iam.list_users()["Users"]
    other.delete()


def test_roles_and_session_tokens(sandbox, iam):
    ops = ACCOUNT + "role/crew"
    user = User(sandbox, "member", own=policy(allow("ssm:ListCommands")))
    iam.create_group(GroupName="crew")
    iam.put_group_policy(GroupName="crew", PolicyName="crew", PolicyDocument=policy(allow(["ssm:Describe*", "ssm:ListDocuments"])))
    sts = user.client("sts")
    assert ops in refused(sts.assume_role, RoleArn=ops, RoleSessionName="today")
    iam.add_user_to_group(GroupName="crew", UserName="member")

    def assume(**more):
        answer = sts.assume_role(RoleArn=ops, RoleSessionName="today", **more)
        c = answer["Credentials"]
        return answer, (c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])

    answer, key = assume(DurationSeconds=900)
    left = answer["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(seconds=840) < left < datetime.timedelta(seconds=960)
    who = callers.client(sandbox, "sts", key).get_caller_identity()
    assert who["Arn"] == answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000001:assumed-role/crew/today"
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    ssm = callers.client(sandbox, "ssm", key)
    ssm.describe_instance_information()
    # The role's rights in place of the user's, and both without it.
    assert "assumed-role/crew/today is not authorized" in refused(ssm.list_commands)
    user.client().list_commands()
    user.client().describe_instance_information()
    # A session policy takes away and gives nothing.
    _, narrow = assume(Policy=policy(allow(["ssm:ListDocuments", "ssm:ListCommands"])))
    ssm = callers.client(sandbox, "ssm", narrow)
    ssm.list_documents()
    assert "no session policy allows" in refused(ssm.describe_instance_information)
    refused(ssm.list_commands)
    assert code_of(sts.assume_role, RoleArn=ops, RoleSessionName="today", Policy="{}") == "MalformedPolicyDocument"
    assert code_of(sts.assume_role, RoleArn=ops, RoleSessionName="today", DurationSeconds=43201) == "ValidationError"
    refused(callers.client(sandbox, "sts", key).assume_role, RoleArn=ops, RoleSessionName="again")

    token = sts.get_session_token(DurationSeconds=900)["Credentials"]
    mine = (token["AccessKeyId"], token["SecretAccessKey"], token["SessionToken"])
    assert callers.client(sandbox, "sts", mine).get_caller_identity()["Arn"] == ACCOUNT + "user/member"
    callers.client(sandbox, "ssm", mine).list_commands()
    refused(callers.client(sandbox, "sts", mine).get_session_token)

    # A token belongs to its key, and is needed.
    for wrong in (key[:2], key[:2] + (mine[2],), user.key + (mine[2],), key[:2] + ("A" * 64,), key[:2] + ("x" * 8000,)):
        assert code_of(callers.client(sandbox, "ssm", wrong).describe_instance_information) == "UnrecognizedClientException"
    assert code_of(callers.client(sandbox, "sts", key[:2]).get_caller_identity) == "InvalidClientTokenId"
    # Who leaves the group has no rights of it any more; without the user's key nothing of all is worth anything.
    iam.remove_user_from_group(GroupName="crew", UserName="member")
    refused(callers.client(sandbox, "ssm", key).describe_instance_information)
    iam.update_access_key(UserName="member", AccessKeyId=user.key[0], Status="Inactive")
    assert code_of(callers.client(sandbox, "ssm", mine).list_commands) == "UnrecognizedClientException"
    user.delete()
    iam.delete_group_policy(GroupName="crew", PolicyName="crew")
    iam.delete_group(GroupName="crew")


def test_the_local_administrator(sandbox, iam, tmp_path):
    def local(*arguments, **options):
        return callers.local(sandbox, *arguments, **options)

    document = tmp_path / "policy.json"
    document.write_text(policy(allow("ssm:Describe*")))
    local("group", "create", "night")
    local("user", "create", "henry", "--tag", "team=night", "--group", "night")
    said = local("key", "create", "henry").stdout
    key = tuple(line.split(" = ")[1] for line in said.splitlines() if not line.startswith("#"))
    ssm = callers.client(sandbox, "ssm", key)
    refused(ssm.describe_instance_information)
    local("policy", "put", "look", document)
    local("policy", "attach", "look", "--group", "night")
    # The controller that runs knows at once.
    ssm.describe_instance_information()
    assert "henry" in local("user").stdout and key[0] in local("user", "list").stdout and key[1] not in local("user").stdout
    assert "look  v1  group night" in local("policy").stdout and local("policy", "show", "look").stdout.strip() == document.read_text()
    assert "members   henry" in local("group").stdout
    document.write_text("{}")
    assert local("policy", "put", "look", document, check=False).returncode != 0
    assert "NOBODY" in local("key", "deactivate", "NOBODY-AT-ALL-0000", check=False).stderr.upper()
    local("key", "deactivate", key[0])
    assert code_of(ssm.describe_instance_information) == "UnrecognizedClientException"
    local("key", "activate", key[0])
    local("user", "tag", "henry", "SSMSessionRunAs=nobody")
    assert {t["Key"] for t in iam.list_user_tags(UserName="henry")["Tags"]} == {"team", "SSMSessionRunAs"}
    local("group", "remove", "night", "henry")
    refused(ssm.describe_instance_information)
    local("policy", "detach", "look", "--group", "night")
    local("policy", "delete", "look")
    local("user", "delete", "henry")
    local("group", "delete", "night")
    assert code_of(ssm.describe_instance_information) == "UnrecognizedClientException"


def test_the_command_line_of_aws(sandbox):
    def aws(*arguments, **options):
        return sandbox.aws(*arguments, service="iam", **options)

    assert json.loads(aws("create-user", "--user-name", "ivan").stdout)["User"]["UserName"] == "ivan"
    aws("delete-user", "--user-name", "ivan")
    assert "NoSuchEntity" in aws("delete-user", "--user-name", "ivan", check=False).stderr


def test_what_terraform_reads_around_users_and_documents(sandbox, iam):
    iam.create_user(UserName="ted")
    for call, member in ((iam.list_ssh_public_keys, "SSHPublicKeys"), (iam.list_mfa_devices, "MFADevices"),
                         (iam.list_signing_certificates, "Certificates"), (iam.list_service_specific_credentials, "ServiceSpecificCredentials")):
        assert call(UserName="ted")[member] == []
        assert code_of(call, UserName="nobody-at-all") in ("NoSuchEntity", "NoSuchEntityException")
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    for call in (iam.get_login_profile, iam.delete_login_profile):
        assert code_of(call, UserName="ted") in ("NoSuchEntity", "NoSuchEntityException")
    iam.delete_user(UserName="ted")
    ssm = sandbox.client()
    content = '{"schemaVersion":"1.0","description":"d","sessionType":"Standard_Stream","inputs":{}}'
    ssm.create_document(Name="Terraformed", DocumentType="Session", Content=content)
    answer = ssm.describe_document_permission(Name="Terraformed", PermissionType="Share")
    assert answer["AccountIds"] == [] and answer["AccountSharingInfoList"] == []
    assert code_of(ssm.describe_document_permission, Name="NotThere", PermissionType="Share") == "InvalidDocument"
    ssm.delete_document(Name="Terraformed")

"""Whole call sequences of the tools people use, replayed against the controller."""

import concurrent.futures
import datetime
import json
import re
import socket
import ssl
import threading
import time
import uuid
import xml.etree.ElementTree

import boto3
import botocore.config
import botocore.exceptions
import pytest

from conftest import eventually
from test_run_command import code_of

STS = "{https://sts.amazonaws.com/doc/2011-06-15/}"


def test_1_identity_first(sandbox):
    """Terraform's provider and many scripts: STS GetCallerIdentity before anything else; a key that is wrong ends there."""
    identity = sandbox.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000001" and identity["Arn"] == "arn:aws:iam::000000000001:user/administrator" and identity["UserId"]
    assert re.fullmatch(r"[0-9a-f-]{36}", identity["ResponseMetadata"]["RequestId"])

    def wrong(key=sandbox.env["AWS_ACCESS_KEY_ID"], secret=sandbox.env["AWS_SECRET_ACCESS_KEY"]):
        return boto3.client("sts", endpoint_url=sandbox.env["AWS_ENDPOINT_URL"], verify=sandbox.env["AWS_CA_BUNDLE"], region_name="us-east-1",
                            aws_access_key_id=key, aws_secret_access_key=secret).get_caller_identity
    assert code_of(wrong(key="AKIAUNKNOWN000000000")) == "InvalidClientTokenId"
    assert code_of(wrong(secret="wrong")) == "SignatureDoesNotMatch"
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        sandbox.client("sts").get_federation_token(Name="somebody")
    assert failure.value.response["Error"]["Code"] == "InvalidAction" and failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_1_identity_with_the_environment_alone(sandbox):
    """`aws sts get-caller-identity` with AWS_ENDPOINT_URL, as the sandbox's env exports it."""
    import os
    import pathlib
    import shutil
    import subprocess
    aws = pathlib.Path(os.environ.get("VIRTUAL_ENV", pathlib.Path(__file__).parents[2] / ".venv")) / "bin" / "aws"
    result = subprocess.run([str(aws) if aws.exists() else shutil.which("aws"), "sts", "get-caller-identity"],
                            env=sandbox.clean_env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["Arn"].endswith(":user/administrator")


def test_2_terraform_activation(ssm):
    """aws_ssm_activation: create, read (by id), read again on the next plan, delete, read nothing."""
    made = ssm.create_activation(Description="tf", IamRole="arn-less-role", RegistrationLimit=5, DefaultInstanceName="web",
                                 ExpirationDate=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3),
                                 Tags=[{"Key": "Name", "Value": "web"}])
    filters = [{"FilterKey": "ActivationIds", "FilterValues": [made["ActivationId"]]}]
    for _ in range(2):
        read, = ssm.describe_activations(Filters=filters)["ActivationList"]
        assert (read["Description"], read["IamRole"], read["RegistrationLimit"], read["RegistrationsCount"], read["Expired"]) == ("tf", "arn-less-role", 5, 0, False)
        assert read["Tags"] == [{"Key": "Name", "Value": "web"}] and read["ExpirationDate"].tzinfo
    ssm.delete_activation(ActivationId=made["ActivationId"])
    assert ssm.describe_activations(Filters=filters)["ActivationList"] == []
    assert code_of(ssm.delete_activation, ActivationId=made["ActivationId"]) == "InvalidActivation"


def test_3_ci_deploy(ssm, nodes):
    """A CI deploy action: SendCommand, loop over GetCommandInvocation tolerating InvocationDoesNotExist, read the output."""
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[nodes[0]], Comment="deploy 42",
                               Parameters={"commands": ["set -e", "echo deploying", "sleep 0.3", "echo done >&2"], "executionTimeout": ["60"]})["Command"]["CommandId"]
    deadline, seen = time.monotonic() + 30, []
    while time.monotonic() < deadline:
        try:
            got = ssm.get_command_invocation(CommandId=command, InstanceId=nodes[0])
        except ssm.exceptions.InvocationDoesNotExist:
            continue
        seen.append(got["Status"])
        if got["Status"] not in ("Pending", "InProgress", "Delayed"):
            break
        time.sleep(0.05)
    assert seen[-1] == "Success" and set(seen) <= {"Pending", "InProgress", "Success"} and seen == sorted(seen, key=["Pending", "InProgress", "Success"].index)
    assert got["StandardOutputContent"] == "deploying\n" and got["StandardErrorContent"] == "done\n" and got["ResponseCode"] == 0


def test_3_ci_deploy_that_fails(ssm, nodes):
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[nodes[0]], Parameters={"commands": ["echo no; exit 7"]})["Command"]["CommandId"]
    with pytest.raises(botocore.exceptions.WaiterError):
        ssm.get_waiter("command_executed").wait(CommandId=command, InstanceId=nodes[0], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    got = ssm.get_command_invocation(CommandId=command, InstanceId=nodes[0])
    assert (got["Status"], got["ResponseCode"]) == ("Failed", 7)


def test_4_readiness_loop(ssm, nodes):
    """Infrastructure pipelines: ask for the instance until PingStatus is Online, then GetConnectionStatus, then go on."""
    def ready():
        found = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [nodes[2]]}, {"Key": "PingStatus", "Values": ["Online"]}])
        return found["InstanceInformationList"]
    node, = eventually(ready, what="the node")
    assert node["PingStatus"] == "Online" and ssm.get_connection_status(Target=nodes[2])["Status"] == "connected"
    # An instance that does not exist yet is an empty list, not an error.
    absent = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": ["mi-0123456789abcdef0"]}])
    assert absent["InstanceInformationList"] == []


def test_5_host_lists(sandbox, ssm, nodes):
    """aws-ssm-tools: GetInventory first, which is refused by name so that the tool can say so, then the node list and its tags."""
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        list(ssm.get_paginator("get_inventory").paginate())
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException" and "GetInventory" in failure.value.response["Error"]["Message"]
    hosts = {}
    for page in ssm.get_paginator("describe_instance_information").paginate():
        for node in page["InstanceInformationList"]:
            tags = ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node["InstanceId"])["TagList"]
            hosts[node["InstanceId"]] = (node["ComputerName"], {t["Key"]: t["Value"] for t in tags}["role"])
    assert set(hosts) == set(nodes) and {role for _, role in hosts.values()} == {"web", "db"}


def test_6_tags_as_terraform_keeps_them(ssm, nodes):
    """Every read lists the tags; an update removes the keys that went, then adds those that came or changed."""
    resource = dict(ResourceType="ManagedInstance", ResourceId=nodes[3])

    def read():
        return {t["Key"]: t["Value"] for t in ssm.list_tags_for_resource(**resource)["TagList"]}
    before = read()
    ssm.add_tags_to_resource(**resource, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    assert read() == {**before, "a": "1", "b": ""}
    ssm.remove_tags_from_resource(**resource, TagKeys=["a"])
    ssm.add_tags_to_resource(**resource, Tags=[{"Key": "b", "Value": "2"}])
    assert read() == {**before, "b": "2"}
    ssm.remove_tags_from_resource(**resource, TagKeys=["b", "never-there"])
    assert read() == before
    # A data source reads a built-in document and its tags.
    assert ssm.describe_document(Name="AWS-RunShellScript")["Document"]["Status"] == "Active"
    assert ssm.get_document(Name="AWS-RunShellScript", DocumentVersion="$LATEST")["Content"]
    assert ssm.list_tags_for_resource(ResourceType="Document", ResourceId="AWS-RunShellScript")["TagList"] == []


def test_7_fleet_command_and_pages(sandbox, ssm, nodes):
    """Wrappers around Run Command: send by tag, poll ListCommands, collect every page of the invocations."""
    command = ssm.send_command(DocumentName="AWS-RunShellScript", Targets=[{"Key": "tag-key", "Values": ["role"]}], MaxConcurrency="2", MaxErrors="100%",
                               Parameters={"commands": ["echo $((6 * 7))"]})["Command"]["CommandId"]
    ended = sandbox.finished(command)
    assert (ended["Status"], ended["TargetCount"], ended["CompletedCount"]) == ("Success", 5, 5)
    pages, token, tokens = [], {}, []
    while True:
        page = ssm.list_command_invocations(CommandId=command, Details=True, MaxResults=2, **token)
        pages.append(page["CommandInvocations"])
        if not page.get("NextToken"):
            break
        assert page["NextToken"] not in tokens
        tokens.append(page["NextToken"])
        token = {"NextToken": page["NextToken"]}
    found = [i for page in pages for i in page]
    assert [len(p) for p in pages] == [2, 2, 1] and {i["InstanceId"] for i in found} == set(nodes)
    assert all(i["CommandPlugins"][0]["Output"] == "42\n" for i in found)
    # A token belongs to its call.
    assert code_of(ssm.list_commands, NextToken=tokens[0]) == "InvalidNextToken"
    by_status = [c["CommandId"] for page in ssm.get_paginator("list_commands").paginate(
        Filters=[{"key": "Status", "value": "Success"}], PaginationConfig={"PageSize": 1, "MaxItems": 3}) for c in page["Commands"]]
    assert len(by_status) == len(set(by_status)) <= 3


def test_8_waiters_side_by_side(sandbox, ssm, nodes):
    """A script with a waiter for each node, in threads, as deployment tools do; success everywhere."""
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes, Parameters={"commands": ["sleep 0.2; echo ok"]})["Command"]["CommandId"]

    def wait(node):
        client = sandbox.client()
        client.get_waiter("command_executed").wait(CommandId=command, InstanceId=node, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        return client.get_command_invocation(CommandId=command, InstanceId=node)["StandardOutputContent"]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert list(pool.map(wait, nodes)) == ["ok\n"] * 5


class CuttingProxy:
    """Passes TCP through, and cuts the connection of the first answers before they arrive: the call was done, its answer is lost."""

    def __init__(self, endpoint, cuts):
        host, port = endpoint.removeprefix("https://").rsplit(":", 1)
        self.upstream, self.cuts, self.lost = (host, int(port)), cuts, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(self.upstream, timeout=20)
        answered = threading.Event()
        asked = []

        def up():
            try:
                while data := client.recv(65536):
                    if answered.is_set():
                        asked.append(len(data))
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        threading.Thread(target=up, daemon=True).start()
        try:
            while data := server.recv(65536):
                answered.set()
                # What goes up after the server's first flight is the end of the handshake, some eighty bytes, and the call; what comes down
                # after the call is a ticket, a few hundred bytes, and the answer.
                if self.cuts > 0 and sum(asked) > 500 and len(data) > 600:
                    self.cuts -= 1
                    self.lost += 1
                    return
                client.sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def close(self):
        self.listener.close()


def test_9_retries_start_nothing_twice(sandbox, ssm, nodes):
    """SDKs repeat a call whose answer was lost, with the same amz-sdk-invocation-id: one command, one activation."""
    proxy = CuttingProxy(sandbox.env["AWS_ENDPOINT_URL"], cuts=1)
    try:
        client = boto3.client("ssm", endpoint_url=f"https://127.0.0.1:{proxy.port}", verify=sandbox.env["AWS_CA_BUNDLE"], region_name="us-east-1",
                              aws_access_key_id=sandbox.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=sandbox.env["AWS_SECRET_ACCESS_KEY"],
                              config=botocore.config.Config(retries={"total_max_attempts": 4, "mode": "standard"}, read_timeout=20))
        comment = f"retry {uuid.uuid4()}"
        sent = client.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[nodes[0]], Comment=comment, Parameters={"commands": ["echo once"]})
        assert proxy.lost == 1 and sent["ResponseMetadata"]["RetryAttempts"] >= 1
        assert sandbox.finished(sent["Command"]["CommandId"])["Status"] == "Success"
        commands = [c for page in ssm.get_paginator("list_commands").paginate(InstanceId=nodes[0]) for c in page["Commands"] if c["Comment"] == comment]
        assert [c["CommandId"] for c in commands] == [sent["Command"]["CommandId"]]
    finally:
        proxy.close()


def test_10_cancel_and_look_again(sandbox, ssm, nodes):
    """A job runner that is stopped: CancelCommand, poll until Cancelled, cancel again without harm."""
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:2], Parameters={"commands": ["sleep 600"]})["Command"]["CommandId"]
    eventually(lambda: all(i["Status"] == "InProgress" for i in sandbox.invocations(command, details=False).values()), what="the start")
    ssm.cancel_command(CommandId=command)
    assert sandbox.finished(command, timeout=15)["Status"] == "Cancelled"
    ssm.cancel_command(CommandId=command)
    for node in nodes[:2]:
        assert ssm.get_command_invocation(CommandId=command, InstanceId=node)["Status"] == "Cancelled"
    assert code_of(ssm.cancel_command, CommandId=str(uuid.uuid4())) == "InvalidCommandId"


def test_terraform_service_setting(ssm):
    """aws_ssm_service_setting: update, read until it is not pending, reset on destroy."""
    for setting, value in (("/ssm/managed-instance/activation-tier", "advanced"), ("/ssm/documents/console/public-sharing-permission", "Disable")):
        arn = ssm.get_service_setting(SettingId=setting)["ServiceSetting"]["ARN"]
        assert arn == f"arn:aws:ssm:us-east-1:000000000001:servicesetting{setting}"
        ssm.update_service_setting(SettingId=arn, SettingValue=value)
        read = ssm.get_service_setting(SettingId=arn)["ServiceSetting"]
        assert (read["SettingId"], read["SettingValue"], read["Status"]) == (setting, value, "Customized")
        assert read["LastModifiedUser"].endswith("user/administrator") and read["LastModifiedDate"]
        reset = ssm.reset_service_setting(SettingId=arn)["ServiceSetting"]
        assert (reset["SettingValue"], reset["Status"]) == (value, "Default")


def test_terraform_identities(sandbox):
    """aws_iam_user, _group, _policy, _access_key, their attachments: what the provider calls to create, read, change and destroy them."""
    iam = sandbox.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:Describe*", "Resource": "*"}]})
    iam.create_user(UserName="tf", Path="/", Tags=[{"Key": "team", "Value": "db"}])
    assert iam.get_user(UserName="tf")["User"]["Tags"] == [{"Key": "team", "Value": "db"}]
    group = iam.create_group(GroupName="tf-group", Path="/")["Group"]
    assert iam.get_group(GroupName="tf-group")["Group"]["Arn"] == group["Arn"]
    iam.add_user_to_group(UserName="tf", GroupName="tf-group")
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName="tf")["Groups"]] == ["tf-group"]
    arn = iam.create_policy(PolicyName="tf-policy", Path="/", PolicyDocument=document)["Policy"]["Arn"]
    read = iam.get_policy(PolicyArn=arn)["Policy"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId=read["DefaultVersionId"])["PolicyVersion"]["Document"] == json.loads(document)
    iam.attach_group_policy(GroupName="tf-group", PolicyArn=arn)
    assert [p["PolicyArn"] for p in iam.list_attached_group_policies(GroupName="tf-group")["AttachedPolicies"]] == [arn]
    key = iam.create_access_key(UserName="tf")["AccessKey"]
    assert [k["Status"] for k in iam.list_access_keys(UserName="tf")["AccessKeyMetadata"]] == ["Active"]

    changed = document.replace("Describe", "List")
    assert [v["IsDefaultVersion"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [True]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=changed, SetAsDefault=True)
    read = iam.get_policy(PolicyArn=arn)["Policy"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId=read["DefaultVersionId"])["PolicyVersion"]["Document"] == json.loads(changed)

    iam.delete_access_key(UserName="tf", AccessKeyId=key["AccessKeyId"])
    iam.detach_group_policy(GroupName="tf-group", PolicyArn=arn)
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        assert version["IsDefaultVersion"]  # the others it would delete first
    iam.delete_policy(PolicyArn=arn)
    iam.remove_user_from_group(UserName="tf", GroupName="tf-group")
    iam.delete_group(GroupName="tf-group")
    iam.delete_user(UserName="tf")
    for read, name in ((iam.get_user, {"UserName": "tf"}), (iam.get_group, {"GroupName": "tf-group"}), (iam.get_policy, {"PolicyArn": arn})):
        assert code_of(read, **name) == "NoSuchEntity"


def form(sandbox, body, *, key=None, secret=None, service="sts", headers=()):
    """A signed form, and the answer as it is: status, content type, XML."""
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    import urllib.request
    request = botocore.awsrequest.AWSRequest("POST", sandbox.env["AWS_ENDPOINT_URL"] + "/", data=body,
                                             headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", **dict(headers)})
    if key != "none":
        credentials = botocore.credentials.Credentials(key or sandbox.env["AWS_ACCESS_KEY_ID"], secret or sandbox.env["AWS_SECRET_ACCESS_KEY"])
        botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    prepared = request.prepare()
    context = ssl.create_default_context(cafile=sandbox.env["AWS_CA_BUNDLE"])
    raw = urllib.request.Request(prepared.url, data=body.encode(), headers=dict(prepared.headers), method="POST")
    try:
        with urllib.request.urlopen(raw, context=context, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], xml.etree.ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as failure:
        return failure.code, failure.headers["Content-Type"], xml.etree.ElementTree.fromstring(failure.read())


@pytest.mark.parametrize("body,arguments,expected", [
    ("Action=GetCallerIdentity&Version=2011-06-15", dict(key="none"), (403, "MissingAuthenticationToken")),
    ("Action=GetCallerIdentity&Version=2011-06-15", dict(key="NOBODY"), (403, "InvalidClientTokenId")),
    ("Action=GetCallerIdentity&Version=2011-06-15", dict(secret="x"), (403, "SignatureDoesNotMatch")),
    ("Action=GetCallerIdentity&Version=2011-06-15", dict(service="ssm"), (403, "SignatureDoesNotMatch")),
    ("Action=GetCallerIdentity&Version=2012-01-01", {}, (400, "InvalidAction")),
    ("Action=AssumeRoleWithSAML&Version=2011-06-15", {}, (400, "InvalidAction")),
    # An operation of SSM does not become one of STS.
    ("Action=SendCommand&Version=2011-06-15", {}, (400, "InvalidAction")),
    ("Action=", {}, (400, "InvalidAction")),
    ("Action=%zz", {}, (400, "MalformedQueryString")),
    ("Action=GetCallerIdentity&Action=GetCallerIdentity&Version=2011-06-15", {}, (400, "MalformedQueryString")),
    ("Action=GetCallerIdentity&" + "&".join(f"a{i}=b" for i in range(200)), {}, (400, "MalformedQueryString")),
])
def test_sts_errors(sandbox, body, arguments, expected):
    status, content_type, answer = form(sandbox, body, **arguments)
    assert (status, content_type) == (expected[0], "text/xml")
    assert answer.tag == STS + "ErrorResponse" and answer.findtext(f"{STS}Error/{STS}Code") == expected[1]
    assert answer.findtext(f"{STS}Error/{STS}Type") == "Sender" and re.fullmatch(r"[0-9a-f-]{36}", answer.findtext(f"{STS}RequestId"))


def test_sts_is_no_operation_of_ssm(sandbox):
    status, content_type, answer = form(sandbox, "Action=GetCallerIdentity&Version=2011-06-15")
    assert (status, content_type) == (200, "text/xml") and answer.findtext(f"{STS}GetCallerIdentityResult/{STS}Account") == "000000000001"
    ssm = sandbox.client()
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        # The same name with SSM's target, signed for SSM.
        ssm.meta.events.register("before-sign.ssm.ListCommands", lambda request, **_: request.headers.replace_header("X-Amz-Target", "AmazonSSM.GetCallerIdentity"))
        ssm.list_commands()
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"

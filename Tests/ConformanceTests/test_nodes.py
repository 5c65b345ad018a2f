"""Managed nodes, activations, tags, documents and the transport's errors as boto3 and the AWS CLI see them."""

import datetime
import json
import re

import botocore.exceptions
import botocore.session
import pytest

from test_run_command import code_of


def test_describe_instance_information(ssm, nodes):
    listed = ssm.describe_instance_information()["InstanceInformationList"]
    assert {n["InstanceId"] for n in listed} == set(nodes)
    for node in listed:
        assert re.fullmatch(r"mi-[0-9a-f]{17}", node["InstanceId"])
        assert node["PingStatus"] == "Online" and node["PlatformType"] == "Linux" and node["ResourceType"] == "ManagedInstance"
        assert re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){2,3}", node["AgentVersion"])
        assert node["ComputerName"] and node["IPAddress"] and node["PlatformName"] and node["ActivationId"]
        assert isinstance(node["LastPingDateTime"], datetime.datetime) and node["RegistrationDate"] <= node["LastPingDateTime"]


@pytest.mark.parametrize("filters,indices", [
    ([{"Key": "tag:role", "Values": ["db"]}], [1, 3]),
    ([{"Key": "tag-key", "Values": ["role"]}], [0, 1, 2, 3, 4]),
    ([{"Key": "PingStatus", "Values": ["ConnectionLost"]}], []),
    ([{"Key": "PlatformTypes", "Values": ["Linux"]}, {"Key": "PingStatus", "Values": ["Online"]}], [0, 1, 2, 3, 4]),
])
def test_filters(ssm, nodes, filters, indices):
    found = ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    assert {n["InstanceId"] for n in found} == {nodes[i] for i in indices}


def test_filter_by_id_both_styles(ssm, nodes):
    new = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": nodes[:2]}])
    old = ssm.describe_instance_information(InstanceInformationFilterList=[{"key": "InstanceIds", "valueSet": nodes[:2]}])
    for answer in (new, old):
        assert {n["InstanceId"] for n in answer["InstanceInformationList"]} == set(nodes[:2])
    assert code_of(ssm.describe_instance_information, Filters=[{"Key": "Colour", "Values": ["red"]}]) == "InvalidFilterKey"
    assert code_of(ssm.describe_instance_information, MaxResults=51) == "ValidationException"


def test_connection_status(ssm, nodes):
    assert ssm.get_connection_status(Target=nodes[0])["Status"] == "connected"
    assert ssm.get_connection_status(Target="mi-0123456789abcdef0")["Status"] == "notconnected"


def test_tags(ssm, nodes):
    arguments = dict(ResourceType="ManagedInstance", ResourceId=nodes[4])

    def tags():
        return {t["Key"]: t["Value"] for t in ssm.list_tags_for_resource(**arguments)["TagList"]}

    before = tags()
    ssm.add_tags_to_resource(**arguments, Tags=[{"Key": "env", "Value": "staging"}, {"Key": "role", "Value": "cache"}])
    assert tags() == {**before, "env": "staging", "role": "cache"}
    assert [n["InstanceId"] for n in ssm.describe_instance_information(Filters=[{"Key": "tag:env", "Values": ["staging"]}])["InstanceInformationList"]] == [nodes[4]]
    ssm.remove_tags_from_resource(**arguments, TagKeys=["env", "absent"])
    ssm.add_tags_to_resource(**arguments, Tags=[{"Key": "role", "Value": before["role"]}])
    assert tags() == before
    assert code_of(ssm.add_tags_to_resource, ResourceType="ManagedInstance", ResourceId="mi-0123456789abcdef0", Tags=[{"Key": "a", "Value": "b"}]) == "InvalidResourceId"
    assert code_of(ssm.add_tags_to_resource, ResourceType="Nonsense", ResourceId=nodes[4], Tags=[{"Key": "a", "Value": "b"}]) == "ValidationException"
    assert code_of(ssm.add_tags_to_resource, **arguments, Tags=[{"Key": f"k{i}", "Value": ""} for i in range(60)]) == "TooManyTagsError"
    assert tags() == before


def test_tags_of_what_cannot_change(ssm):
    for name in ("AWS-RunShellScript",):
        assert ssm.list_tags_for_resource(ResourceType="Document", ResourceId=name)["TagList"] == []
        for call, change in ((ssm.add_tags_to_resource, dict(Tags=[{"Key": "a", "Value": "b"}])), (ssm.remove_tags_from_resource, dict(TagKeys=["a"]))):
            with pytest.raises(botocore.exceptions.ClientError) as failure:
                call(ResourceType="Document", ResourceId=name, **change)
            assert failure.value.response["Error"]["Code"] == "ValidationException" and name in failure.value.response["Error"]["Message"]
    assert code_of(ssm.list_tags_for_resource, ResourceType="Document", ResourceId="No-Such-Document") == "InvalidResourceId"
    assert code_of(ssm.list_tags_for_resource, ResourceType="Parameter", ResourceId="/a") == "InvalidResourceId"


def properties(ssm, *filters, **arguments):
    arguments = {**({"FiltersWithOperator": list(filters)} if filters else {}), **arguments}
    return [p for page in ssm.get_paginator("describe_instance_properties").paginate(**arguments) for p in page["InstanceProperties"]]


def test_describe_instance_properties(ssm, nodes):
    found = properties(ssm)
    assert [p["InstanceId"] for p in found] == sorted(nodes)
    for node in found:
        assert node["PingStatus"] == "Online" and node["PlatformType"] == "Linux" and node["ResourceType"] == "ManagedInstance"
        assert node["ComputerName"] and node["IPAddress"] and node["ActivationId"] and node["IamRole"] == "sandbox"
        assert node["SourceType"] == "AWS::SSM::ManagedInstance" and node["RegistrationDate"] <= node["LastPingDateTime"]
    old = ssm.describe_instance_properties(InstancePropertyFilterList=[{"key": "InstanceIds", "valueSet": nodes[:2]}, {"key": "PingStatus", "valueSet": ["Online"]}])
    assert {p["InstanceId"] for p in old["InstanceProperties"]} == set(nodes[:2])


@pytest.mark.parametrize("key,values,operator,indices", [
    ("PingStatus", ["Online"], "Equal", [0, 1, 2, 3, 4]),
    ("PingStatus", ["Online"], "NotEqual", []),
    ("Name", ["agent-1", "agent-2"], None, [1, 2]),
    ("Name", ["agent-1", "agent-2"], "NotEqual", [0, 3, 4]),
    ("InstanceIds", ["mi-"], "BeginWith", [0, 1, 2, 3, 4]),
    ("AgentVersion", ["0.0.1"], "GreaterThan", [0, 1, 2, 3, 4]),
    ("AgentVersion", ["0.0.1"], "LessThan", []),
    ("AgentVersion", ["1000"], "LessThan", [0, 1, 2, 3, 4]),
    ("PlatformTypes", ["Windows", "MacOS"], "Equal", []),
    ("tag:role", ["db"], "Equal", [1, 3]),
    ("tag:role", ["db"], "NotEqual", [0, 2, 4]),
    ("tag-key", ["ro"], "BeginWith", [0, 1, 2, 3, 4]),
    ("AssociationStatus", ["Success"], "Equal", []),
    ("DocumentName", ["AWS-RunShellScript"], "Equal", []),
])
def test_property_operators(ssm, nodes, key, values, operator, indices):
    found = properties(ssm, {"Key": key, "Values": values, **({"Operator": operator} if operator else {})})
    assert {p["InstanceId"] for p in found} == {nodes[i] for i in indices}


@pytest.mark.parametrize("arguments,code", [
    ({"FiltersWithOperator": [{"Key": "Colour", "Values": ["red"]}]}, "InvalidFilterKey"),
    ({"FiltersWithOperator": [{"Key": "PingStatus", "Values": ["online"]}]}, "InvalidInstancePropertyFilterValue"),
    ({"FiltersWithOperator": [{"Key": "PingStatus", "Values": ["Online"], "Operator": "LessThan"}]}, "InvalidInstancePropertyFilterValue"),
    ({"FiltersWithOperator": [{"Key": "InstanceIds", "Values": ["../etc"]}]}, "InvalidInstanceId"),
    ({"FiltersWithOperator": [{"Key": "ActivationIds", "Values": ["x"]}]}, "InvalidActivationId"),
    ({"FiltersWithOperator": [{"Key": "DocumentName", "Values": ["No-Such"]}]}, "InvalidDocument"),
    ({"FiltersWithOperator": [{"Key": "Name", "Values": ["x"], "Operator": "Like"}]}, "ValidationException"),
    ({"InstancePropertyFilterList": [{"key": "Name", "valueSet": ["x"]}]}, "ValidationException"),
    ({"InstancePropertyFilterList": [{"key": "IamRole", "valueSet": ["x"]}], "FiltersWithOperator": [{"Key": "IamRole", "Values": ["x"]}]}, "ValidationException"),
    ({"MaxResults": 1001}, "ValidationException"),
    ({"NextToken": "bm9uc2Vuc2U"}, "InvalidNextToken"),
])
def test_property_errors(ssm, arguments, code):
    assert code_of(ssm.describe_instance_properties, **arguments) == code


def test_update_managed_instance_role(ssm, nodes):
    def role():
        return ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": nodes[:1]}])["InstanceInformationList"][0]["IamRole"]
    before = role()
    ssm.update_managed_instance_role(InstanceId=nodes[0], IamRole="auditors")
    assert role() == "auditors"
    assert [p["InstanceId"] for p in properties(ssm, {"Key": "IamRole", "Values": ["auditors"]})] == nodes[:1]
    ssm.update_managed_instance_role(InstanceId=nodes[0], IamRole=before)
    assert role() == before
    assert code_of(ssm.update_managed_instance_role, InstanceId="mi-0123456789abcdef0", IamRole="r") == "InvalidInstanceId"
    assert code_of(ssm.update_managed_instance_role, InstanceId=nodes[0], IamRole="r" * 65) == "ValidationException"


@pytest.mark.parametrize("setting,value,code", [
    ("/ssm/managed-instance/activation-tier", "standard", "ValidationException"),
    ("/ssm/managed-instance/activation-tier", "golden", "ValidationException"),
    ("/ssm/documents/console/public-sharing-permission", "Enable", "ValidationException"),
    ("/ssm/managed-instance/default-ec2-instance-management-role", "role", "ValidationException"),
    ("/ssm/parameter-store/default-parameter-tier", "Standard", "ValidationException"),
    ("/ssm/no/such/setting", "x", "ServiceSettingNotFound"),
    ("arn:aws:ssm:us-east-1:999999999999:servicesetting/ssm/managed-instance/activation-tier", "advanced", "ServiceSettingNotFound"),
    ("arn:aws:ssm:us-east-1:000000000001:document/ssm/managed-instance/activation-tier", "advanced", "ServiceSettingNotFound"),
])
def test_service_settings_that_are_refused(ssm, setting, value, code):
    assert code_of(ssm.update_service_setting, SettingId=setting, SettingValue=value) == code
    if value not in ("standard", "golden", "Enable"):
        assert code_of(ssm.get_service_setting, SettingId=setting) == code
        assert code_of(ssm.reset_service_setting, SettingId=setting) == code
    else:
        assert ssm.get_service_setting(SettingId=setting)["ServiceSetting"]["Status"] == "Default"


def test_activations(ssm):
    made = ssm.create_activation(IamRole="service-role", Description="for the test", DefaultInstanceName="spare", RegistrationLimit=7,
                                 Tags=[{"Key": "env", "Value": "lab"}])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["ActivationId"]) and len(made["ActivationCode"]) >= 20
    found, = ssm.describe_activations(Filters=[{"FilterKey": "ActivationIds", "FilterValues": [made["ActivationId"]]}])["ActivationList"]
    assert (found["RegistrationLimit"], found["RegistrationsCount"], found["Expired"], found["IamRole"]) == (7, 0, False, "service-role")
    assert found["DefaultInstanceName"] == "spare" and found["Tags"] == [{"Key": "env", "Value": "lab"}]
    assert "ActivationCode" not in found
    assert abs((found["ExpirationDate"] - found["CreatedDate"]).total_seconds() - 86400) < 2
    ssm.delete_activation(ActivationId=made["ActivationId"])
    assert code_of(ssm.delete_activation, ActivationId=made["ActivationId"]) == "InvalidActivation"
    assert ssm.describe_activations(Filters=[{"FilterKey": "ActivationIds", "FilterValues": [made["ActivationId"]]}])["ActivationList"] == []
    late = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=31)
    assert code_of(ssm.create_activation, IamRole="r", ExpirationDate=late) in ("ValidationException", "InvalidParameters")
    for i in range(3):
        ssm.create_activation(IamRole="paging", DefaultInstanceName=f"n{i}")
    pages = [p["ActivationList"] for p in ssm.get_paginator("describe_activations").paginate(
        Filters=[{"FilterKey": "IamRole", "FilterValues": ["paging"]}], PaginationConfig={"PageSize": 2})]
    names = [a["DefaultInstanceName"] for page in pages for a in page]
    assert sorted(names) == ["n0", "n1", "n2"]


def test_documents(ssm):
    got = ssm.get_document(Name="AWS-RunShellScript")
    content = json.loads(got["Content"])
    assert content["schemaVersion"] == "2.2" and set(content["parameters"]) == {"commands", "workingDirectory", "executionTimeout"}
    assert (got["DocumentVersion"], got["Status"], got["DocumentType"], got["DocumentFormat"]) == ("1", "Active", "Command", "JSON")
    described = ssm.describe_document(Name="AWS-RunShellScript")["Document"]
    assert described["Owner"] == "Amazon" and described["DefaultVersion"] == "1" and len(described["Hash"]) == 64
    assert {p["Name"]: p["Type"] for p in described["Parameters"]} == {"commands": "StringList", "workingDirectory": "String", "executionTimeout": "String"}
    assert "AWS-RunShellScript" in [d["Name"] for d in ssm.list_documents()["DocumentIdentifiers"]]
    assert ssm.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"] == []
    assert code_of(ssm.get_document, Name="No-Such-Document") == "InvalidDocument"
    assert code_of(ssm.describe_document, Name="AWS-RunShellScript", DocumentVersion="9") == "InvalidDocumentVersion"
    assert code_of(ssm.list_documents, Filters=[{"Key": "Nonsense", "Values": ["x"]}]) == "InvalidFilterKey"


def test_signature_errors(sandbox):
    import boto3
    def client(key, secret, token=None):
        return boto3.client("ssm", endpoint_url=sandbox.env["AWS_ENDPOINT_URL"], verify=sandbox.env["AWS_CA_BUNDLE"], region_name="us-east-1",
                            aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)
    key, secret = sandbox.env["AWS_ACCESS_KEY_ID"], sandbox.env["AWS_SECRET_ACCESS_KEY"]
    assert code_of(client(key, "wrong").list_documents) == "InvalidSignatureException"
    assert code_of(client("AKIAUNKNOWN000000000", secret).list_documents) == "UnrecognizedClientException"
    assert code_of(client(key, secret, "token").list_documents) == "UnrecognizedClientException"


def raw(sandbox, *arguments):
    import subprocess
    out = subprocess.run(["curl", "-sS", "-m", "10", "--cacert", sandbox.env["AWS_CA_BUNDLE"], "-w", "\n%{http_code}", *arguments,
                          sandbox.env["AWS_ENDPOINT_URL"] + "/"], capture_output=True, text=True, check=True).stdout
    body, status = out.rsplit("\n", 1)
    return int(status), json.loads(body) if body else {}


def test_raw_requests(sandbox):
    target = ["-H", "X-Amz-Target: AmazonSSM.ListDocuments", "-H", "Content-Type: application/x-amz-json-1.1"]
    status, body = raw(sandbox, *target, "-d", "{}")
    assert (status, body["__type"]) == (400, "MissingAuthenticationTokenException")
    status, body = raw(sandbox, *target, "-H", "Authorization: AWS4-HMAC-SHA256 Credential=x", "-d", "{}")
    assert (status, body["__type"]) == (400, "IncompleteSignatureException")
    status, body = raw(sandbox, "-H", "Content-Type: application/x-amz-json-1.1", "-d", "{}")
    assert (status, body["__type"]) in [(400, "UnknownOperationException"), (400, "MissingAuthenticationTokenException")]
    status, _ = raw(sandbox, *target, "-H", "Upgrade: websocket", "-H", "Connection: Upgrade", "-d", "{}")
    assert status == 400


def test_every_unserved_operation_is_refused(sandbox):
    """Walks the whole SSM model: an operation is either served or refused by name, never accepted and ignored."""
    ssm = sandbox.client(parameter_validation=False)
    served = set()
    for operation in botocore.session.get_session().get_service_model("ssm").operation_names:
        try:
            ssm._make_api_call(operation, {})
            served.add(operation)
        except botocore.exceptions.ClientError as failure:
            code, message = failure.response["Error"]["Code"], failure.response["Error"]["Message"]
            if code == "UnknownOperationException":
                assert operation in message
            else:
                assert code in ("ValidationException", "InvalidParameters", "InvalidInstanceId"), (operation, code)
                served.add(operation)
    assert served == {
        "SendCommand", "ListCommands", "ListCommandInvocations", "GetCommandInvocation", "CancelCommand", "CreateActivation",
        "DescribeActivations", "DeleteActivation", "DeregisterManagedInstance", "DescribeInstanceInformation", "GetConnectionStatus",
        "StartAccessRequest", "GetAccessToken",
        "AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource", "DescribeInstanceProperties", "UpdateManagedInstanceRole",
        "GetServiceSetting", "UpdateServiceSetting", "ResetServiceSetting", "GetDocument", "DescribeDocument", "ListDocuments",
        "ListDocumentVersions", "CreateDocument", "UpdateDocument", "UpdateDocumentDefaultVersion", "DeleteDocument",
        "DescribeDocumentPermission",
        "StartSession", "ResumeSession", "TerminateSession", "DescribeSessions"}


def test_aws_cli(sandbox, nodes):
    listed = json.loads(sandbox.aws("describe-instance-information").stdout)
    assert len(listed["InstanceInformationList"]) == len(nodes)
    command = json.loads(sandbox.aws("send-command", "--document-name", "AWS-RunShellScript", "--targets", "Key=tag:role,Values=db",
                                     "--parameters", 'commands=["echo from the cli"]').stdout)["Command"]["CommandId"]
    for node in (nodes[1], nodes[3]):
        sandbox.aws("wait", "command-executed", "--command-id", command, "--instance-id", node)
    assert sandbox.aws("get-command-invocation", "--command-id", command, "--instance-id", nodes[1],
                       "--query", "StandardOutputContent", "--output", "text").stdout.strip() == "from the cli"
    found = json.loads(sandbox.aws("list-command-invocations", "--command-id", command, "--details").stdout)
    assert len(found["CommandInvocations"]) == 2
    paged = json.loads(sandbox.aws("describe-instance-information", "--page-size", "5", "--max-items", "2").stdout)
    assert len(paged["InstanceInformationList"]) == 2 and paged["NextToken"]
    failed = sandbox.aws("get-document", "--name", "No-Such-Document", check=False)
    assert failed.returncode != 0 and "InvalidDocument" in failed.stderr

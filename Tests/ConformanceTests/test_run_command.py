"""Run Command as boto3 sees it."""

import re
import time
import uuid

import botocore.exceptions
import pytest

from conftest import eventually


def code_of(call, *arguments, **keywords):
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        call(*arguments, **keywords)
    return failure.value.response["Error"]["Code"]


def test_send_by_ids(sandbox, ssm, nodes):
    answer = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:2], Comment="by ids",
                              Parameters={"commands": ["echo out; echo err >&2"]})["Command"]
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["CommandId"])
    assert (answer["Status"], answer["StatusDetails"]) == ("Pending", "Pending")
    assert answer["TargetCount"] == 2 and answer["CompletedCount"] == 0 and answer["ErrorCount"] == 0
    assert answer["InstanceIds"] == nodes[:2] and answer["Targets"] == []
    assert answer["MaxConcurrency"] == "50" and answer["MaxErrors"] == "0"
    assert (answer["ExpiresAfter"] - answer["RequestedDateTime"]).total_seconds() == 7200
    for member in ("OutputS3BucketName", "OutputS3KeyPrefix", "ServiceRole"):
        assert answer[member] == ""
    command = sandbox.finished(answer["CommandId"])
    assert (command["Status"], command["CompletedCount"], command["ErrorCount"]) == ("Success", 2, 0)
    for node in nodes[:2]:
        ssm.get_waiter("command_executed").wait(CommandId=command["CommandId"], InstanceId=node)
        got = ssm.get_command_invocation(CommandId=command["CommandId"], InstanceId=node)
        assert (got["Status"], got["StatusDetails"], got["ResponseCode"]) == ("Success", "Success", 0)
        assert got["StandardOutputContent"] == "out\n" and got["StandardErrorContent"] == "err\n"
        assert got["PluginName"] == "runShellScript" and got["Comment"] == "by ids"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", got["ExecutionStartDateTime"])
        assert re.fullmatch(r"PT[0-9.]+S", got["ExecutionElapsedTime"])


def test_details(sandbox, nodes):
    command, found = sandbox.run("echo out; echo err >&2; exit 3", nodes[:1])
    assert (command["Status"], command["StatusDetails"], command["ErrorCount"]) == ("Failed", "Failed", 1)
    invocation = found[nodes[0]]
    assert (invocation["Status"], invocation["StatusDetails"]) == ("Failed", "Failed")
    plugin, = invocation["CommandPlugins"]
    assert plugin["Name"] == "runShellScript" and plugin["ResponseCode"] == 3
    assert plugin["Output"] == "out\n\n----------ERROR-------\nerr\nfailed to run commands: exit status 3"
    assert plugin["ResponseStartDateTime"] <= plugin["ResponseFinishDateTime"]
    assert sandbox.invocations(command["CommandId"], details=False)[nodes[0]]["CommandPlugins"] == []


def test_send_by_tag(sandbox, nodes):
    command, found = sandbox.run("echo hi", Targets=[{"Key": "tag:role", "Values": ["web"]}])
    assert set(found) == set(nodes[0::2]) and command["TargetCount"] == 3 and command["InstanceIds"] == []
    _, found = sandbox.run("echo hi", Targets=[{"Key": "tag:role", "Values": ["web", "db"]}, {"Key": "tag:index", "Values": ["1", "2"]}])
    assert set(found) == set(nodes[1:3])
    _, found = sandbox.run("echo hi", Targets=[{"Key": "tag-key", "Values": ["role"]}])
    assert set(found) == set(nodes)
    _, found = sandbox.run("echo hi", Targets=[{"Key": "InstanceIds", "Values": nodes[:1]}])
    assert set(found) == set(nodes[:1])


def test_every_registered_node(sandbox, ssm, nodes):
    """Ours: InstanceIds with the one value `*`; together with anything else it is no id."""
    _, found = sandbox.run("echo hi", Targets=[{"Key": "InstanceIds", "Values": ["*"]}])
    assert set(found) == set(nodes)
    _, found = sandbox.run("echo hi", Targets=[{"Key": "InstanceIds", "Values": ["*"]}, {"Key": "tag:role", "Values": ["db"]}])
    assert set(found) == set(nodes[1::2])
    assert code_of(ssm.send_command, DocumentName="AWS-RunShellScript", Parameters={"commands": ["echo"]},
                   Targets=[{"Key": "InstanceIds", "Values": ["*", nodes[0]]}]) == "InvalidInstanceId"


def test_tag_without_match(sandbox):
    command, found = sandbox.run("echo hi", Targets=[{"Key": "tag:role", "Values": ["nobody"]}])
    assert (command["Status"], command["StatusDetails"], command["TargetCount"]) == ("Failed", "NoInstancesInTag", 0)
    assert found == {}


def test_errors(ssm, nodes):
    send = ssm.send_command
    echo = {"commands": ["echo"]}
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=["mi-0123456789abcdef0"], Parameters=echo) == "InvalidInstanceId"
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=[nodes[0], nodes[0]], Parameters=echo) == "DuplicateInstanceId"
    assert code_of(send, DocumentName="No-Such-Document", InstanceIds=nodes[:1], Parameters=echo) == "InvalidDocument"
    assert code_of(send, DocumentName="AWS-RunShellScript", DocumentVersion="7", InstanceIds=nodes[:1], Parameters=echo) == "InvalidDocumentVersion"
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1]) == "InvalidParameters"
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters={**echo, "colour": ["red"]}) == "InvalidParameters"
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters={**echo, "executionTimeout": ["soon"]}) == "InvalidParameters"
    assert code_of(send, DocumentName="AWS-RunShellScript", Parameters=echo) in ("ValidationException", "InvalidInstanceId")
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters=echo, MaxConcurrency="0") == "ValidationException"
    assert code_of(send, DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters=echo, TimeoutSeconds=2592001) == "ValidationException"
    unknown = str(uuid.uuid4())
    assert code_of(ssm.list_command_invocations, CommandId=unknown) == "InvalidCommandId"
    assert code_of(ssm.list_commands, CommandId=unknown) == "InvalidCommandId"
    assert code_of(ssm.cancel_command, CommandId=unknown) == "InvalidCommandId"
    assert code_of(ssm.get_command_invocation, CommandId=unknown, InstanceId=nodes[0]) == "InvocationDoesNotExist"
    assert code_of(ssm.list_commands, MaxResults=9999) == "ValidationException"


def test_unserved_members_are_refused_by_name(ssm, nodes):
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters={"commands": ["echo"]},
                         NotificationConfig={"NotificationArn": "arn:aws:sns:x", "NotificationEvents": ["All"]})
    assert failure.value.response["Error"]["Code"] == "ValidationException"
    assert "NotificationConfig" in failure.value.response["Error"]["Message"]


def test_unserved_operations_are_refused_by_name(ssm):
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        ssm.create_maintenance_window(Name="weekly", Schedule="rate(7 days)", Duration=2, Cutoff=1, AllowUnassociatedTargets=True)
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"
    assert "CreateMaintenanceWindow" in failure.value.response["Error"]["Message"]


def test_cancel(sandbox, ssm, nodes):
    command = sandbox.send("sleep 600", nodes[:2])
    eventually(lambda: all(i["Status"] == "InProgress" for i in sandbox.invocations(command).values()), what="both in progress")
    begun = time.monotonic()
    assert ssm.cancel_command(CommandId=command)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert sandbox.finished(command, timeout=10)["Status"] == "Cancelled"
    assert time.monotonic() - begun < 5
    for invocation in sandbox.invocations(command).values():
        assert (invocation["Status"], invocation["StatusDetails"]) == ("Cancelled", "Cancelled")


def test_execution_timeout(sandbox, nodes):
    ssm = sandbox.client()
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1],
                               Parameters={"commands": ["echo begun; sleep 600"], "executionTimeout": ["5"]})["Command"]["CommandId"]
    assert sandbox.finished(command, timeout=20)["Status"] == "TimedOut"
    invocation = sandbox.invocations(command)[nodes[0]]
    assert (invocation["Status"], invocation["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert invocation["CommandPlugins"][0]["ResponseCode"] == 137
    assert invocation["CommandPlugins"][0]["Output"].startswith("begun\n")


def test_lists_and_pages(sandbox, ssm, nodes):
    commands = [sandbox.run(f"echo {i}", nodes[:1])[0]["CommandId"] for i in range(3)]
    listed = [c["CommandId"] for page in ssm.get_paginator("list_commands").paginate(InstanceId=nodes[0], PaginationConfig={"PageSize": 1})
              for c in page["Commands"]]
    assert listed[:3] == commands[::-1] and len(listed) == len(set(listed))
    everywhere = [i["InstanceId"] for page in
                  ssm.get_paginator("list_command_invocations").paginate(CommandId=sandbox.run("true", nodes)[0]["CommandId"],
                                                                        PaginationConfig={"PageSize": 2})
                  for i in page["CommandInvocations"]]
    assert sorted(everywhere) == sorted(nodes)
    done = ssm.list_commands(Filters=[{"key": "ExecutionStage", "value": "Complete"}, {"key": "DocumentName", "value": "AWS-RunShellScript"}])
    assert set(commands) <= {c["CommandId"] for c in done["Commands"]}
    assert code_of(ssm.list_commands, NextToken="nonsense") == "InvalidNextToken"
    assert code_of(ssm.get_command_invocation, CommandId=commands[0], InstanceId=nodes[0], PluginName="nothing") == "InvalidPluginName"


def test_parameters_are_data(sandbox, nodes):
    """Nothing a caller puts into a parameter other than `commands` is seen by a shell, and braces are not expanded twice."""
    ssm = sandbox.client()
    hostile = "/tmp/$(touch /tmp/muster-injected)`id`;{{ commands }}"
    command = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1],
                               Parameters={"commands": ["echo '{{ workingDirectory }}'"], "workingDirectory": [hostile]})["Command"]["CommandId"]
    assert sandbox.finished(command)["Status"] == "Failed"
    found = ssm.get_command_invocation(CommandId=command, InstanceId=nodes[0])
    assert found["StandardOutputContent"] == ""


def test_sdk_retry_does_not_start_a_second_command(sandbox, nodes):
    """botocore repeats a call with the same amz-sdk-invocation-id; the repeat is answered with the first answer."""
    ssm = sandbox.client()
    invocation = str(uuid.uuid4())

    def same_id(request, **_):
        request.headers["amz-sdk-invocation-id"] = invocation

    ssm.meta.events.register("before-send.ssm.SendCommand", same_id)
    arguments = dict(DocumentName="AWS-RunShellScript", InstanceIds=nodes[:1], Parameters={"commands": ["echo once"]})
    first, second = ssm.send_command(**arguments), ssm.send_command(**arguments)
    assert first["Command"]["CommandId"] == second["Command"]["CommandId"]
    other = ssm.send_command(**{**arguments, "Comment": "another body"})
    assert other["Command"]["CommandId"] != first["Command"]["CommandId"]

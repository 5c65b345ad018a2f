"""StartSession, ResumeSession, TerminateSession and DescribeSessions as boto3 sees them."""

import datetime
import json
import re

import botocore.exceptions
import pytest

from conftest import eventually
from test_run_command import code_of


@pytest.fixture(scope="module")
def node(nodes):
    return nodes[2]


def ended(ssm, session):
    found = ssm.describe_sessions(State="History", Filters=[{"key": "SessionId", "value": session}])["Sessions"]
    return found[0] if found else None


def test_start_and_terminate(sandbox, ssm, node):
    started = ssm.start_session(Target=node, Reason="a look")
    session = started["SessionId"]
    assert re.fullmatch(r"administrator-[0-9a-f]{17}", session)
    assert started["StreamUrl"] == sandbox.env["AWS_ENDPOINT_URL"].replace("https", "wss") + f"/v1/data-channel/{session}?role=publish_subscribe"
    assert 32 <= len(started["TokenValue"]) <= 300
    found, = ssm.describe_sessions(State="Active", Filters=[{"key": "SessionId", "value": session}])["Sessions"]
    assert (found["Target"], found["Status"], found["DocumentName"]) == (node, "Connecting", "SSM-SessionManagerRunShell")
    assert found["Owner"] == sandbox.client("sts").get_caller_identity()["Arn"] and found["Reason"] == "a look"
    assert isinstance(found["StartDate"], datetime.datetime) and "EndDate" not in found and found["AccessType"] == "Standard"
    assert ssm.terminate_session(SessionId=session)["SessionId"] == session
    over = eventually(lambda: ended(ssm, session), what="the end of the session")
    assert over["Status"] == "Terminated" and over["EndDate"] >= over["StartDate"] and "terminated by administrator" in over["Details"]
    # As often as one likes, and also what never was.
    for name in (session, session, "jane-00000000000000000", "never heard of"):
        assert ssm.terminate_session(SessionId=name)["SessionId"] == name


@pytest.mark.parametrize("arguments,code", [
    ({"Target": "mi-0123456789abcdef0"}, "TargetNotConnected"),
    ({"Target": "ecs:cluster_task_container"}, "TargetNotConnected"),
    ({"DocumentName": "No-SuchDocument"}, "InvalidDocument"),
    ({"DocumentName": "AWS-RunShellScript"}, "InvalidDocument"),
    ({"DocumentName": "no spaces"}, "ValidationException"),
    ({"Reason": "two\nlines"}, "ValidationException"),
    ({"Parameters": {"colour": ["red"]}}, "InvalidParameters"),
    ({"DocumentName": "AWS-StartPortForwardingSession", "Parameters": {"portNumber": ["70000"]}}, "InvalidParameters"),
    ({"DocumentName": "AWS-StartInteractiveCommand"}, "InvalidParameters"),
])
def test_start_errors(ssm, node, arguments, code):
    before = len(ssm.describe_sessions(State="Active")["Sessions"])
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        ssm.start_session(**{"Target": node, **arguments})
    assert failure.value.response["Error"]["Code"] == code
    if code == "TargetNotConnected":
        assert failure.value.response["Error"]["Message"] == f"{arguments['Target']} is not connected."
    assert len(ssm.describe_sessions(State="Active")["Sessions"]) == before


def test_a_repeat_is_answered_with_the_same_session(sandbox, node):
    ssm = sandbox.client()
    invocation = f"retry-{node}"

    def same(request, **_):
        request.context["retries"]["invocation-id"] = invocation

    ssm.meta.events.register_first("request-created.ssm", same)
    first, second = ssm.start_session(Target=node), ssm.start_session(Target=node)
    assert first["SessionId"] == second["SessionId"]
    # Only digests are stored: the repeat brings a token of its own.
    assert first["TokenValue"] != second["TokenValue"]
    ssm.terminate_session(SessionId=first["SessionId"])


def test_resume(ssm, node):
    started = ssm.start_session(Target=node)
    resumed = ssm.resume_session(SessionId=started["SessionId"])
    assert (resumed["SessionId"], resumed["StreamUrl"]) == (started["SessionId"], started["StreamUrl"])
    assert resumed["TokenValue"] and resumed["TokenValue"] != started["TokenValue"]
    ssm.terminate_session(SessionId=started["SessionId"])
    eventually(lambda: ended(ssm, started["SessionId"]), what="the end of the session")
    assert code_of(ssm.resume_session, SessionId=started["SessionId"]) == "DoesNotExistException"
    assert code_of(ssm.resume_session, SessionId="jane-00000000000000000") == "DoesNotExistException"


def test_describe(sandbox, ssm, nodes):
    begin = datetime.datetime.now(datetime.timezone.utc)
    target, other = nodes[3], nodes[4]
    started = [ssm.start_session(Target=target)["SessionId"] for _ in range(5)] + [ssm.start_session(Target=other)["SessionId"]]
    mine = [{"key": "Target", "value": target}]
    listed = [s["SessionId"] for s in ssm.describe_sessions(State="Active", Filters=mine)["Sessions"]]
    assert set(listed) == set(started[:5])
    # Pages of two, newest first, the same whole.
    pages = list(ssm.get_paginator("describe_sessions").paginate(State="Active", Filters=mine, PaginationConfig={"PageSize": 2}))
    assert [len(p["Sessions"]) for p in pages] == [2, 2, 1]
    assert [s["SessionId"] for p in pages for s in p["Sessions"]] == listed
    stamp = begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    future = (begin + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    owner = sandbox.client("sts").get_caller_identity()["Arn"]

    def count(*filters, state="Active"):
        filters = mine + [{"key": k, "value": v} for k, v in filters]
        return len(ssm.describe_sessions(State=state, Filters=filters)["Sessions"])

    assert count(("InvokedAfter", stamp)) == 5 and count(("InvokedBefore", stamp)) == 0 and count(("InvokedAfter", future)) == 0
    assert count(("Owner", owner), ("Status", "Connecting"), ("AccessType", "Standard")) == 5
    assert count(("Owner", owner + "x")) == 0 and count(("Status", "Connected")) == 0 and count(("AccessType", "JustInTime")) == 0
    for session in started:
        ssm.terminate_session(SessionId=session)
    eventually(lambda: count() == 0, what="the end of the sessions")
    assert count(("InvokedAfter", stamp), state="History") == 5 and count(("Status", "Failed"), state="History") == 0


def test_describe_errors(ssm):
    def code(**arguments):
        return code_of(ssm.describe_sessions, **arguments)

    assert code(State="Sometime") == "ValidationException"
    assert code(State="Active", Filters=[{"key": "Colour", "value": "red"}]) == "InvalidFilterKey"
    assert code(State="Active", Filters=[{"key": "Status", "value": "Resting"}]) == "ValidationException"
    assert code(State="Active", Filters=[{"key": "InvokedAfter", "value": "yesterday"}]) == "ValidationException"
    assert code(State="Active", Filters=[{"key": "Target", "value": "a"}, {"key": "Target", "value": "b"}]) == "ValidationException"
    assert code(State="Active", NextToken="forged") == "InvalidNextToken"
    assert code(State="Active", MaxResults=201) == "ValidationException"


@pytest.fixture
def preferences(ssm):
    """Sets the preferences of all sessions; the built-in ones are back afterwards."""
    made = []

    def put(**inputs):
        content = json.dumps({"schemaVersion": "1.0", "description": "preferences", "sessionType": "Standard_Stream", "inputs": inputs})
        made.append(ssm.create_document(Name="SSM-SessionManagerRunShell", DocumentType="Session", Content=content))

    yield put
    if made:
        ssm.delete_document(Name="SSM-SessionManagerRunShell")


def test_run_as_needs_a_name(ssm, node, preferences):
    preferences(runAsEnabled=True, idleSessionTimeout="5", maxSessionDuration="60")
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        ssm.start_session(Target=node)
    assert failure.value.response["Error"]["Code"] == "ValidationException" and "SSMSessionRunAs" in failure.value.response["Error"]["Message"]
    resource = dict(ResourceType="ManagedInstance", ResourceId=node)
    ssm.add_tags_to_resource(**resource, Tags=[{"Key": "SSMSessionRunAs", "Value": "nobody"}])
    try:
        session = ssm.start_session(Target=node)["SessionId"]
    finally:
        ssm.remove_tags_from_resource(**resource, TagKeys=["SSMSessionRunAs"])
    found, = ssm.describe_sessions(State="Active", Filters=[{"key": "SessionId", "value": session}])["Sessions"]
    assert found["MaxSessionDuration"] == "60"
    ssm.terminate_session(SessionId=session)

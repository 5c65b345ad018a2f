"""Twenty agents: the overlap of their scripts never exceeds MaxConcurrency, and MaxErrors stops where the rule says."""

import pytest

from conftest import eventually

LOG = 'exec 9>>{log}; flock 9; echo "start $(date +%s%N)" >&9; flock -u 9; sleep {pause}; flock 9; echo "end $(date +%s%N)" >&9; {end}'


@pytest.fixture(scope="module")
def twenty(make_sandbox):
    return make_sandbox(20)


@pytest.fixture(scope="module")
def twenty_nodes(twenty):
    return twenty.nodes()


def overlap(log):
    running = most = 0
    for line in log.read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    assert running == 0
    return most


@pytest.mark.parametrize("limit,most", [("1", 1), ("3", 3), ("25%", 5), ("4%", 1)])
def test_overlap(twenty, twenty_nodes, tmp_path, limit, most):
    log = tmp_path / "log"
    command, found = twenty.run(LOG.format(log=log, pause=0.1, end="true"), twenty_nodes, timeout=90, MaxConcurrency=limit)
    assert command["Status"] == "Success" and command["CompletedCount"] == 20
    assert sum(line.startswith("start") for line in log.read_text().splitlines()) == 20
    assert overlap(log) <= most


@pytest.mark.parametrize("errors,expected", [("0", 1), ("2", 3), ("10%", 3), ("4%", 1)])
def test_max_errors_one_at_a_time(twenty, twenty_nodes, tmp_path, errors, expected):
    log = tmp_path / "log"
    command, found = twenty.run(LOG.format(log=log, pause=0, end="exit 1"), twenty_nodes, MaxConcurrency="1", MaxErrors=errors)
    assert (command["Status"], command["StatusDetails"]) == ("Failed", "Failed")
    assert sum(line.startswith("start") for line in log.read_text().splitlines()) == expected
    details = sorted(i["StatusDetails"] for i in found.values())
    assert details == ["Failed"] * expected + ["Terminated"] * (20 - expected)
    assert {i["Status"] for i in found.values() if i["StatusDetails"] == "Terminated"} == ({"Cancelled"} if expected < 20 else set())
    assert (command["TargetCount"], command["CompletedCount"], command["ErrorCount"]) == (20, 20, expected)


def test_errors_below_the_threshold_do_not_stop(twenty, twenty_nodes):
    command, found = twenty.run(f'case $AWS_SSM_INSTANCE_ID in {twenty_nodes[3]}) exit 1;; esac', twenty_nodes, MaxErrors="1")
    assert command["CompletedCount"] == 20 and command["ErrorCount"] == 1
    assert command["Status"] == "Failed" and command["StatusDetails"] == "Incomplete"


def test_a_stopped_agent_first_in_the_list_holds_nobody_up(twenty, twenty_nodes):
    twenty.control("stop", "agent-0")
    ssm = twenty.client()
    eventually(lambda: ssm.get_connection_status(Target=twenty_nodes[0])["Status"] == "notconnected", what="agent-0 being seen as away")
    try:
        command = twenty.send("echo here", twenty_nodes, MaxConcurrency="1")
        eventually(lambda: sum(i["Status"] == "Success" for i in twenty.invocations(command).values()) == 19, what="nineteen results")
        assert twenty.invocations(command)[twenty_nodes[0]]["Status"] in ("Pending", "Delayed")
    finally:
        twenty.control("start", "agent-0")
    assert twenty.finished(command)["Status"] == "Success"

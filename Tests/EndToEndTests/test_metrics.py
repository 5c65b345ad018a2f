"""What the controller tells a Prometheus about its dispatching."""

import re
import ssl
import urllib.request

from conftest import eventually


def metrics(sandbox):
    context = ssl.create_default_context(cafile=sandbox.env["AWS_CA_BUNDLE"])
    with urllib.request.urlopen(sandbox.env["AWS_ENDPOINT_URL"] + "/metrics", context=context, timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^([^# ]\S*) (\S+)$", text, re.M)}


def test_dispatch(make_sandbox):
    sandbox = make_sandbox(3)
    nodes = sandbox.nodes()
    sandbox.run("true", nodes)
    sandbox.run("exit 1", nodes[:1])

    def counted():
        found = metrics(sandbox)
        return found if found.get("muster_commands_open") == 0 else None

    found = eventually(counted, what="that no command is open")
    assert found['muster_invocations_total{status="Success"}'] == 3
    assert found['muster_invocations_total{status="Failed"}'] == 1
    assert found["muster_invocations_in_flight"] == 0
    for delay in ("accept_to_send", "send_to_answer"):
        assert found[f"muster_dispatch_{delay}_seconds_count"] == 4
        assert 0 <= found[f"muster_dispatch_{delay}_seconds_sum"] < 10

    command = sandbox.send("sleep 600", nodes[1:])
    eventually(lambda: metrics(sandbox)["muster_invocations_in_flight"] == 2, what="two in flight")
    assert metrics(sandbox)["muster_commands_open"] == 1
    sandbox.client().cancel_command(CommandId=command)
    eventually(lambda: metrics(sandbox).get('muster_invocations_total{status="Cancelled"}') == 2, what="the cancelled ones")


def test_agents_of_this_release_have_the_latest_version(sandbox, ssm):
    found = ssm.describe_instance_information()["InstanceInformationList"]
    assert found and all(node["IsLatestVersion"] is True for node in found)

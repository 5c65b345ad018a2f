"""Three days without the controller: certificates have expired, start-by times are over, results wait."""

import datetime
import json
import os
import re
import subprocess
import time

import pytest

from clock import Clock
from conftest import BIN, Sandbox, eventually
from proxy import Proxy

DAYS = 3


def certificate_end(box, clock, name):
    text = subprocess.run([str(BIN / "muster-agent"), "status", "--state-dir", str(box.directory / name)], env={**os.environ, **clock.environment},
                          capture_output=True, text=True, check=True, timeout=30).stdout
    return datetime.datetime.fromisoformat(re.search(r"until +(\S+)", text)[1].replace("Z", "+00:00"))


def shown(box, command):
    """The command's status and its invocations by node, asked for under the box's clock."""
    status = json.loads(box.aws("list-commands", "--command-id", command, "--output", "json").stdout)["Commands"][0]["Status"]
    found = json.loads(box.aws("list-command-invocations", "--command-id", command, "--details", "--output", "json").stdout)["CommandInvocations"]
    return status, {i["InstanceId"]: i for i in found}


def ended(box, command, timeout):
    def look():
        status, found = shown(box, command)
        return (status, found) if status not in ("Pending", "InProgress", "Cancelling") else None
    return eventually(look, timeout, every=0.2, what=f"the end of command {command}")


@pytest.mark.parametrize("transport, late", [
    ("websocket", False), ("poll", False),
    # The controller waits a minute more before it gives up.
    pytest.param("websocket", True, marks=pytest.mark.soak), pytest.param("poll", True, marks=pytest.mark.soak),
])
def test_three_days_away(tmp_path_factory, tmp_path, transport, late):
    """`late`: the node is back after the controller has given up."""
    clock = Clock(tmp_path)
    with Proxy() as proxy:
        box = Sandbox(tmp_path_factory.mktemp("days") / "s", 2, transport=transport,
                      agent={"MUSTER_AGENT_PROXY": proxy.url, "MUSTER_AGENT_KEEP_ALIVE_SECONDS": "1", **clock.environment}, controller=clock.environment)
        try:
            away(box, clock, proxy, tmp_path, late)
        finally:
            box.down()


def away(box, clock, proxy, tmp_path, late):
    nodes, agents = box.nodes(), ["agent-0", "agent-1"]
    files = {name: tmp_path / name for name in ("running", "patient", "over", "open")}
    gate = tmp_path / "gate"

    def script(name, body):
        return f'echo "$AWS_SSM_INSTANCE_ID" >> {files[name]}; {body}; echo {name}'

    def starts(name):
        return sorted(files[name].read_text().splitlines()) if files[name].exists() else []

    wait = f"until [ -e {gate} ]; do sleep 0.05; done"
    month = 2_592_000
    running = box.send(script("running", wait), nodes, TimeoutSeconds=60)
    patient = box.send(script("patient", wait), nodes, TimeoutSeconds=month)
    for name in ("running", "patient"):
        eventually(lambda: starts(name) == sorted(nodes), what=f"the starts of {name}")
    proxy.blackhole()
    over = box.send(script("over", "true"), nodes, TimeoutSeconds=30)
    still_open = box.send(script("open", "true"), nodes, TimeoutSeconds=month)
    gate.touch()
    for command in (running, patient):
        for name in agents:
            folder = box.directory / name / "jobs" / command / "step.runShellScript"
            eventually((folder / "result.json").exists, what="the result on the node")
    certificates = [certificate_end(box, clock, name) for name in agents]

    # Three days later. What listened all that time has renewed its own certificate, as one that starts does.
    box.kill("controller")
    clock.advance(DAYS)
    # It waits for the agents as well, which cannot come yet.
    starting = subprocess.Popen([str(BIN / "muster"), "sandbox", "start", "controller", "--dir", str(box.directory)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **clock.environment})
    try:
        eventually((box.directory / "controller" / "listening").exists, what="the controller")
        box.env.update(clock.environment)
        if late:
            status, given_up = ended(box, running, 150)
            assert status == "TimedOut" and {i["StatusDetails"] for i in given_up.values()} == {"DeliveryTimedOut"}, (status, given_up)
            assert all("The outcome is unknown" in json.dumps(i) for i in given_up.values()), given_up
        proxy.restore()
        restored = time.monotonic()
        for command, output in ((patient, "patient\n"), (still_open, "open\n")):
            status, found = ended(box, command, 60)
            assert (status, {i["CommandPlugins"][0]["Output"] for i in found.values()}) == ("Success", {output})
        back = time.monotonic() - restored
        assert back < 60
    finally:
        starting.wait(120)
    print(f"\nback after {back:.1f} s")

    status, found = ended(box, running, 60)
    if late:
        # What was said stays said.
        assert {node: i["StatusDetails"] for node, i in found.items()} == {node: i["StatusDetails"] for node, i in given_up.items()}
    else:
        assert (status, {i["CommandPlugins"][0]["Output"] for i in found.values()}) == ("Success", {"running\n"})
    status, found = ended(box, over, 60)
    assert {i["StatusDetails"] for i in found.values()} == {"DeliveryTimedOut"}, found

    # Nothing was started twice, and what was over not at all.
    for name in ("running", "patient", "open"):
        assert starts(name) == sorted(nodes), name
    assert starts("over") == []
    # The agents' certificates had expired; they were renewed with a signed nonce.
    new = [certificate_end(box, clock, name) for name in agents]
    assert all(b - a > datetime.timedelta(days=DAYS - 1) for a, b in zip(certificates, new))

"""Networks between agents and controller that are worse than a loopback interface: proxies, boxes that cut, links that die."""

import json
import os
import shutil
import subprocess
import time

import pytest

from conftest import BIN, alive, eventually, muster
from proxy import Proxy
from real_proxies import PROXIES


def log(box, name="agent-0"):
    return (box.directory / "logs" / f"{name}.log").read_text()


def connected(box, node):
    return box.client().get_connection_status(Target=node)["Status"] == "connected"


def started_once(path, node):
    assert path.read_text().splitlines() == [f"start {node}"]


def start(path, body):
    return f'echo "start $AWS_SSM_INSTANCE_ID" >> {path}; {body}'


# Polling

@pytest.fixture(scope="module")
def polling(make_sandbox):
    return make_sandbox(3, transport="poll")


def test_polling_nodes_are_connected_and_run(polling):
    nodes = polling.nodes()
    assert all(connected(polling, node) for node in nodes)
    assert {i["PingStatus"] for i in polling.client().describe_instance_information()["InstanceInformationList"]} == {"Online"}
    command, found = polling.run("echo $AWS_SSM_INSTANCE_ID; echo e >&2; exit 3", nodes, MaxErrors="100%")
    assert {i["CommandPlugins"][0]["ResponseCode"] for i in found.values()} == {3}
    assert all(i["CommandPlugins"][0]["Output"].startswith(node) for node, i in found.items())
    assert "by=poll" in log(polling)


def test_a_cancel_reaches_a_held_poll_at_once(polling, tmp_path):
    node = polling.nodes()[0]
    command = polling.send(start(tmp_path / "log", "sleep 600"), [node])
    eventually((tmp_path / "log").exists, what="the start")
    time.sleep(1)  # the poll is held again
    began = time.monotonic()
    polling.client().cancel_command(CommandId=command)
    polling.finished(command)
    assert time.monotonic() - began < 1.5
    assert polling.invocations(command)[node]["Status"] == "Cancelled"


def test_a_polling_agent_that_stops_is_away_at_once(polling):
    node = polling.nodes()[1]
    polling.control("stop", "agent-1")
    eventually(lambda: not connected(polling, node), timeout=5, what="agent-1 being away")
    polling.control("start", "agent-1")
    assert connected(polling, node)


def test_a_polling_agent_that_dies_is_away_soon(polling):
    """No goodbye: the connection under the held poll closes, and nobody polls again."""
    node = polling.nodes()[1]
    polling.kill("agent-1")
    began = time.monotonic()
    eventually(lambda: not connected(polling, node), timeout=20, what="agent-1 being away")
    assert time.monotonic() - began < 10
    polling.control("start", "agent-1")
    assert connected(polling, node)


def test_held_polls_are_no_slow_requests(polling):
    url, ca = polling.env["AWS_ENDPOINT_URL"], polling.env["AWS_CA_BUNDLE"]
    text = subprocess.run(["curl", "-sf", "--cacert", ca, url + "/metrics"], capture_output=True, text=True, timeout=30).stdout

    def sums(name):
        return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith(name + "_")}

    requests, held = sums("muster_request_duration_seconds"), sums("muster_held_request_duration_seconds")
    assert held["muster_held_request_duration_seconds_sum"] > requests["muster_request_duration_seconds_sum"]
    assert requests["muster_request_duration_seconds_sum"] / requests["muster_request_duration_seconds_count"] < 1


def test_output_is_followed_while_a_step_runs(polling, tmp_path):
    """What a control channel says with `agent_output`, a poll is answered with."""
    node, go = polling.nodes()[0], tmp_path / "go"
    os.mkfifo(go)
    process = subprocess.Popen([str(BIN / "muster"), "run", "--node", node, "--follow", "--", f"echo before; read line < {go}; echo $line; echo bad >&2"],
                               env={**os.environ, **polling.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout.readline().endswith(" | before\n")
        go.write_text("after\n")
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out.splitlines()[0].endswith(" | after") and any(line.endswith(" | bad") for line in err.splitlines())
    finally:
        process.kill()


def test_polling_over_a_controller_that_is_killed(polling, tmp_path):
    nodes, path = polling.nodes(), tmp_path / "log"
    command = polling.send(start(path, "sleep 1; echo done"), nodes)
    eventually(lambda: path.exists() and len(path.read_text().splitlines()) == 3, what="three starts")
    polling.kill("controller")
    replies = [polling.directory / f"agent-{index}" / "jobs" / command / "reply.json" for index in range(3)]
    eventually(lambda: all(reply.exists() for reply in replies), what="results that nobody takes")
    polling.control("start", "controller")
    assert polling.finished(command)["Status"] == "Success"
    assert len(path.read_text().splitlines()) == 3


def test_rate_control_over_polling(polling, tmp_path):
    path = tmp_path / "log"
    command, found = polling.run(f"echo x >> {path}; exit 1", polling.nodes(), MaxConcurrency="1", MaxErrors="0")
    assert command["Status"] == "Failed" and path.read_text() == "x\n"
    assert sorted(i["StatusDetails"] for i in found.values()) == ["Failed", "Terminated", "Terminated"]


def test_a_copy_of_a_polling_identity_quarantines_both(make_sandbox, tmp_path):
    box = make_sandbox(1, transport="poll")
    node, = box.nodes()
    box.control("stop", "agent-0")
    shutil.copytree(box.directory / "agent-0", tmp_path / "copy")
    box.control("start", "agent-0")
    with open(tmp_path / "copy.log", "wb") as words:
        copy = subprocess.Popen(
            [str(BIN / "muster-agent"), "run", "--state-dir", str(tmp_path / "copy")], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            env={**os.environ, "MUSTER_AGENT_TRANSPORT": "poll"})
    try:
        eventually(lambda: not connected(box, node), what="both being shut out")
    finally:
        copy.kill()
        copy.wait()


# Where no WebSocket gets through

def test_auto_polls_where_websockets_are_refused_and_comes_back(make_sandbox, tmp_path):
    refuse = {"MUSTER_CONTROLLER_LISTENERS__0__WEB_SOCKETS": "false"}
    box = make_sandbox(2, agent={"MUSTER_AGENT_WEB_SOCKET_RETRY_SECONDS": "1"}, controller=refuse)
    nodes, path = box.nodes(), tmp_path / "log"
    assert "by=poll" in log(box) and "by=webSocket" not in log(box)
    assert box.run("echo here", nodes)[0]["Status"] == "Success"
    # The same controller, now with WebSockets; a command is under way through all of it.
    command = box.send(start(path, "sleep 4; echo done"), nodes)
    eventually(lambda: path.exists() and len(path.read_text().splitlines()) == 2, what="two starts")
    box.kill("controller")
    record = json.loads((box.directory / "sandbox.json").read_text())
    record["controllerEnvironment"] = {}
    (box.directory / "sandbox.json").write_text(json.dumps(record))
    box.control("start", "controller")
    for name in ("agent-0", "agent-1"):
        eventually(lambda: "polling no more" in log(box, name) or "by=webSocket" in log(box, name), what=f"the WebSocket of {name}")
    assert box.finished(command)["Status"] == "Success"
    assert len(path.read_text().splitlines()) == 2
    assert box.run("echo again", nodes)[0]["Status"] == "Success"


def test_auto_polls_where_connections_are_cut_early(make_sandbox, tmp_path):
    with Proxy(life_cut=3) as proxy:
        box = make_sandbox(1, agent={"MUSTER_AGENT_PROXY": proxy.url})
        node, = box.nodes()
        eventually(lambda: "by=poll" in log(box) or "polling" in log(box), timeout=60, what="polling")
        path = tmp_path / "log"
        command, found = box.run(start(path, "sleep 8; echo done"), [node])
        assert (command["Status"], found[node]["CommandPlugins"][0]["Output"]) == ("Success", "done\n")
        started_once(path, node)
        assert proxy.cuts > 2


def test_a_box_that_cuts_idle_connections(make_sandbox, tmp_path):
    """The short form of 30 s: pings every second under a cut of three; the WebSocket is never cut."""
    with Proxy(idle_cut=3) as proxy:
        box = make_sandbox(1, agent={"MUSTER_AGENT_PROXY": proxy.url, "MUSTER_AGENT_KEEP_ALIVE_SECONDS": "1"})
        node, = box.nodes()
        path = tmp_path / "log"
        command, found = box.run(start(path, "sleep 7; echo done"), [node])
        assert command["Status"] == "Success"
        started_once(path, node)
        assert log(box).count("connected") == 1


def test_polling_through_a_box_that_cuts_idle_connections(make_sandbox, tmp_path):
    with Proxy(idle_cut=3) as proxy:
        box = make_sandbox(1, transport="poll", agent={"MUSTER_AGENT_PROXY": proxy.url})
        node, = box.nodes()
        eventually(lambda: proxy.cuts >= 1, what="a cut poll")
        path = tmp_path / "log"
        command, found = box.run(start(path, "sleep 5; echo done"), [node])
        assert command["Status"] == "Success"
        started_once(path, node)
        assert connected(box, node) and log(box).count("connected") == 1


# Proxies

@pytest.fixture(params=PROXIES, ids=lambda kind: kind.__name__.lower())
def real_proxy(request):
    """tinyproxy and squid, as Debian has them."""
    with request.param() as proxy:
        yield proxy


def behind(proxy, tmp_path):
    """An agent's settings: the password is in a file."""
    (tmp_path / "password").write_text(proxy.password + "\n")
    return {"MUSTER_AGENT_PROXY": f"http://{proxy.user}@{proxy.address}", "MUSTER_AGENT_PROXY_PASSWORD_FILE": str(tmp_path / "password")}


def test_a_proxy_with_a_password(make_sandbox, tmp_path, real_proxy):
    """Registration, control channel, heartbeat and the command line go through it."""
    box = make_sandbox(1, transport="auto", agent=behind(real_proxy, tmp_path))
    node, = box.nodes()
    assert box.run("echo through", [node])[0]["Status"] == "Success"
    assert "by=webSocket" in log(box) and f"proxy {real_proxy.address}" in log(box)

    secret = real_proxy.password
    env = {**box.env, "HTTPS_PROXY": f"http://{real_proxy.user}:{secret}@{real_proxy.address}", "NO_PROXY": ""}
    before = real_proxy.connects()
    assert node in muster("nodes", env=env).stdout
    eventually(lambda: real_proxy.connects() > before, timeout=5, what="the command line's line in the proxy's log")
    refused = muster("nodes", env={**env, "HTTPS_PROXY": f"http://{real_proxy.user}:wrong-word@{real_proxy.address}"}, check=False)
    words = refused.stdout + refused.stderr
    assert refused.returncode != 0 and "does not accept the user name and password" in words or "401" in words, words
    assert "wrong-word" not in words
    assert node in muster("nodes", env={**env, "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}).stdout
    for text in (log(box), log(box, "controller")):
        assert secret not in text
    assert secret not in "".join(open(f"/proc/{pid}/cmdline").read() for pid in box.pids.values())


@pytest.mark.parametrize("transport", ["websocket", "poll"])
def test_everything_goes_through_a_real_proxy(make_sandbox, tmp_path, real_proxy, transport):
    """A complete output, a cancel at once, a proxy that dies and comes back; nothing is lost and nothing done twice."""
    box = make_sandbox(2, transport=transport, agent=behind(real_proxy, tmp_path))
    nodes, path = box.nodes(), tmp_path / "log"
    command = box.send("head -c 3000000 /dev/zero", nodes[:1])
    box.finished(command)
    stored = box.directory / "controller" / "output" / command / nodes[0] / "awsrunShellScript" / "runShellScript" / "stdout"
    eventually(lambda: stored.exists() and stored.read_bytes() == bytes(3_000_000), what="the output")

    sleeper = box.send(start(path, "sleep 600"), nodes[:1])
    eventually(path.exists, what="the start")
    began = time.monotonic()
    box.client().cancel_command(CommandId=sleeper)
    box.finished(sleeper)
    assert time.monotonic() - began < 2

    path.unlink()
    running = box.send(start(path, "sleep 1; echo kept"), nodes)
    eventually(lambda: path.exists() and len(path.read_text().splitlines()) == 2, what="two starts")
    real_proxy.kill()
    queued = box.send("echo late", nodes)
    real_proxy.start()
    for command, output in ((running, "kept\n"), (queued, "late\n")):
        assert box.finished(command, timeout=60)["Status"] == "Success"
        assert {i["CommandPlugins"][0]["Output"] for i in box.invocations(command).values()} == {output}
    assert sorted(path.read_text().splitlines()) == sorted(f"start {node}" for node in nodes)


def test_a_proxy_says_no_in_words(make_sandbox):
    with Proxy(credentials="fleet:right-word") as proxy:
        box = make_sandbox(0)
        refused = muster("nodes", env={**box.env, "NO_PROXY": "", "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}, check=False)
        assert refused.returncode != 0 and "wants a user name and a password" in refused.stdout + refused.stderr
        refused = muster("nodes", env={**box.env, "NO_PROXY": "", "HTTPS_PROXY": f"http://fleet:bad-word@127.0.0.1:{proxy.port}"}, check=False)
        words = refused.stdout + refused.stderr
        assert refused.returncode != 0 and "does not accept the user name and password" in words and "bad-word" not in words
        assert muster("nodes", env={**box.env, "NO_PROXY": "", "HTTPS_PROXY": proxy.url}).returncode == 0


# Links that die without a word

def outage(make_sandbox, tmp_path, seconds, agents=3, agent=None, **options):
    """Steps end and commands are sent while the link is dead. Returns the seconds until all were back."""
    with Proxy() as proxy:
        box = make_sandbox(agents, agent={"MUSTER_AGENT_PROXY": proxy.url, **(agent or {})}, **options)
        nodes = box.nodes()
        before, during = tmp_path / "before", tmp_path / "during"
        running = box.send(start(before, "sleep 2; echo kept"), nodes)
        eventually(lambda: before.exists() and len(before.read_text().splitlines()) == agents, what="the starts")
        proxy.blackhole()
        time.sleep(seconds / 2)
        queued = box.send(start(during, "echo late"), nodes)
        time.sleep(seconds / 2)
        assert not during.exists()
        proxy.restore()
        back = time.monotonic()
        for command, output in ((running, "kept\n"), (queued, "late\n")):
            assert box.finished(command, timeout=60)["Status"] == "Success"
            assert {i["CommandPlugins"][0]["Output"] for i in box.invocations(command).values()} == {output}
        back = time.monotonic() - back
        for path in (before, during):
            assert sorted(path.read_text().splitlines()) == sorted(f"start {node}" for node in nodes)
        assert all(connected(box, node) for node in nodes)
        return back


@pytest.mark.parametrize("transport", ["websocket", "poll", "auto"])
def test_a_short_outage(make_sandbox, tmp_path, transport):
    assert outage(make_sandbox, tmp_path, 8, transport=transport, agent={"MUSTER_AGENT_KEEP_ALIVE_SECONDS": "1"}) < 60


def test_the_controller_notices_a_dead_link(make_sandbox):
    with Proxy() as proxy:
        boxes = [make_sandbox(1, transport=t, agent={"MUSTER_AGENT_PROXY": proxy.url}, controller={"MUSTER_CONTROLLER_OFFLINE_SECONDS": "30"})
                 for t in ("websocket", "poll")]
        nodes = [box.nodes()[0] for box in boxes]
        proxy.blackhole()
        began = time.monotonic()
        for box, node in zip(boxes, nodes):
            eventually(lambda: not connected(box, node), timeout=60, every=0.2, what="the dead link being noticed")
        assert time.monotonic() - began < 60


@pytest.mark.soak
@pytest.mark.parametrize("transport", ["websocket", "poll", "auto"])
@pytest.mark.parametrize("seconds", [30, 300])
def test_an_outage(make_sandbox, tmp_path, seconds, transport):
    assert outage(make_sandbox, tmp_path, seconds, transport=transport) < 60


@pytest.mark.soak
@pytest.mark.parametrize("transport", ["auto", "poll"])
def test_a_box_that_cuts_idle_connections_after_30_seconds(make_sandbox, tmp_path, transport):
    with Proxy(idle_cut=30) as proxy:
        box = make_sandbox(1, transport=transport, agent={"MUSTER_AGENT_PROXY": proxy.url})
        node, = box.nodes()
        path = tmp_path / "log"
        command, found = box.run(start(path, "sleep 100; echo done"), [node], timeout=130)
        assert command["Status"] == "Success"
        started_once(path, node)
        assert log(box).count("connected") == 1

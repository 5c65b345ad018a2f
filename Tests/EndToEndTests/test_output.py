"""Every byte of output: complete, byte exact, in constant memory, whatever dies on the way; and live.

MUSTER_SOAK=1 adds the long forms.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import boto3
import botocore.exceptions
import pytest

from conftest import BIN, Sandbox, alive, eventually

MEGABYTE = 1 << 20
soak = pytest.mark.skipif(os.environ.get("MUSTER_SOAK") != "1", reason="MUSTER_SOAK=1 runs it")


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(2)


@pytest.fixture(scope="module")
def two(box):
    return box.nodes()


@pytest.fixture(autouse=True)
def everything_up(request):
    yield
    if "box" in request.fixturenames:
        box = request.getfixturevalue("box")
        for name, pid in list(box.pids.items()):
            if not alive(pid):
                box.control("start", name)


def raw(sandbox, *arguments, timeout=120):
    """`muster` with its standard output as bytes."""
    return subprocess.run([str(BIN / "muster"), *map(str, arguments)], env={**os.environ, **sandbox.env}, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=timeout)


def output(sandbox, command, node, *flags, timeout=120):
    """The complete output once it has arrived."""
    def arrived():
        result = raw(sandbox, "command", command, "--output-of", node, *flags, timeout=timeout)
        return None if b"on its way" in result.stderr or b"nothing is here yet" in result.stderr else result
    return eventually(arrived, timeout, every=0.1, what=f"the output of {node}")


def digest(sandbox, command, node, timeout=600):
    """SHA-256 and length of the stored output, streamed."""
    sha, length = hashlib.sha256(), 0
    process = subprocess.Popen([str(BIN / "muster"), "command", command, "--output-of", node], env={**os.environ, **sandbox.env},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while piece := process.stdout.read(MEGABYTE):
        sha.update(piece)
        length += len(piece)
    words = process.stderr.read().decode()
    return sha.hexdigest(), length, process.wait(timeout), words


def memory(pid):
    """Resident memory in bytes."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The most that processes grow while it is open."""

    def __init__(self, *pids):
        self.before = {pid: memory(pid) for pid in pids}
        self.growth = {pid: 0 for pid in pids}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.05):
            for pid, before in self.before.items():
                try:
                    self.growth[pid] = max(self.growth[pid], memory(pid) - before)
                except (FileNotFoundError, ProcessLookupError):
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def store(box, command, node, stream="stdout", step="runShellScript"):
    return box.directory / "controller" / "output" / command / node / "awsrunShellScript" / step / stream


def test_small_outputs_need_no_upload(box, two):
    """The reply holds all of it, byte for byte, also when words of ours follow it."""
    command = box.send("printf 'out \\303\\244 %s' x; printf 'err\\nno end' >&2; exit 3", two)
    box.finished(command)
    for node in two:
        assert output(box, command, node).stdout == "out ä x".encode()
        assert output(box, command, node, "--stderr").stdout == b"err\nno end"
    assert not (box.directory / "controller" / "output" / command).exists()


def test_no_output_is_complete(box, two):
    command = box.send("true", two[:1])
    box.finished(command)
    result = output(box, command, two[0])
    assert (result.returncode, result.stdout) == (0, b"")


@pytest.mark.parametrize("script, expected", [
    ("printf '\\377\\000\\200'", b"\xff\x00\x80"),
    ("head -c 100000 /dev/zero", bytes(100_000)),
    ("i=0; while [ $i -lt 24000 ]; do printf 'ab'; i=$((i+1)); done", b"ab" * 24_000),
], ids=["not UTF-8", "zeros", "longer than a reply"])
def test_bytes_that_a_reply_cannot_hold(box, two, script, expected):
    command = box.send(script, two[:1])
    box.finished(command)
    assert output(box, command, two[0]).stdout == expected
    file = store(box, command, two[0])
    assert file.read_bytes() == expected
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    # Nothing is left to do on the node.
    eventually(lambda: not list((box.directory / "agent-0" / "jobs" / command).glob("uploads.json")), what="the end of the upload")


def cancel(box, node):
    """Seconds until a running command of the node has been cancelled."""
    sleeper = box.send("exec sleep 600", [node])
    eventually(lambda: box.invocations(sleeper)[node]["Status"] == "InProgress", what="the other command's start")
    begun = time.monotonic()
    box.client().cancel_command(CommandId=sleeper)
    eventually(lambda: box.invocations(sleeper)[node]["Status"] == "Cancelled", what="the cancel")
    return time.monotonic() - begun


def big(box, node, megabytes):
    """A big output, with cancels to the same node for as long as it is on its way."""
    size = megabytes * MEGABYTE
    source = box.directory / "random"
    sha = hashlib.sha256()
    with open(source, "wb") as file:
        for _ in range(megabytes):
            piece = os.urandom(MEGABYTE)
            file.write(piece)
            sha.update(piece)
    agent, controller = box.pids["agent-0"], box.pids["controller"]
    # Both have done this before: what is measured is growth, not the first use.
    warm = box.send("head -c 3000000 /dev/zero", [node])
    box.finished(warm)
    output(box, warm, node)
    cancel(box, node)
    cancels = []
    with Watch(agent, controller) as watch:
        command = box.send(f"cat {source}", [node])
        file = store(box, command, node)
        begun = time.monotonic()
        while not (file.exists() and file.stat().st_size >= size):
            assert time.monotonic() - begun < 1800, "the output does not arrive"
            cancels.append(cancel(box, node))
        took = time.monotonic() - begun
        box.finished(command, timeout=600)
        found = eventually(lambda: (lambda d: d if d[2] == 0 else None)(digest(box, command, node)), 600, every=1, what="the whole output")
    source.unlink()
    cancels.sort()
    print(f"\n{megabytes} MB in {took:.1f} s; {len(cancels)} cancels: median {cancels[len(cancels) // 2] * 1000:.0f} ms, "
          f"slowest {cancels[-1] * 1000:.0f} ms; load {os.getloadavg()[0]:.1f}; "
          f"growth: agent {watch.growth[agent] / MEGABYTE:.1f} MB, controller {watch.growth[controller] / MEGABYTE:.1f} MB")
    assert found[:2] == (sha.hexdigest(), size)
    assert cancels[-1] < 1
    assert watch.growth[agent] <= 16 * MEGABYTE
    assert watch.growth[controller] <= 16 * MEGABYTE
    return command


def test_a_big_output_arrives_byte_exact(box, two):
    command = big(box, two[0], 50)
    file = store(box, command, two[0])
    assert file.stat().st_size == 50 * MEGABYTE


@pytest.mark.parametrize("victim", ["agent-0", "controller"])
def test_an_upload_goes_on_after_a_kill(box, two, victim):
    size = 120 * MEGABYTE
    command = box.send(f"head -c {size} /dev/urandom | tee {box.directory}/copy; sync {box.directory}/copy", two[:1])
    file = store(box, command, two[0])
    eventually(lambda: file.exists() and file.stat().st_size > MEGABYTE, what="the begin of the upload", every=0.001)
    box.kill(victim)
    reached = file.stat().st_size
    box.control("start", victim)
    box.finished(command)
    sha, length = eventually(lambda: (lambda d: d[:2] if d[2] == 0 and d[1] == size else None)(digest(box, command, two[0])), 60,
                             what="the whole output")
    assert length == size and sha == hashlib.sha256((box.directory / "copy").read_bytes()).hexdigest()
    print(f"\n{victim} killed at {reached / MEGABYTE:.0f} of {size / MEGABYTE:.0f} MB")


def test_save_writes_a_file_a_node(box, two, tmp_path):
    folder = tmp_path / "saved"
    result = raw(box, "run", "--all", "--save", folder, "--", "echo $AWS_SSM_INSTANCE_ID; echo err >&2; head -c 50000 /dev/zero")
    assert result.returncode == 0, result.stderr
    files = sorted(folder.iterdir())
    assert len(files) == 4 and {f.suffix for f in files} == {".stdout", ".stderr"}
    assert {f.read_bytes() for f in files if f.suffix == ".stdout"} == {f"{n}\n".encode() + bytes(50_000) for n in two}
    assert all(f.read_bytes() == b"err\n" for f in files if f.suffix == ".stderr")


def test_follow_shows_lines_while_the_step_runs(box, two, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    process = subprocess.Popen([str(BIN / "muster"), "run", "--node", two[0], "--follow", "--", f"echo before; read line < {go}; echo $line; echo bad >&2"],
                               env={**os.environ, **box.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    first = process.stdout.readline()
    assert first.endswith(" | before\n")
    go.write_text("after\n")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.splitlines()[0].endswith(" | after") and any(line.endswith(" | bad") for line in err.splitlines())


def test_follow_of_a_command_that_is_over(box, two):
    command = box.send("echo one; echo two; head -c 70000 /dev/zero | tr '\\0' x", two)
    box.finished(command)
    result = raw(box, "command", command, "--follow")
    lines = result.stdout.decode().splitlines()
    assert result.returncode == 0
    assert sum(line.endswith("| one") for line in lines) == 2 and sum(line.endswith("| two") for line in lines) == 2
    assert sum(line.count("x" * 100) for line in lines) >= 1300


def test_nothing_is_streamed_without_a_follower(box, two, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    command = box.send(f"head -c 3000000 /dev/zero; read line < {go}", two[:1])
    jobs = box.directory / "agent-0" / "jobs" / command / "step.runShellScript" / "stdout"
    eventually(lambda: jobs.exists() and jobs.stat().st_size == 3_000_000, what="the output on the node")
    time.sleep(0.5)  # nothing happens, so there is nothing to await
    assert not store(box, command, two[0]).exists()
    go.write_text("x\n")
    box.finished(command)
    assert output(box, command, two[0]).stdout == bytes(3_000_000)


def test_a_mad_writer_is_skipped_and_said(box, two):
    """The watcher gets what it can take; the rest is named, and stored."""
    result = raw(box, "run", "--node", two[0], "--follow", "--", "head -c 60000000 /dev/zero | tr '\\0' '\\n' | sed s/^/y/", timeout=120)
    assert result.returncode == 0
    assert b"bytes of stdout skipped" in result.stderr


def test_strangers_and_hostile_paths(box, two, tmp_path):
    """Only the node itself, with its certificate, to what it was sent; only an operator reads."""
    command = box.send("head -c 50000 /dev/zero", two[:1])
    box.finished(command)
    output(box, command, two[0])
    identity = box.directory / "agent-1" / "identity"
    url, ca = box.env["AWS_ENDPOINT_URL"], box.env["AWS_CA_BUNDLE"]

    def curl(*arguments):
        return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "--cacert", ca, *arguments],
                              capture_output=True, text=True, timeout=30).stdout

    for path in [f"/v1/output/{command}/runShellScript/stdout", f"/v1/command-output/{command}/{two[0]}"]:
        assert curl(url + path) == "403"
    assert curl("-X", "PUT", "--data-binary", "x", url + f"/v1/output/{command}/runShellScript/stdout?offset=0") == "403"
    key, certificate = node_files(identity, tmp_path)
    pair = ["--cert", certificate, "--key", key]
    # Another node's command, steps and names that do not exist, and ways out of the folder.
    for tail in [f"{command}/runShellScript/stdout", f"{command}/other/stdout", f"{command}/runShellScript/stdin", f"{command}/../x/stdout",
                 f"{command}/%2e%2e/stdout", "../../../etc/passwd", f"{command}/runShellScript/stdout/x", "", "/", "a" * 5000]:
        assert curl(*pair, url + "/v1/output/" + tail) == "404", tail
        assert curl(*pair, "-X", "PUT", "--data-binary", "x", url + "/v1/output/" + tail + "?offset=0") == "404", tail
    # Neither may a node read.
    assert curl(*pair, url + f"/v1/command-output/{command}/{two[1]}") == "403"
    mine = box.send("echo hi", two[1:])
    box.finished(mine)
    for query in ["offset=-1", "offset=x", "offset=99999999999999999999", "", "offset=0&total=1&sha256=zz"]:
        assert curl(*pair, "-X", "PUT", "--data-binary", "x", url + f"/v1/output/{mine}/runShellScript/stdout?{query}") == "400", query
    big = box.directory / "piece"
    big.write_bytes(bytes(300_000))
    assert curl(*pair, "-X", "PUT", "--data-binary", f"@{big}", url + f"/v1/output/{mine}/runShellScript/stdout?offset=0") == "413"


def test_one_node_cannot_fill_the_output_store_for_everybody(make_sandbox, tmp_path):
    """Not with commands that have ended, not with more than was announced, and not with many commands."""
    sandbox = make_sandbox(2, controller={"MUSTER_CONTROLLER_OUTPUT_NODE_TOTAL_BYTES": "1000000", "MUSTER_CONTROLLER_OUTPUT_TOTAL_BYTES": "4000000"})
    honest, hostile = sandbox.nodes()
    key, certificate = node_files(sandbox.directory / "agent-1" / "identity", tmp_path)

    def put(command, bytes, offset):
        piece = tmp_path / "piece"
        piece.write_bytes(bytes)
        return subprocess.run(
            ["curl", "-s", "-w", " %{http_code}", "--cacert", sandbox.env["AWS_CA_BUNDLE"], "--cert", certificate, "--key", key, "-X", "PUT",
             "--data-binary", f"@{piece}", f"{sandbox.env['AWS_ENDPOINT_URL']}/v1/output/{command}/runShellScript/stdout?offset={offset}"],
            capture_output=True, text=True, timeout=30).stdout

    # The reply of an empty output, and of one that it held whole, announces nothing.
    for script in ["true", "echo hi"]:
        command = sandbox.send(script, [hostile])
        sandbox.finished(command)
        assert put(command, bytes(1_000), 0).endswith(" 404")
    # What has arrived as announced is not added to.
    command = sandbox.send("head -c 600000 /dev/zero", [hostile])
    sandbox.finished(command)
    assert output(sandbox, command, hostile).stdout == bytes(600_000)
    assert '"offset":600000' in put(command, bytes(1_000), 600_000)
    assert output(sandbox, command, hostile).stdout == bytes(600_000)
    # The rest of the node's share, and no more, whatever command it is for.
    command = sandbox.send("head -c 600000 /dev/zero", [hostile])
    sandbox.finished(command)
    result = output(sandbox, command, hostile)
    assert len(result.stdout) == 400_000 and b"truncated at 400000 bytes (the controller's quota for this node)" in result.stderr
    command = sandbox.send("head -c 600000 /dev/zero", [honest])
    sandbox.finished(command)
    assert output(sandbox, command, honest).stdout == bytes(600_000)


def test_a_disk_that_is_nearly_full_takes_no_outputs_and_loses_none(make_sandbox):
    """What is left of the disk is for changes: outputs wait on the node until there is room."""
    sandbox = make_sandbox(1, controller={"MUSTER_CONTROLLER_DISK_RESERVE_BYTES": str(1 << 50)})
    node = sandbox.nodes()[0]
    command = sandbox.send("head -c 50000 /dev/zero", [node])
    assert sandbox.finished(command)["Status"] == "Success"
    log = sandbox.directory / "logs" / "agent-0.log"
    eventually(lambda: "503" in log.read_text(), what="an upload that was put off")
    waiting = raw(sandbox, "command", command, "--output-of", node)
    assert waiting.returncode == 1 and waiting.stdout == b"", waiting.stderr
    assert not list((sandbox.directory / "controller" / "output").rglob("stdout"))
    kept = list((sandbox.directory / "agent-0" / "jobs" / command).rglob("*"))
    assert any(path.is_file() and path.stat().st_size == 50_000 for path in kept), kept


def node_files(identity, folder):
    """Key and certificate of an agent as files that curl reads."""
    stored = json.loads((identity / "identity.json").read_text())
    texts = [t for value in stored.values() for t in (value if isinstance(value, list) else [value]) if isinstance(t, str)]
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    key.write_text(next(t for t in texts if "PRIVATE KEY" in t))
    # The node's own certificate is the one that its key belongs to.
    own = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, text=True).stdout
    for text in texts:
        if "BEGIN CERTIFICATE" in text:
            certificate.write_text(text)
            if subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], capture_output=True, text=True).stdout == own:
                return str(key), str(certificate)
    raise AssertionError(list(stored))


@pytest.fixture
def tight(tmp_path_factory, monkeypatch, request):
    """A sandbox with a small budget on the nodes and a small quota on the controller."""
    budget = "1000000" if "budget" in request.node.name else "2000000"
    monkeypatch.setenv("MUSTER_SANDBOX_AGENT_OUTPUT_BUDGET_BYTES", budget)
    monkeypatch.setenv("MUSTER_SANDBOX_CONTROLLER_OUTPUT_NODE_BYTES", "1500000")
    sandbox = Sandbox(tmp_path_factory.mktemp("tight") / "s", 1)
    yield sandbox
    sandbox.down()


def test_the_controllers_quota_is_visible(tight):
    node = tight.nodes()[0]
    # Standard output goes first: 1,000,000 bytes of 1,500,000, the rest for standard error.
    command = tight.send("head -c 1000000 /dev/zero; head -c 1900000 /dev/zero >&2", [node])
    tight.finished(command)
    assert output(tight, command, node).stdout == bytes(1_000_000)
    result = output(tight, command, node, "--stderr")
    assert result.returncode == 1 and len(result.stdout) == 500_000
    assert b"truncated at 500000 bytes (the controller's quota for one command on a node)" in result.stderr


def test_the_nodes_budget_is_visible(tight):
    node = tight.nodes()[0]
    command = tight.send("head -c 3000000 /dev/zero", [node])
    tight.finished(command)
    result = output(tight, command, node)
    assert result.returncode == 1 and len(result.stdout) == 1_000_000
    assert b"truncated at 1000000 bytes (the node's budget); 2000000 more" in result.stderr
    assert "2000000 bytes of standard output beyond the limit" in tight.invocations(command)[node]["CommandPlugins"][0]["Output"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A real S3 server, and a sandbox whose controller copies outputs there."""
    folder = tmp_path_factory.mktemp("s3")
    log = open(folder / "log", "w+")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=log, stderr=log)
    patch = pytest.MonkeyPatch()
    sandbox = None
    try:
        def port():
            assert server.poll() is None, (folder / "log").read_text()
            found = re.search(r"http://127.0.0.1:(\d+)", (folder / "log").read_text())
            return found and found[1]
        endpoint = "http://127.0.0.1:" + eventually(port, what="the S3 server")
        (folder / "keys").write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test-secret\n")
        s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test-secret", region_name="us-east-1")
        s3.create_bucket(Bucket="outputs")
        patch.setenv("MUSTER_SANDBOX_CONTROLLER_OUTPUT_S3_ENDPOINT", endpoint)
        patch.setenv("MUSTER_SANDBOX_CONTROLLER_OUTPUT_S3_CREDENTIALS_FILE", str(folder / "keys"))
        sandbox = Sandbox(tmp_path_factory.mktemp("archive") / "s", 1)
        yield sandbox, s3, endpoint
    finally:
        patch.undo()
        if sandbox:
            sandbox.down()
        server.terminate()
        server.wait()


def test_outputs_are_copied_to_a_bucket(bucket):
    """Systems Manager's key layout, read back with boto3; small, large and in parts."""
    sandbox, s3, endpoint = bucket
    node = sandbox.nodes()[0]
    prefix = "some prefix/ä+&"
    command = sandbox.send("head -c 70000000 /dev/urandom; echo err >&2", [node], OutputS3BucketName="outputs", OutputS3KeyPrefix=prefix,
                           OutputS3Region="eu-west-1")
    small = sandbox.send("echo small", [node], OutputS3BucketName="outputs")
    sandbox.finished(command)
    sandbox.finished(small)

    def objects():
        return {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket="outputs").get("Contents", [])}

    folder = f"{prefix}/{command}/{node}/awsrunShellScript/runShellScript"
    wanted = {f"{folder}/stdout": 70_000_000, f"{folder}/stderr": 4, f"{small}/{node}/awsrunShellScript/runShellScript/stdout": 6}
    eventually(lambda: objects() == wanted, what="the copies")
    body = s3.get_object(Bucket="outputs", Key=f"{folder}/stdout")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == digest(sandbox, command, node)[0]
    assert s3.get_object(Bucket="outputs", Key=f"{folder}/stderr")["Body"].read() == b"err\n"
    ssm = sandbox.client()
    plugin = sandbox.invocations(command)[node]["CommandPlugins"][0]
    assert (plugin["OutputS3BucketName"], plugin["OutputS3KeyPrefix"]) == ("outputs", prefix)
    found = ssm.get_command_invocation(CommandId=command, InstanceId=node)
    assert found["StandardOutputUrl"] == plugin["StandardOutputUrl"] and found["StandardOutputUrl"].startswith(f"{endpoint}/outputs/some%20prefix/")
    assert ssm.list_commands(CommandId=command)["Commands"][0]["OutputS3BucketName"] == "outputs"


def test_hostile_prefixes_are_refused(bucket):
    sandbox, _, _ = bucket
    node = sandbox.nodes()[0]
    for arguments in [{"OutputS3KeyPrefix": "../x"}, {"OutputS3KeyPrefix": "/x"}, {"OutputS3KeyPrefix": "a\nb"}, {"OutputS3BucketName": "A_b"}]:
        with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
            sandbox.send("true", [node], **{"OutputS3BucketName": "outputs", **arguments})


def test_a_bucket_without_a_store_is_refused(box, two):
    with pytest.raises(botocore.exceptions.ClientError, match="OutputS3BucketName"):
        box.send("true", two[:1], OutputS3BucketName="outputs")


def test_twenty_nodes_of_a_thousand_lines(tmp_path_factory):
    """Every line once, and in order for every node."""
    sandbox = Sandbox(tmp_path_factory.mktemp("twenty") / "s", 20)
    try:
        result = raw(sandbox, "run", "--all", "--follow", "--", "i=0; while [ $i -lt 1000 ]; do echo \"$AWS_SSM_INSTANCE_ID line $i\"; i=$((i+1)); done")
        assert result.returncode == 0, result.stderr
        seen = {}
        for line in result.stdout.decode().splitlines():
            if " | " in line:
                node, word, number = line.split(" | ", 1)[1].split(" ")
                assert word == "line"
                seen.setdefault(node, []).append(int(number))
        assert len(seen) == 20
        assert all(numbers == list(range(1000)) for numbers in seen.values())
    finally:
        sandbox.down()


@soak
@pytest.mark.soak
def test_five_gigabytes(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MUSTER_SANDBOX_AGENT_OUTPUT_BUDGET_BYTES", str(6 << 30))
    sandbox = Sandbox(tmp_path_factory.mktemp("soak") / "s", 1)
    try:
        big(sandbox, sandbox.nodes()[0], 4769)  # 5,000 million bytes
    finally:
        sandbox.down()

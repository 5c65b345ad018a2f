"""What an operator meets: formats, logging in, waiting, watching, a terminal's width and Ctrl-C, words for what goes wrong."""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import yaml

from conftest import BIN, Sandbox, eventually, muster
from terminal import Terminal

# Everything that writers get wrong: quotes, commas, line ends, words that YAML reads as something else, control characters.
NASTY = 'a,"b"\t\'c\'\n- yes\n: null\n  # no\n\\ \x1b[31m é 漢 🎉 \u2028 trailing \n1e5\n'


def env(sandbox, **more):
    return {**os.environ, **sandbox.env, **more}


@pytest.fixture(scope="module")
def nasty(sandbox, nodes):
    octal = "".join(f"\\{byte:03o}" for byte in NASTY.encode())
    command = sandbox.send(f"printf '{octal}'", nodes[:2], Comment="yes, no: \"maybe\"")
    assert sandbox.finished(command)["Status"] == "Success"
    return command


# MARK: Formats

def raw(sandbox, *arguments):
    """Standard output as it is: Python would turn the line ends of CSV into its own."""
    return subprocess.run([str(BIN / "muster"), *arguments], env=env(sandbox), stdin=subprocess.DEVNULL, capture_output=True, timeout=60).stdout.decode()


@pytest.mark.parametrize("arguments", [["nodes"], ["commands", "--limit", "3"], ["command", "ID"], ["wait", "ID"], ["tag", "NODE"]])
def test_formats_agree(sandbox, nodes, nasty, arguments):
    arguments = [{"ID": nasty, "NODE": nodes[0]}.get(a, a) for a in arguments]
    told = {f: raw(sandbox, *arguments, "--output", f) for f in ("json", "yaml", "csv", "table")}

    def settled(value):
        # A heartbeat between two calls is no difference.
        return [{k: v for k, v in n.items() if k != "LastPingDateTime"} for n in value] if arguments[0] == "nodes" else value
    assert settled(yaml.safe_load(told["yaml"])) == settled(json.loads(told["json"]))
    assert "\x1b" not in told["yaml"] + told["json"] + told["table"]
    rows = list(csv.reader(io.StringIO(told["csv"], newline="")))
    assert len(rows) > 1 and len({len(r) for r in rows}) == 1
    assert told["csv"].endswith("\r\n") and told["csv"].split("\r\n")[0].isupper()


def test_nothing_is_lost_in_csv_and_yaml(sandbox, nodes, nasty):
    rows = list(csv.DictReader(io.StringIO(raw(sandbox, "command", nasty, "-o", "csv"), newline="")))
    assert {r["NODE"] for r in rows} == set(nodes[:2]) and {r["OUTPUT"] for r in rows} == {NASTY} and {r["EXIT CODE"] for r in rows} == {"0"}
    report = yaml.safe_load(sandbox.muster("command", nasty, "-o", "yaml").stdout)
    assert report["Comment"] == 'yes, no: "maybe"' and report["Invocations"][0]["CommandPlugins"][0]["Output"] == NASTY


def test_run_and_sandbox_status_in_every_format(sandbox, nodes):
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        report = load(sandbox.muster("run", "--node", nodes[0], "-o", form, "--", "echo hi").stdout)
        assert report["Invocations"][0]["CommandPlugins"][0]["Output"] == "hi\n"
        sent = load(sandbox.muster("run", "--node", nodes[0], "-o", form, "--detach", "--", "echo hi").stdout)
        assert re.fullmatch(r"[0-9a-f-]{36}", sent["CommandId"])
        processes = load(muster("sandbox", "status", "--dir", sandbox.directory, "-o", form).stdout)
        assert [p["Process"] for p in processes][:2] == ["controller", "agent-0"] and all(p["State"] == "running" for p in processes)
        made = load(sandbox.muster("enroll", "-o", form).stdout)
        assert len(made["ActivationCode"]) >= 20
    row, = csv.DictReader(io.StringIO(sandbox.muster("run", "--node", nodes[0], "-o", "csv", "--", "exit 4", check=False).stdout, newline=""))
    assert (row["NODE"], row["STATUS"], row["EXIT CODE"]) == (nodes[0], "Failed", "4")


# MARK: A terminal's width

def test_tables_are_cut_on_a_terminal_only(sandbox):
    with Terminal(BIN / "muster", "nodes", env=env(sandbox), columns=40) as terminal:
        status, shown = terminal.end()
    lines = shown.replace("\r", "").strip("\n").split("\n")
    assert status == 0 and len(lines) == 6 and all(len(line) <= 40 for line in lines)
    # What matters least gives way first, and nothing is cut in the middle.
    assert lines[0].split() == ["NODE", "NAME", "STATUS"] and "…" not in shown
    assert max(map(len, sandbox.muster("nodes").stdout.split("\n"))) > 80


# MARK: Waiting

def test_wait(sandbox, nodes):
    good = sandbox.send("sleep 0.5", nodes[:2])
    ended = sandbox.muster("wait", good)
    assert "Success: 2 of 2 nodes succeeded" in ended.stdout
    bad = sandbox.send("exit 1", nodes[:2], MaxErrors="5")
    assert sandbox.muster("wait", bad, check=False).returncode == 1
    long = sandbox.send("sleep 600", nodes[:1])
    begun = time.monotonic()
    over = sandbox.muster("wait", long, "--timeout", "1", check=False)
    assert over.returncode == 124 and long in over.stderr and 0.9 < time.monotonic() - begun < 10
    assert sandbox.client().list_commands(CommandId=long)["Commands"][0]["Status"] == "InProgress"
    sandbox.muster("cancel", long)
    assert sandbox.muster("wait", long, "--timeout", "20", check=False).returncode == 1
    assert sandbox.muster("wait", long, "--timeout", "0", check=False).returncode == 2


# MARK: Ctrl-C

def started(sandbox, node):
    ssm = sandbox.client()
    return eventually(lambda: ssm.list_commands(InstanceId=node, Filters=[{"key": "Status", "value": "InProgress"}])["Commands"], what="the command")[0]["CommandId"]


def status_of(sandbox, command):
    return sandbox.client().list_commands(CommandId=command)["Commands"][0]["Status"]


@pytest.mark.parametrize("answer,goes_on", [("c", False), ("l", True), ("", True)])
def test_interrupt_on_a_terminal(sandbox, nodes, answer, goes_on):
    with Terminal(BIN / "muster", "run", "--node", nodes[0], "--", "sleep 600", env=env(sandbox)) as terminal:
        command = started(sandbox, nodes[0])
        terminal.expect("0 of 1 nodes ended")
        terminal.interrupt()
        terminal.expect(r"Cancel the command.*\[l\] ")
        terminal.type(answer + "\n")
        status, shown = terminal.end()
    assert status == 130
    if goes_on:
        assert f"muster cancel {command}" in shown and status_of(sandbox, command) == "InProgress"
        sandbox.muster("cancel", command)
    assert sandbox.finished(command, timeout=15)["Status"] == "Cancelled"


def test_interrupt_and_go_on_watching(sandbox, nodes, tmp_path):
    """What ends while the question is open is shown afterwards, and what was shown before is not shown again."""
    gate = tmp_path / "gate"
    with Terminal(BIN / "muster", "run", "--node", nodes[0], "--node", nodes[1], "--max-concurrency", "1", "--",
                  f"if [ -e {tmp_path}/first ]; then until [ -e {gate} ]; do sleep 0.05; done; fi; touch {tmp_path}/first; echo result-end",
                  env=env(sandbox)) as terminal:
        before = terminal.expect(r"result-end")
        terminal.interrupt()
        terminal.expect(r"Cancel the command.*\[l\] ")
        gate.touch()
        command = sandbox.client().list_commands(MaxResults=1)["Commands"][0]["CommandId"]
        assert sandbox.finished(command)["Status"] == "Success"
        terminal.type("w\n")
        status, shown = terminal.end()
    assert status == 0 and shown.count("result-end") == 1 and "Success: 2 of 2 nodes succeeded" in shown
    assert {re.search(r"mi-[0-9a-f]{17}", before)[0], re.search(r"mi-[0-9a-f]{17}", shown)[0]} == set(nodes[:2])


# MARK: Watching nodes

@pytest.fixture(scope="module")
def pair(make_sandbox):
    return make_sandbox(2)


def test_watch_off_a_terminal_tells_changes(pair, tmp_path):
    out = (tmp_path / "out").open("w+")
    process = subprocess.Popen([str(BIN / "muster"), "nodes", "--watch", "--output", "json"], env=env(pair), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)

    def told():
        return [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    try:
        eventually(lambda: len(told()) == 2, what="the nodes")
        pair.control("stop", "agent-1")
        eventually(lambda: len(told()) == 3, what="the change")
        pair.control("start", "agent-1")
        eventually(lambda: len(told()) == 4, what="the way back")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
    assert [(c["Name"], c.get("FormerPingStatus"), c["PingStatus"]) for c in told()[2:]] == [("agent-1", "Online", "ConnectionLost"), ("agent-1", "ConnectionLost", "Online")]


def test_watch_on_a_terminal_draws_a_table(pair):
    with Terminal(BIN / "muster", "nodes", "--watch", env=env(pair), columns=70, rows=4) as terminal:
        terminal.expect(r"\x1b\[\?1049h")
        drawn = terminal.expect(r"\x1b\[J")
        assert "2 nodes, 2 online" in drawn and "NODE" in drawn and "2 more" in drawn
        terminal.interrupt()
        status, shown = terminal.end()
    assert status == 0 and shown.endswith("\x1b[?25h\x1b[?1049l")


def test_watch_outlives_a_controllers_restart(pair, tmp_path):
    process = subprocess.Popen([str(BIN / "muster"), "nodes", "--watch"], env=env(pair), stdin=subprocess.DEVNULL,
                               stdout=(tmp_path / "out").open("w"), stderr=(tmp_path / "err").open("w"))
    try:
        eventually(lambda: (tmp_path / "out").read_text().count("Online") == 2, what="the nodes")
        pair.control("stop", "controller")
        eventually(lambda: "Trying again" in (tmp_path / "err").read_text(), timeout=60, what="the words")
        pair.control("start", "controller")
        pair.load()
        pair.control("stop", "agent-0")
        eventually(lambda: "Online -> ConnectionLost" in (tmp_path / "out").read_text(), timeout=60, what="the change")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        pair.control("start", "agent-0")


# MARK: Login

@pytest.fixture
def home(tmp_path, sandbox):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def pin(sandbox):
    der = subprocess.run(["openssl", "x509", "-in", sandbox.env["AWS_CA_BUNDLE"], "-outform", "der"], capture_output=True, check=True).stdout
    return "sha256:" + __import__("hashlib").sha256(der).hexdigest()


def login(sandbox, home, *arguments, stdin=None, check=True, **more):
    stdin = f"{sandbox.env['AWS_ACCESS_KEY_ID']}\n{sandbox.env['AWS_SECRET_ACCESS_KEY']}\n" if stdin is None else stdin
    result = subprocess.run([str(BIN / "muster"), "login", "--endpoint", sandbox.env["AWS_ENDPOINT_URL"], *map(str, arguments)],
                            env=clean(home, **more), input=stdin, capture_output=True, text=True, timeout=60)
    assert not check or result.returncode == 0, result.stderr
    assert sandbox.env["AWS_SECRET_ACCESS_KEY"] not in result.stdout + result.stderr
    return result


def clean(home, **more):
    return {"HOME": str(home), "PATH": os.environ["PATH"], **more}


def test_login_with_a_pin_is_all_that_is_needed(sandbox, nodes, home):
    told = login(sandbox, home, "--pin", pin(sandbox))
    assert "arn:aws:iam::000000000001:user/administrator" in told.stdout
    for name in ("config", "credentials", "muster-default-ca.pem"):
        assert stat.S_IMODE((home / ".aws" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / ".aws").stat().st_mode) == 0o700
    listed = subprocess.run([str(BIN / "muster"), "nodes", "-o", "json"], env=clean(home), capture_output=True, text=True, timeout=60)
    assert {n["InstanceId"] for n in json.loads(listed.stdout)} == set(nodes)
    # And the AWS SDK reads the same files.
    script = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'], len(boto3.client('ssm').describe_instance_information()['InstanceInformationList']))"
    seen = subprocess.run([sys.executable, "-c", script], env=clean(home), capture_output=True, text=True, timeout=60)
    assert seen.stdout.split() == ["arn:aws:iam::000000000001:user/administrator", "5"], seen.stderr
    # The same again changes nothing and asks nothing.
    before = (home / ".aws" / "config").read_bytes()
    login(sandbox, home, "--pin", pin(sandbox))
    assert (home / ".aws" / "config").read_bytes() == before


CONFIG = """# mine
[default]
region = eu-west-1
output = text

; work
[profile work]
role_arn = arn:aws:iam::1:role/x
s3 =
  max_concurrent_requests = 20
[profile lab]
# the old lab
endpoint_url = https://old:1
s3 =
  addressing_style = path
[services own]
ssm =
  endpoint_url = https://other:2
"""
CREDENTIALS = "[default]\naws_access_key_id = AKIAREAL\naws_secret_access_key = real\n[lab]\naws_access_key_id = OLD\naws_secret_access_key = old\naws_session_token = t\n"


def test_login_again_keeps_the_authority_of_the_profile(sandbox, tmp_path):
    login(sandbox, tmp_path, "--ca", sandbox.env["AWS_CA_BUNDLE"])
    before = (tmp_path / ".aws" / "config").read_text()
    assert f"ca_bundle = {sandbox.env['AWS_CA_BUNDLE']}" in before
    login(sandbox, tmp_path)
    assert (tmp_path / ".aws" / "config").read_text() == before
    # The environment names one as well as an option does, and what was believed is written down.
    login(sandbox, tmp_path, "--profile", "other", AWS_CA_BUNDLE=sandbox.env["AWS_CA_BUNDLE"])
    assert (tmp_path / ".aws" / "config").read_text().count("ca_bundle") == 2


def test_login_leaves_other_profiles_alone(sandbox, home):
    aws = home / ".aws"
    aws.mkdir()
    (aws / "config").write_text(CONFIG)
    (aws / "credentials").write_text(CREDENTIALS)
    (aws / "config").chmod(0o644)
    refused = login(sandbox, home, "--ca", sandbox.env["AWS_CA_BUNDLE"], check=False)
    assert refused.returncode == 2 and "AKIAREAL" in refused.stderr and "--yes" in refused.stderr
    refused = login(sandbox, home, "--ca", sandbox.env["AWS_CA_BUNDLE"], "--profile", "lab", check=False)
    assert refused.returncode == 2 and "https://old:1" in refused.stderr
    assert ((aws / "config").read_text(), (aws / "credentials").read_text()) == (CONFIG, CREDENTIALS)
    login(sandbox, home, "--ca", sandbox.env["AWS_CA_BUNDLE"], "--profile", "lab", "--yes")
    config, endpoint = (aws / "config").read_text(), sandbox.env["AWS_ENDPOINT_URL"]
    lab = f"[profile lab]\nregion = us-east-1\nendpoint_url = {endpoint}\nca_bundle = {sandbox.env['AWS_CA_BUNDLE']}\n# the old lab\ns3 =\n  addressing_style = path\n"
    assert config == CONFIG.replace(CONFIG[CONFIG.index("[profile lab]"):CONFIG.index("[services")], lab)
    credentials = (aws / "credentials").read_text()
    assert credentials.startswith(CREDENTIALS[:CREDENTIALS.index("[lab]")]) and "AKIAREAL" in credentials
    assert "OLD" not in credentials and "aws_session_token" not in credentials
    assert ((aws / "config.before-login").read_text(), (aws / "credentials.before-login").read_text()) == (CONFIG, CREDENTIALS)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in aws.iterdir())
    login(sandbox, home, "--ca", sandbox.env["AWS_CA_BUNDLE"], AWS_PROFILE="new")
    assert (aws / "config").read_text().startswith(config) and "[profile new]" in (aws / "config").read_text()


def test_login_writes_through_links_and_where_it_is_told(sandbox, home):
    (home / "real").write_text("[profile a]\nregion = x\n")
    (home / "link").symlink_to(home / "real")
    login(sandbox, home, "--ca", sandbox.env["AWS_CA_BUNDLE"], AWS_CONFIG_FILE=str(home / "link"), AWS_SHARED_CREDENTIALS_FILE=str(home / "c"))
    assert (home / "link").is_symlink() and "[profile a]" in (home / "real").read_text() and "endpoint_url" in (home / "real").read_text()
    assert not (home / ".aws").exists()


@pytest.mark.parametrize("arguments,stdin,words", [
    (["--ca", "CA"], "KEY\nwrong\n", "SignatureDoesNotMatch"),
    (["--ca", "CA"], "NOBODY\nwrong\n", "InvalidClientTokenId"),
    (["--ca", "CA"], "KEY\n", "No usable secret access key"),
    (["--ca", "CA"], "", "No usable access key id"),
    (["--ca", "CA", "--access-key-id", "a b"], "s\n", "No usable access key id"),
    ([], None, "--pin"),
    (["--pin", "sha256:" + "0" * 64], None, "Compare the pin"),
    (["--pin", "xyz"], None, "64 hexadecimal digits"),
    (["--ca", "/nonexistent"], None, "/nonexistent"),
    (["--ca", "CA", "--profile", "a]b"], None, "name of a profile"),
    (["--ca", "CA", "--region", "x\nendpoint_url = evil"], None, "region"),
])
def test_login_that_fails_writes_nothing(sandbox, home, arguments, stdin, words):
    arguments = [sandbox.env["AWS_CA_BUNDLE"] if a == "CA" else a for a in arguments]
    failed = login(sandbox, home, *arguments, stdin=stdin and stdin.replace("KEY", sandbox.env["AWS_ACCESS_KEY_ID"]), check=False)
    assert failed.returncode == 2 and words in failed.stderr and not (home / ".aws").exists()


def test_login_asks_on_a_terminal_without_showing_the_secret(sandbox, home):
    secret = sandbox.env["AWS_SECRET_ACCESS_KEY"]
    with Terminal(BIN / "muster", "login", "--endpoint", sandbox.env["AWS_ENDPOINT_URL"], "--pin", pin(sandbox), env=clean(home)) as terminal:
        seen = terminal.expect("Access key id: ")
        terminal.type(sandbox.env["AWS_ACCESS_KEY_ID"] + "\n")
        seen += terminal.expect("Secret access key: ")
        assert secret.encode() not in pathlib.Path(f"/proc/{terminal.process.pid}/cmdline").read_bytes()
        terminal.type(secret + "\n")
        status, shown = terminal.end()
    assert status == 0 and "Logged in" in shown and secret not in seen + shown


def test_an_interrupt_at_the_secret_writes_nothing(sandbox, home):
    with Terminal(BIN / "muster", "login", "--endpoint", sandbox.env["AWS_ENDPOINT_URL"], "--pin", pin(sandbox), "--access-key-id", "k", env=clean(home)) as terminal:
        terminal.expect("Secret access key: ")
        terminal.interrupt()
        terminal.type("\n")
        status, _ = terminal.end()
    assert status in (2, 130) and not (home / ".aws").exists()


# MARK: Words for what goes wrong

@pytest.mark.parametrize("change,words", [
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, ["InvalidSignatureException", "muster login"]),
    ({"AWS_ACCESS_KEY_ID": "NOBODY"}, ["UnrecognizedClientException", "muster login"]),
    ({"AWS_CA_BUNDLE": "/nonexistent"}, ["/nonexistent", "AWS_CA_BUNDLE"]),
    ({"AWS_CA_BUNDLE": "OTHER"}, ["certificate verify failed", "AWS_CA_BUNDLE", "--pin"]),
    ({"AWS_ENDPOINT_URL": "https://127.0.0.1:1"}, ["the connection was refused", "AWS_ENDPOINT_URL"]),
    ({"AWS_ENDPOINT_URL": "https://[::1]:1"}, ["https://[::1]:1", "AWS_ENDPOINT_URL"]),
    ({"AWS_ENDPOINT_URL": "https://::1:1"}, ["brackets"]),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, ["https://HOST:PORT"]),
    ({"AWS_ENDPOINT_URL": "https://nosuch.invalid:1"}, ["the name was not found"]),
    ({"AWS_PROFILE": "nosuch", "AWS_ENDPOINT_URL": ""}, ["nosuch", "--profile"]),
])
def test_words(sandbox, tmp_path, change, words):
    if change.get("AWS_CA_BUNDLE") == "OTHER":
        other = tmp_path / "other.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-out", other, "-subj", "/CN=other", "-days", "2"],
                       capture_output=True, check=True)
        change = {"AWS_CA_BUNDLE": str(other)}
    failed = muster("nodes", env={**sandbox.env, "HOME": str(tmp_path), **change}, check=False)
    assert failed.returncode == 2 and failed.stdout == "" and failed.stderr.startswith("muster: ")
    assert all(w in failed.stderr for w in words), failed.stderr


def test_a_command_that_is_not_there(sandbox):
    for verb in ("command", "cancel", "wait"):
        failed = sandbox.muster(verb, "11111111-2222-3333-4444-555555555555", check=False)
        assert failed.returncode == 2 and "InvalidCommandId" in failed.stderr
        assert "ValidationException" in sandbox.muster(verb, "nonsense", check=False).stderr


def test_an_ipv6_controller(tmp_path):
    """A controller is reached by its IPv6 address."""
    data, port_file = tmp_path / "data", tmp_path / "data" / "listening"
    subprocess.run([str(BIN / "muster-controller"), "init", "--data-dir", data, "--name", "::1", "--profile-dir", tmp_path / "p"], check=True, capture_output=True, timeout=30)
    process = subprocess.Popen([str(BIN / "muster-controller"), "serve", "--data-dir", data, "--listen", "[::1]:0"],
                               stdout=subprocess.DEVNULL, stderr=(tmp_path / "log").open("w"))
    try:
        address = eventually(lambda: port_file.exists() and port_file.read_text().split(), what="the controller")[0]
        assert address.startswith("[::1]:")
        found = subprocess.run([str(BIN / "muster"), "nodes", "-o", "json"], capture_output=True, text=True, timeout=60, env=clean(
            tmp_path, AWS_CONFIG_FILE=str(tmp_path / "p" / "config"), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "p" / "credentials"),
            AWS_ENDPOINT_URL=f"https://{address}"))
        assert found.returncode == 0 and json.loads(found.stdout) == [], found.stderr
    finally:
        process.terminate()
        process.wait(timeout=30)


# MARK: Manual pages and completions

def commands(program):
    definition = json.loads(subprocess.run([str(BIN / program), "--experimental-dump-help"], capture_output=True, check=True, timeout=30).stdout)

    def walk(path, command):
        yield path
        for sub in command.get("subcommands", []):
            if sub["commandName"] != "help":
                yield from walk(path + [sub["commandName"]], sub)
    return list(walk([program], definition["command"]))


def test_every_command_has_a_page_that_renders(tmp_path):
    manual = pathlib.Path(__file__).parents[2] / "docs" / "manual.py"
    subprocess.run([sys.executable, str(manual), str(BIN), str(tmp_path)], check=True, timeout=60)
    for program, section in (("muster", 1), ("muster-agent", 8), ("muster-controller", 8)):
        for path in commands(program):
            page = tmp_path / f"man{section}" / f"{'-'.join(path)}.{section}"
            assert page.exists(), path
            if shutil.which("man"):
                shown = subprocess.run(["man", "--warnings", "-l", str(page)], env={**os.environ, "MANWIDTH": "120", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"},
                                       capture_output=True, text=True, timeout=30)
                assert shown.returncode == 0 and shown.stderr == "", shown.stderr
                assert "NAME" in shown.stdout and " ".join(path) in " ".join(shown.stdout.split())
                usage = subprocess.run([str(BIN / path[0]), *path[1:], "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
                for option in set(re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", usage)):
                    assert option in shown.stdout, (path, option)


@pytest.mark.parametrize("program", ["muster", "muster-agent", "muster-controller"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(program, shell, tmp_path):
    script = subprocess.run([str(BIN / program), "--generate-completion-script", shell], capture_output=True, text=True, check=True, timeout=30).stdout
    assert script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=30)
    if shell == "bash" and program == "muster":
        ask = script + "\nCOMP_WORDS=(muster no); COMP_CWORD=1; COMP_LINE='muster no'; COMP_POINT=9; _muster muster no muster; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
        found = subprocess.run(["bash"], input=ask, capture_output=True, text=True, timeout=30)
        assert found.stdout.split() == ["nodes"], found


@pytest.mark.parametrize("program", ["muster", "muster-agent", "muster-controller"])
def test_versions(program):
    """All three alike: they are released together."""
    said = subprocess.run([str(BIN / program), "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    ours = subprocess.run([str(BIN / "muster"), "--version"], capture_output=True, text=True, check=True, timeout=30).stdout.split()[1]
    assert said == f"{program} {ours}\n"


@pytest.mark.parametrize("words", ["run --node", "command x --output-of", "cancel x --node", "deregister", "tag", "shell", "exec", "forward", "ssh", "ssh-proxy"])
def test_node_names_are_completed(sandbox, nodes, words):
    """As bash's own completion calls it for `muster run --node <TAB>`."""
    script = subprocess.run([str(BIN / "muster"), "--generate-completion-script", "bash"], capture_output=True, text=True, check=True, timeout=30).stdout
    ask = f"""{script}
PATH={BIN}:$PATH; COMP_WORDS=(muster {words} ''); COMP_CWORD={len(words.split()) + 1}; COMP_LINE='muster {words} '; COMP_POINT=${{#COMP_LINE}}
_muster muster '' {words.split()[-1]}; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash"], input=ask, capture_output=True, text=True, timeout=30, env=sandbox.clean_env())
    # The host's name is left out: it is the name of five.
    assert set(result.stdout.split()) == {*nodes, *(f"agent-{n}" for n in range(len(nodes)))}, result


@pytest.mark.parametrize("shell, options, load", [
    ("zsh", ["-f", "-i"], "fpath=({folder} $fpath); autoload -U compinit; compinit -D"), ("fish", ["-N", "-i"], "source {folder}/muster.fish"),
])
def test_node_names_are_completed_at_a_prompt(sandbox, nodes, tmp_path, shell, options, load):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    for name, kind in (("_muster", "zsh"), ("muster.fish", "fish")):
        with open(tmp_path / name, "wb") as file:
            subprocess.run([str(BIN / "muster"), "--generate-completion-script", kind], stdout=file, check=True, timeout=30)
    environment = {**sandbox.clean_env(), "HOME": str(tmp_path), "TERM": "dumb", "PATH": f"{BIN}:{os.environ['PATH']}"}
    with Terminal(shutil.which(shell), *options, env=environment) as terminal:
        terminal.type(load.format(folder=tmp_path) + "; echo read''y\r")
        terminal.expect("ready")
        terminal.type(f"muster run --node {nodes[0][:-4]}\t")
        terminal.expect(nodes[0])


def completed(env, *words):
    began = time.monotonic()
    result = subprocess.run([str(BIN / "muster"), "---completion", "run", "--", "--node", str(len(words) - 1), str(len(words[-1])), *words],
                            capture_output=True, text=True, timeout=30, env=env)
    return result, time.monotonic() - began


def test_completions_are_quiet_and_quick_when_there_is_no_controller(sandbox):
    env = {**sandbox.clean_env(), "SAP_SHELL": "bash", "SAP_SHELL_VERSION": "5"}
    result, _ = completed(env, "muster", "run", "--node", "agent-")
    assert {"agent-0", "agent-4"} <= set(result.stdout.split()) and not [w for w in result.stdout.split() if not w.startswith("agent-")]
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        for broken in ({"AWS_ENDPOINT_URL": f"https://127.0.0.1:{deaf.getsockname()[1]}"}, {"AWS_ENDPOINT_URL": "https://127.0.0.1:1"},
                       {"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_CA_BUNDLE": "/nowhere"}):
            result, took = completed({**env, **broken}, "muster", "run", "--node", "")
            assert (result.stdout.strip(), result.stderr) == ("", ""), (broken, result)
            assert took < 5, broken
    result, _ = completed(env, "muster", "run", "--profile", "nobody", "--node", "")
    assert (result.stdout.strip(), result.stderr) == ("", "")

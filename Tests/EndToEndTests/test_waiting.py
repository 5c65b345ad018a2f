"""What waits for a command: through a restart of the controller, and with the reason in sight when a node fails."""

import os
import re
import signal
import subprocess
import time

import pytest
from conftest import BIN, eventually

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(2)


@pytest.fixture
def begin(box, tmp_path):
    """Starts `muster …` and leaves it running; its words are in files."""
    started = []

    def begin(*arguments, **options):
        out, err = tmp_path / f"out{len(started)}", tmp_path / f"err{len(started)}"
        process = subprocess.Popen([str(BIN / "muster"), *map(str, arguments)], env=box.clean_env() | {"XDG_STATE_HOME": str(tmp_path)},
                                   stdin=subprocess.DEVNULL, stdout=out.open("w"), stderr=err.open("w"), **options)
        process.out, process.err = out.read_text, err.read_text
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def call(box, tmp_path, *arguments, timeout=60):
    return subprocess.run([str(BIN / "muster"), *map(str, arguments)], env=box.clean_env() | {"XDG_STATE_HOME": str(tmp_path)},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def test_a_restart_of_the_controller_ends_nothing_that_waits(box, begin, tmp_path):
    gate = tmp_path / "gate"
    run = begin("run", "--all", "--", f"until [ -e {gate} ]; do sleep 0.1; done; echo passed")
    eventually(lambda: ID.search(run.err()), what="the command's id on standard error")
    command = ID.search(run.err()).group()
    waiting = [run, begin("wait", command), begin("command", command, "--follow")]
    eventually(lambda: all(i["Status"] == "InProgress" for i in box.invocations(command).values()), what="both nodes to have begun")
    box.control("stop", "controller")
    eventually(lambda: all("Trying again" in process.err() for process in waiting), what="all three to say that the controller is away")
    assert [process.poll() for process in waiting] == [None] * 3
    # Asked for while it is away, the end is waited for all the same.
    waiting.append(begin("wait", command))
    eventually(lambda: "Trying again" in waiting[-1].err(), what="the late one to wait")
    box.control("start", "controller")
    gate.touch()
    assert [process.wait(60) for process in waiting] == [0] * 4, [process.err() for process in waiting]
    assert run.out().count("passed") == 2 and waiting[2].out().count("passed") == 2
    assert all("connected again" in process.err() for process in waiting)


def test_what_cannot_be_seen_any_more_has_a_status_of_its_own(box, begin, tmp_path):
    """The key is withdrawn while the command runs: a pipeline that took this for a refusal would send the command again."""
    iam = box.client("iam")
    iam.create_user(UserName="passing")
    iam.create_group(GroupName="runners")
    iam.put_group_policy(GroupName="runners", PolicyName="all", PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}]}')
    iam.add_user_to_group(GroupName="runners", UserName="passing")
    key = iam.create_access_key(UserName="passing")["AccessKey"]
    environment = box.clean_env() | {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
                                     "XDG_STATE_HOME": str(tmp_path)}
    gate, err = tmp_path / "gate", tmp_path / "err"
    run = subprocess.Popen([str(BIN / "muster"), "run", "--all", "--", f"until [ -e {gate} ]; do sleep 0.1; done"], env=environment,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err.open("w"))
    try:
        eventually(lambda: ID.search(err.read_text()), what="the command's id on standard error")
        iam.delete_access_key(UserName="passing", AccessKeyId=key["AccessKeyId"])
        assert run.wait(60) == 3
    finally:
        gate.touch()
        run.kill()
        run.wait()
    command = ID.search(err.read_text()).group()
    assert f"may be running. Look at it with: muster command {command}" in err.read_text()
    assert call(box, tmp_path, "wait", command).returncode == 0


def test_who_is_waited_for_is_said(box, begin, tmp_path):
    box.control("stop", "agent-1")
    try:
        eventually(lambda: any(n["PingStatus"] != "Online" for n in box.client().describe_instance_information()["InstanceInformationList"]),
                   what="the controller to miss the node", timeout=60)
        run = begin("run", "--all", "--", "true")
        eventually(lambda: "agent-1 (offline)" in run.err(), what="the one that is away to be named", timeout=60)
        command = ID.search(run.err()).group()
        # Cancelled before it was delivered, it never ran on that node: that is counted, and its output says so.
        assert call(box, tmp_path, "cancel", command).returncode == 0
        assert run.wait(60) == 1
        assert "1 of 2 nodes succeeded, 1 never ran it" in run.out() and "Nothing was run." in run.out()
        output = call(box, tmp_path, "command", command, "--output-of", "agent-1")
        assert output.returncode == 1 and "never started" in output.stderr and "Nothing was run." in output.stderr
    finally:
        box.control("start", "agent-1")


def test_the_node_that_failed_is_named_with_its_code(box, tmp_path):
    followed = call(box, tmp_path, "run", "--all", "--follow", "--", "echo fine; [ $(basename $PWD) = never ] || exit 7")
    assert followed.returncode == 1
    for node in ("agent-0", "agent-1"):
        assert re.search(rf"\({node}\)  Failed, exit code 7", followed.stderr), followed.stderr
    # What was shown while it was written is not shown again.
    assert followed.stdout.count("fine") == 2 and "fine" not in followed.stderr
    # The node could not even begin: what it says of it is its error output.
    followed = call(box, tmp_path, "run", "--node", "agent-0", "--follow", "--param", "workingDirectory=/not/there", "--", "true")
    assert followed.returncode == 1 and "(agent-0)  Failed" in followed.stderr, followed.stderr


def test_the_last_command_needs_no_id(box, tmp_path):
    none = call(box, tmp_path, "command", "--last")
    assert none.returncode == 2 and "muster commands" in none.stderr
    script = tmp_path / "script.sh"
    script.write_text("for word in a b\ndo\n  echo \"$word $PWD\"\ndone\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    sent = call(box, tmp_path, "run", "--node", "agent-0", "--detach", "--param", f"workingDirectory={folder}", "--file", script)
    assert sent.returncode == 0, sent.stderr
    assert call(box, tmp_path, "wait", "--last").returncode == 0
    shown = call(box, tmp_path, "command", "--last").stdout
    assert ID.search(sent.stdout).group() in shown and f"a {folder}" in shown and f"b {folder}" in shown
    twice = call(box, tmp_path, "run", "--node", "agent-0", "--param", "commands=true", "--file", script)
    assert twice.returncode == 2 and "twice" in twice.stderr
    empty = tmp_path / "empty"
    empty.touch()
    assert "is empty" in call(box, tmp_path, "run", "--node", "agent-0", "--file", empty).stderr


def test_a_command_can_have_a_terminal(box, tmp_path):
    with_one = call(box, tmp_path, "exec", "-t", "agent-0", "--", "sh", "-c", "test -t 0 && tty; exit 5")
    assert with_one.returncode == 5 and "/dev/pts/" in with_one.stdout, with_one
    assert call(box, tmp_path, "exec", "-n", "agent-0", "--", "test", "-t", "1").returncode == 1


def test_a_hangup_does_not_end_a_forward_that_was_told_to_ignore_it(box, begin):
    """As nohup(1) starts it."""
    forward = begin("forward", "agent-0", "0:22", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    eventually(lambda: "127.0.0.1:" in forward.out() + forward.err(), what="the forward to listen")
    os.kill(forward.pid, signal.SIGHUP)
    # A signal that is heard comes after the one before it: this one alone ends it.
    os.kill(forward.pid, signal.SIGTERM)
    assert forward.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize("words", ["command", "wait", "cancel", "cp", "session show", "session terminate"])
def test_commands_sessions_and_ends_of_a_copy_are_completed(box, tmp_path, words):
    """As bash's own completion calls it for `muster command <TAB>`."""
    if words.startswith("session"):
        session = box.client().start_session(Target=box.nodes()[0])["SessionId"]
        box.client().terminate_session(SessionId=session)
        expected = {session}
    elif words == "cp":
        (tmp_path / "a-file").touch()
        expected = {"agent-0:", "agent-1:", "a-file"}
    else:
        expected = {ID.search(call(box, tmp_path, "run", "--node", "agent-0", "--detach", "--", "true").stdout).group()}
    script = subprocess.run([str(BIN / "muster"), "--generate-completion-script", "bash"], capture_output=True, text=True, check=True, timeout=30).stdout
    ask = f"""{script}
PATH={BIN}:$PATH; COMP_WORDS=(muster {words} ''); COMP_CWORD={len(words.split()) + 1}; COMP_LINE='muster {words} '; COMP_POINT=${{#COMP_LINE}}
_muster muster '' {words.split()[-1]}; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash"], input=ask, capture_output=True, text=True, timeout=30, env=box.clean_env(), cwd=tmp_path)
    assert expected <= set(result.stdout.split()), result

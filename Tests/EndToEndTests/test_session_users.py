"""Sessions as another real user of the machine, and within PAM: root, useradd and /etc/pam.d are needed, and given back."""

import ctypes.util
import grp
import json
import os
import pathlib
import pwd
import shutil
import subprocess

import pytest

from conftest import Sandbox, eventually
from shells import Shell, ended, hosts, processes, shell

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("useradd"), reason="needs root and useradd, to make a user")
SERVICES = pathlib.Path("/etc/pam.d")


class Account:
    """A user of the machine for the time of these tests, in two groups beside its own."""

    def __init__(self, mark):
        self.name, self.groups = f"muster-u{mark}", [f"muster-a{mark}", f"muster-b{mark}"]
        try:
            for group in self.groups:
                subprocess.run(["groupadd", group], check=True, capture_output=True)
            subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "--groups", ",".join(self.groups), self.name], check=True, capture_output=True)
        except (subprocess.CalledProcessError, OSError) as error:
            self.remove()
            pytest.skip(f"this machine lets nobody make a user: {error}")
        self.entry = pwd.getpwnam(self.name)
        self.ids = sorted([self.entry.pw_gid, *(grp.getgrnam(group).gr_gid for group in self.groups)])

    def remove(self):
        subprocess.run(["userdel", "--remove", self.name], capture_output=True)
        for group in self.groups:
            subprocess.run(["groupdel", group], capture_output=True)


@pytest.fixture(scope="module")
def account():
    made = Account(f"{os.getpid()}")
    yield made
    eventually(lambda: subprocess.run(["pgrep", "-u", made.name], capture_output=True).returncode == 1, what="the end of the user's processes")
    made.remove()
    with pytest.raises(KeyError):
        pwd.getpwnam(made.name)


@pytest.fixture(scope="module")
def box(tmp_path_factory, account):
    made = Sandbox(tmp_path_factory.mktemp("users") / "s", 1, agent={"MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": account.name})
    yield made
    made.down()


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


def document(box, name, **content):
    box.client().create_document(Name=name, DocumentType="Session", Content=json.dumps({"schemaVersion": "1.0", **content}))
    return name


def sets_login_user():
    """Whether this kernel lets a process be given a login user, as it does once for each."""
    process = subprocess.run(["sh", "-c", "echo 1234 > /proc/self/loginuid && cat /proc/self/loginuid"], capture_output=True, text=True)
    return process.stdout.strip() == "1234"


def leave(s):
    s.stream(b"exit\r")
    s.over()
    eventually(lambda: not processes(s.id), what="the end of its processes")


def test_a_login_shell_of_somebody_else(box, node, account):
    s = shell(box, node)
    user = account.entry
    assert s.ask("echo $0; tr '\\0' '\\n' < /proc/$$/cmdline").split() == ["-bash", "-bash"]
    assert s.ask("id -un; id -u; id -g").split() == [account.name, str(user.pw_uid), str(user.pw_gid)]
    assert sorted(map(int, s.ask("id -G").split())) == account.ids
    assert s.ask("pwd; echo $HOME $SHELL $USER $LOGNAME").split() == [user.pw_dir, user.pw_dir, "/bin/bash", account.name, account.name]
    # In all four ways, and without a way back.
    status = dict(line.split(":", 1) for line in s.ask("cat /proc/self/status").splitlines() if ":" in line)
    assert status["Uid"].split() == [str(user.pw_uid)] * 4 and status["Gid"].split() == [str(user.pw_gid)] * 4
    assert {status[name].strip().strip("0") for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {""}
    assert "ermission" in s.ask("cat /etc/shadow 2>&1") and "ermission" in s.ask(f"ls {box.directory}/agent-0 2>&1")
    # The terminal is its own, as after login(1).
    tty = s.ask("tty").strip()
    info = os.stat(tty)
    assert info.st_uid == user.pw_uid and info.st_mode & 0o777 == 0o620 and grp.getgrgid(info.st_gid).gr_name == "tty"
    # Nothing of the agent: no variable, no descriptor, no ignored signal.
    names = {line.split("=")[0] for line in s.ask("env").splitlines() if "=" in line}
    assert {n for n in names if n.startswith(("MUSTER_", "AWS_", "XDG_"))} == {"MUSTER_SESSION_ID", "AWS_SSM_SESSION_ID"}
    assert set(s.ask("command ls /proc/$$/fd").split()) <= {"0", "1", "2", "255"}
    assert int(s.ask("sed -n 's/^SigBlk:\\t//p' /proc/$$/status").split()[-1], 16) in (0, 1 << 16)
    if sets_login_user():
        assert s.ask("cat /proc/self/loginuid; echo").split() == [str(user.pw_uid)]
    # Its files are its own.
    assert s.ask("umask; touch ~/made; stat -c %U:%G ~/made").split() == ["0022", f"{account.name}:{account.name}"]
    leave(s)


@pytest.mark.parametrize("name", ["AWS-StartInteractiveCommand", "AWS-StartNonInteractiveCommand"])
def test_commands_of_somebody_else(box, node, account, name):
    s = Shell(box, node, name, command="sh -c 'id -un; id -G; pwd; cat /proc/self/loginuid'")
    s.over()
    words = s.seen.decode().split()
    assert words[0] == account.name and sorted(map(int, words[1:4])) == account.ids and words[4] == account.entry.pw_dir
    if sets_login_user():
        assert words[5] == str(account.entry.pw_uid)


def test_a_home_that_is_not_there(box, node, account):
    """A shell in / is better than none."""
    home = pathlib.Path(account.entry.pw_dir)
    away = home.with_name(home.name + ".away")
    home.rename(away)
    try:
        s = shell(box, node)
        assert s.ask("pwd").strip() == "/"
        leave(s)
    finally:
        away.rename(home)


def test_root_only_where_the_node_says_so(box, node):
    """Who may write documents does not become root by it."""
    for name, content in {
        "As-Root": {"sessionType": "Standard_Stream", "inputs": {"runAsEnabled": True, "runAsDefaultUser": "root"}},
        "Elevated": {"sessionType": "InteractiveCommands", "properties": {"linux": {"commands": "id", "runAsElevated": True}}},
        "Toor": {"sessionType": "Standard_Stream", "inputs": {"runAsEnabled": True, "runAsDefaultUser": "no-such-user"}},
    }.items():
        s = Shell(box, node, document(box, name, **content))
        s.over()
        row = ended(box, s.id)
        assert row["Status"] == "Failed" and ("does not exist" if name == "Toor" else "sessionRunAsDefault") in row["Details"], row
        assert not s.seen


def test_the_document_names_somebody(box, node):
    """Before the node's own default, and the node's tag before the document."""
    name = document(box, "As-Nobody", sessionType="Standard_Stream", inputs={"runAsEnabled": True, "runAsDefaultUser": "nobody"})
    s = Shell(box, node, name)
    s.over()
    # Its shell is nologin, which says so and ends: nobody got a shell as somebody else.
    assert b"not available" in s.seen
    ssm = box.client()
    ssm.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "SSMSessionRunAs", "Value": "muster-nobody-has-this-name"}])
    try:
        s = Shell(box, node, name)
        s.over()
        assert "muster-nobody-has-this-name" in ended(box, s.id)["Details"]
    finally:
        ssm.remove_tags_from_resource(ResourceType="ManagedInstance", ResourceId=node, TagKeys=["SSMSessionRunAs"])


# PAM

@pytest.fixture(scope="module")
def pam(tmp_path_factory):
    """A service of our own; `log` is what its modules were called for."""
    if not ctypes.util.find_library("pam"):
        pytest.skip("there is no libpam on this machine")
    modules = [m for d in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") for m in pathlib.Path(d).glob("**/security/pam_exec.so")]
    if not modules:
        pytest.skip("PAM's modules are not installed")
    folder = tmp_path_factory.mktemp("pam")
    log, hook, variables = folder / "log", folder / "hook", folder / "environment"
    hook.write_text(f'#!/bin/sh\necho "$PAM_TYPE $PAM_SERVICE $PAM_USER $PAM_TTY $(id -u) $MUSTER_SESSION_ID" >> {log}\n')
    hook.chmod(0o755)
    variables.write_text("XDG_DATA_HOME=/from/pam\nLANG=de_DE.UTF-8\nPATH=/usr/bin:/bin:/from/pam\nMUSTER_SESSION_ID=stolen\n")
    service = SERVICES / f"muster-test-{os.getpid()}"

    class PAM:
        name = service.name

        @staticmethod
        def account(module):
            service.write_text(f"account required {module}\nsession required pam_exec.so {hook}\n"
                               f"session required pam_env.so conffile=/dev/null readenv=1 envfile={variables}\nsession required pam_limits.so conf={folder}/limits\n")

        @staticmethod
        def calls():
            return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    (folder / "limits").write_text("* soft nofile 777\n* hard nofile 888\n")
    try:
        PAM.account("pam_permit.so")
    except OSError as error:
        pytest.skip(f"{SERVICES} cannot be written: {error}")
    yield PAM
    service.unlink()


@pytest.fixture(scope="module")
def within(tmp_path_factory, account, pam):
    made = Sandbox(tmp_path_factory.mktemp("within") / "s", 1, agent={
        "MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": account.name, "MUSTER_AGENT_SESSION_PAM_SERVICE": pam.name})
    yield made
    made.down()


@pytest.fixture
def calls(pam):
    """Those of this test."""
    before = len(pam.calls())
    return lambda: pam.calls()[before:]


def test_pam_opens_and_closes_the_session(within, account, pam, calls):
    s = shell(within, within.nodes()[0])
    tty = s.ask("tty").strip()
    opened = calls()
    assert [c[:4] for c in opened] == [["open_session", pam.name, account.name, tty]] or [c[:4] for c in opened] == [
        ["open_session", pam.name, account.name, tty.removeprefix("/dev/")]], opened
    assert opened[0][4] == "0", "its modules are root's"
    # It is still the user's own shell, within the limits that PAM has set, and with what it says of the environment.
    assert s.ask("id -un; echo $0; ulimit -Sn; ulimit -Hn; echo $XDG_DATA_HOME").split() == [account.name, "-bash", "777", "888", "/from/pam"]
    assert sorted(map(int, s.ask("id -G").split())) == account.ids
    s.stream(b"exit 3\r")
    assert s.over()["ExitCode"] == 3
    closed = eventually(lambda: calls()[1:], what="the end of the PAM session")
    assert [c[:3] for c in closed] == [["close_session", pam.name, account.name]]


def test_the_environment_has_each_name_once(within):
    """PAM's values take the place of ours, as with login(1); the session's id is not PAM's to say."""
    s = shell(within, within.nodes()[0])
    pairs = [line.split("=", 1) for line in s.ask("tr '\\0' '\\n' < /proc/$$/environ").splitlines() if "=" in line]
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), sorted(names)
    values = dict(pairs)
    assert values["LANG"] == "de_DE.UTF-8" and values["PATH"] == "/usr/bin:/bin:/from/pam" and values["XDG_DATA_HOME"] == "/from/pam"
    assert values["MUSTER_SESSION_ID"] == values["AWS_SSM_SESSION_ID"] == s.id
    leave(s)


def test_pam_closes_whatever_ends_the_session(within, calls):
    """Also when the host of the sessions is killed: its launchers close what they have opened."""
    s = shell(within, within.nodes()[0])
    within.client().terminate_session(SessionId=s.id)
    s.over()
    eventually(lambda: [c[0] for c in calls()] == ["open_session", "close_session"], what="the end of the PAM session")
    s = shell(within, within.nodes()[0])
    (host,) = hosts(within)
    os.kill(host, 9)
    eventually(lambda: [c[0] for c in calls()] == ["open_session", "close_session"] * 2, what="the end of the PAM session")
    eventually(lambda: not processes(s.id), what="the end of its processes")
    ended(within, s.id, 60)


def test_commands_are_within_pam_too(within, account, calls):
    s = Shell(within, within.nodes()[0], "AWS-StartNonInteractiveCommand", command="sh -c 'id -un; ulimit -n; echo $XDG_DATA_HOME'")
    s.over()
    assert s.seen.decode().split() == [account.name, "777", "/from/pam"]
    eventually(lambda: [c[0] for c in calls()] == ["open_session", "close_session"], what="both calls")


def test_an_account_that_pam_refuses(within, account, pam, calls):
    pam.account("pam_deny.so")
    try:
        s = Shell(within, within.nodes()[0])
        s.over()
        row = ended(within, s.id)
        assert f"PAM service {pam.name} refuses the account of {account.name}" in row["Details"], row
        assert not calls() and not s.seen
    finally:
        pam.account("pam_permit.so")

"""Users, groups, keys and policies over the network with `muster`, and a colleague who gets shells on some nodes in one step."""

import json
import os
import pwd
import re
import subprocess

import pytest

from conftest import BIN, muster

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def box(make_sandbox):
    """Two nodes, web and db."""
    box = make_sandbox(2)
    box.web, box.db = box.nodes()
    for node, role in ((box.web, "web"), (box.db, "db")):
        box.client().add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=[{"Key": "role", "Value": role}, {"Key": "Name", "Value": role + "1"}])
    return box


def json_of(box, *arguments):
    return json.loads(box.muster(*arguments, "-o", "json").stdout)


class Colleague:
    """Somebody with the lines that a grant printed, and nothing else of the administrator's."""

    def __init__(self, box, printed, home):
        self.home = home
        self.home.mkdir()
        key = re.search(r"aws_access_key_id = (\S+)\naws_secret_access_key = (\S+)", printed.stdout)
        login = re.search(r"^  (muster login .*)$", printed.stderr, re.MULTILINE)
        assert key and login and key[2] not in login[1] and f"--access-key-id {key[1]}" in login[1], printed
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != "SSL_CERT_FILE"}
        self.env["HOME"] = str(home)
        done = subprocess.run([str(BIN / "muster"), *login[1].split()[1:]], env=self.env, input=key[2] + "\n", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert key[2] not in done.stdout + done.stderr

    def muster(self, *arguments, input=""):
        return subprocess.run([str(BIN / "muster"), *arguments], env=self.env, input=input, capture_output=True, text=True, timeout=60)

    def refused(self, *arguments):
        done = self.muster(*arguments)
        assert done.returncode == 2 and "not authorized" in done.stderr, (arguments, done)


def test_one_step_to_a_shell_on_exactly_the_tagged_nodes(box, tmp_path):
    printed = box.muster("grant", "shell", "alice", "--on", "tag:role=web", "--reason")
    assert '"ssm:resourceTag/role": "web"' in printed.stdout and "1 node at the moment: web1" in printed.stderr
    alice = Colleague(box, printed, tmp_path / "alice")
    # By name and by id.
    for word in ("web1", box.web):
        shell = alice.muster("shell", word, "--reason", "OPS-12", input="echo $((6*7))-here\nexit 3\n")
        assert shell.returncode == 3 and "42-here" in shell.stdout, shell
    why = ("--reason", "OPS-12")
    alice.refused("shell", "web1")
    alice.refused("shell", "db1", *why)
    alice.refused("exec", *why, "web1", "--", "id")
    alice.refused("forward", *why, "web1", "0:22")
    alice.refused("run", "--target", "tag:role=web", "--", "id")
    alice.refused("user")
    alice.refused("key", "create", "alice")
    alice.refused("tag", box.db, "role=web")
    alice.refused("commands")
    # Once more is the same, and makes no second key.
    again = box.muster("grant", "shell", "alice", "--on", "tag:role=web", "--hours", "daily 00:00-24:00 UTC", "--with", "exec")
    assert "aws_secret_access_key" not in again.stdout
    listed = json_of(box, "grant", "list", "alice")
    assert [(g["PolicyName"], g["What"], g["On"], g["Hours"]) for g in listed] == [
        ("grant-shell-role-web", "shell, exec", "tag:role=web", "daily 00:00-24:00 UTC")]
    assert alice.muster("exec", "web1", "--", "echo", "hello").stdout == "hello\n"
    alice.refused("exec", "db1", "--", "id")
    alice.refused("forward", "web1", "0:22")
    # Forwarding on db gives nothing more on web, nor the other way round.
    box.muster("grant", "shell", "alice", "--on", "db1", "--with", "forward")
    alice.refused("forward", "web1", "0:22")
    alice.refused("exec", "db1", "--", "id")
    box.muster("grant", "revoke", "alice", "grant-shell-role-web")
    alice.refused("shell", "web1")
    box.muster("grant", "revoke", "alice", "--all")
    alice.refused("shell", "db1")
    assert json_of(box, "grant", "list") == []
    box.muster("user", "delete", "alice", "--yes")
    assert "alice" not in box.muster("user").stdout


def test_commands_on_the_tagged_nodes_and_nobody_elses_results(box, tmp_path):
    bob = Colleague(box, box.muster("grant", "run", "bob", "--on", "tag:role=web"), tmp_path / "bob")
    done = bob.muster("run", "--target", "tag:role=web", "--", "echo run-by-bob")
    assert done.returncode == 0 and "run-by-bob" in done.stdout, done
    bob.refused("run", "--target", "tag:role=db", "--", "id")
    bob.refused("run", "--all", "--yes", "--", "id")
    bob.refused("shell", "web1")
    bob.refused("commands")
    other = box.send("echo secret", [box.web])
    box.finished(other)
    bob.refused("command", other)
    bob.refused("command", other, "--output-of", box.web)
    # Of a command that there is he hears what he hears of none.
    gone = "11111111-1111-4111-8111-111111111111"
    assert bob.muster("command", other).stderr.replace(other, gone) == bob.muster("command", gone).stderr
    box.muster("user", "delete", "bob", "--yes")


def test_whom_the_shells_run_as_is_part_of_the_grant(box, tmp_path):
    """Run-as is off at first: turning it on is asked about, and without a yes nothing is changed."""
    asked = box.muster("grant", "shell", "carol", "--on", "tag:role=web", "--as", ME, check=False)
    assert asked.returncode == 2 and "run-as" in asked.stderr and "--yes" in asked.stderr and "nothing was changed" in asked.stderr
    assert "carol" not in box.muster("user").stdout
    printed = box.muster("grant", "shell", "carol", "--on", "tag:role=web", "--as", ME, "--yes")
    carol = Colleague(box, printed, tmp_path / "carol")
    shell = carol.muster("shell", "web1", input="id -un\nexit\n")
    assert shell.returncode == 0 and ME in shell.stdout, shell
    # Without the tag, or with another, she has no shell: never one as somebody else.
    box.muster("user", "tag", "carol", "SSMSessionRunAs=nobody")
    carol.refused("shell", "web1")
    box.muster("user", "untag", "carol", "SSMSessionRunAs")
    assert carol.muster("shell", "web1").returncode == 2
    box.client().delete_document(Name="SSM-SessionManagerRunShell")
    carol.refused("shell", "web1")
    box.muster("user", "delete", "carol", "--yes")


def test_a_dry_run_changes_nothing_and_what_is_not_understood_is_refused(box):
    dry = box.muster("grant", "shell", "dave", "--on", "tag:role=web", "--dry-run")
    assert json.loads(dry.stdout)["Statement"] and "Nothing is changed" in dry.stderr
    for bad in (("--on", "tag:role=web", "--hours", "always"), ("--on", "role=web"), ("--on", "nothere"), ("--on", "tag:a=1", "--on", "web1"), ()):
        done = box.muster("grant", "shell", "dave", *bad, check=False)
        assert done.returncode != 0 and done.stderr, bad
    assert "dave" not in box.muster("user").stdout and box.muster("grant", "list", "-o", "json").stdout == "[]\n"
    assert "no node at the moment" in box.muster("grant", "shell", "dave", "--on", "tag:role=typo", "--no-key").stderr
    box.muster("user", "delete", "dave", "--yes")


def test_users_groups_keys_and_policies_over_the_network(box, tmp_path):
    file = tmp_path / "may.json"
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:ListDocuments", "Resource": "*"}]}))
    box.muster("group", "create", "support")
    assert "attach" in box.muster("policy", "put", "may", file).stderr
    assert "counts from the next call" in box.muster("policy", "put", "may", file).stderr
    box.muster("policy", "attach", "may", "--group", "support")
    assert json.loads(box.muster("policy", "show", "may").stdout) == json.loads(file.read_text()) == json_of(box, "policy", "show", "may")
    box.muster("user", "create", "eve", "--group", "support", "--tag", "team=b=c")
    key = json_of(box, "key", "create", "eve")
    assert key["Login"].endswith(f"--access-key-id {key['AccessKeyId']}") and key["SecretAccessKey"] not in key["Login"]
    eve = next(u for u in json_of(box, "user") if u["UserName"] == "eve")
    assert (eve["Groups"], eve["Tags"], [k["Status"] for k in eve["AccessKeys"]]) == (["support"], [{"Key": "team", "Value": "b=c"}], ["Active"])
    assert json_of(box, "group") == [{**json_of(box, "group")[0], "GroupName": "support", "Users": ["eve"], "AttachedPolicies": ["may"]}]
    assert [p["PolicyName"] for p in json_of(box, "policy")] == ["AdministratorAccess", "may"]
    box.muster("key", "deactivate", key["AccessKeyId"])
    assert f"{key['AccessKeyId']} (off)" in box.muster("user").stdout
    box.muster("key", "activate", key["AccessKeyId"])
    box.muster("key", "delete", key["AccessKeyId"])
    assert "support" in box.muster("user", "list", "-o", "csv").stdout and "UserName: eve" in box.muster("user", "-o", "yaml").stdout
    # What is lost with it is said, and asked about.
    asked = box.muster("group", "delete", "support", check=False)
    assert asked.returncode == 2 and "eve" in asked.stderr and "--yes" in asked.stderr
    box.muster("group", "remove", "support", "eve")
    box.muster("group", "add", "support", "eve")
    box.muster("group", "delete", "support", "--yes")
    box.muster("policy", "delete", "may")
    box.muster("user", "delete", "eve", "--yes")
    # Oneself, and what is not there.
    assert "you" in box.muster("user", "delete", "administrator", "--yes", check=False).stderr
    for missing in (("user", "delete", "nobody", "--yes"), ("policy", "show", "nothing"), ("key", "delete", "AKIAAAAAAAAAAAAAAAAA")):
        assert box.muster(*missing, check=False).returncode == 2

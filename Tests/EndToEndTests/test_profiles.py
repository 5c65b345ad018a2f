"""Profiles whose credentials have to be asked for: a role, a program, and what is not served."""

import json
import subprocess

import pytest
from conftest import BIN


@pytest.fixture(scope="module")
def home(sandbox, tmp_path_factory):
    """A member of `readers`, who may do everything by another group, in profiles of all kinds."""
    iam = sandbox.client("iam")
    for group, action in (("readers", "ssm:DescribeInstanceInformation"), ("writers", "ssm:*")):
        iam.create_group(GroupName=group)
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
        iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=json.dumps(document))
    iam.create_user(UserName="rita")
    for group in ("readers", "writers"):
        iam.add_user_to_group(GroupName=group, UserName="rita")
    key = iam.create_access_key(UserName="rita")["AccessKey"]
    home = tmp_path_factory.mktemp("home")
    (home / ".aws").mkdir()
    printed = {"Version": 1, "AccessKeyId": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"]}
    (home / "printed.json").write_text(json.dumps(printed))
    (home / ".aws" / "config").write_text(f"""[default]
[profile base]
aws_access_key_id = {key["AccessKeyId"]}
aws_secret_access_key = {key["SecretAccessKey"]}
[profile reader]
aws_access_key_id = {key["AccessKeyId"]}
aws_secret_access_key = {key["SecretAccessKey"]}
role_arn = arn:aws:iam::000000000001:role/readers
source_profile = base
[profile program]
credential_process = cat {home}/printed.json
[profile broken]
credential_process = echo {key["SecretAccessKey"]}
[profile sso]
aws_access_key_id = {key["AccessKeyId"]}
aws_secret_access_key = {key["SecretAccessKey"]}
sso_session = x
""")
    (home / "secret").write_text(key["SecretAccessKey"])
    return home


def call(sandbox, home, *arguments):
    environment = {k: v for k, v in sandbox.clean_env().items() if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return subprocess.run([str(BIN / "muster"), *arguments], env={**environment, "HOME": str(home)}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)


def test_a_role_of_a_profile_is_assumed(sandbox, home):
    """With the raw key the command would run: rita is a writer too."""
    assert call(sandbox, home, "run", "--profile", "base", "--node", "agent-0", "--", "true").returncode == 0
    assert call(sandbox, home, "nodes", "--profile", "reader").returncode == 0
    refused = call(sandbox, home, "run", "--profile", "reader", "--node", "agent-0", "--", "true")
    assert refused.returncode == 2 and "assumed-role/readers" in refused.stderr and "ssm:SendCommand" in refused.stderr, refused.stderr


def test_a_program_prints_credentials(sandbox, home):
    assert call(sandbox, home, "nodes", "--profile", "program").returncode == 0
    broken = call(sandbox, home, "nodes", "--profile", "broken")
    assert broken.returncode == 2 and "credential_process" in broken.stderr and (home / "secret").read_text() not in broken.stderr


def test_what_is_not_served_is_refused_by_name(sandbox, home):
    refused = call(sandbox, home, "nodes", "--profile", "sso")
    assert refused.returncode == 2 and "sso_session" in refused.stderr

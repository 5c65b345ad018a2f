"""Users of a sandbox, made through IAM's API, and what the audit trail says of them."""

import datetime
import json
import sqlite3
import subprocess
import urllib.error
import urllib.request
import ssl

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

from conftest import BIN


def client(sandbox, service, key, validate=True):
    """`key` is (id, secret) or (id, secret, token)."""
    config = botocore.config.Config(retries={"max_attempts": 0, "mode": "standard"}, connect_timeout=10, read_timeout=30,
                                    parameter_validation=validate)
    return boto3.client(service, endpoint_url=sandbox.env["AWS_ENDPOINT_URL"], verify=sandbox.env["AWS_CA_BUNDLE"],
                        aws_access_key_id=key[0], aws_secret_access_key=key[1], aws_session_token=key[2] if len(key) > 2 else None,
                        region_name=sandbox.env["AWS_DEFAULT_REGION"], config=config)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


class User:
    """A user with one key, and inline policies by name."""

    def __init__(self, sandbox, name, **policies):
        self.sandbox, self.name, self.iam = sandbox, name, sandbox.client("iam")
        self.iam.create_user(UserName=name)
        self.key = self.new_key()
        for policy_name, document in policies.items():
            self.put(policy_name, document)

    def new_key(self):
        key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def put(self, name, document):
        self.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=document)

    def drop(self, name):
        self.iam.delete_user_policy(UserName=self.name, PolicyName=name)

    def client(self, service="ssm", **options):
        return client(self.sandbox, service, self.key, **options)

    def delete(self):
        local(self.sandbox, "user", "delete", self.name)


def local(sandbox, *arguments, check=True):
    """`muster-controller` on the sandbox's data directory, while its controller runs."""
    result = subprocess.run([str(BIN / "muster-controller"), *map(str, arguments), "--data-dir", str(sandbox.directory / "controller")],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def refused(call, *arguments, **keywords):
    """The words of an AccessDeniedException."""
    try:
        call(*arguments, **keywords)
    except botocore.exceptions.ClientError as failure:
        assert failure.response["Error"]["Code"] in ("AccessDeniedException", "AccessDenied"), failure.response["Error"]
        return failure.response["Error"]["Message"]
    raise AssertionError("it was allowed")


def denials(sandbox, user):
    """(operation, record) of what this user was denied, newest first. The record is text: what it holds is looked for."""
    database = sqlite3.connect(f"file:{sandbox.directory}/controller/controller.sqlite?mode=ro", uri=True)
    try:
        return database.execute("SELECT operation, record FROM audit_events WHERE outcome = 'denied' AND caller LIKE ? ORDER BY sequence DESC",
                                (f"%:user/{user}",)).fetchall()
    finally:
        database.close()


def raw(sandbox, method, path, key=None, target=None, form=None, body=b"", certificate=None, service="ssm"):
    """(status, text) of one request that no client library would make."""
    url = sandbox.env["AWS_ENDPOINT_URL"] + path
    headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/x-amz-json-1.1"}
    if target:
        headers["X-Amz-Target"] = target
    data = form.encode() if form else body
    request = botocore.awsrequest.AWSRequest(method=method, url=url, data=data, headers=headers)
    if key:
        region = "us-east-1" if service == "iam" else sandbox.env["AWS_DEFAULT_REGION"]
        botocore.auth.SigV4Auth(botocore.credentials.Credentials(*key), service, region).add_auth(request)
    context = ssl.create_default_context(cafile=sandbox.env["AWS_CA_BUNDLE"])
    if certificate:
        context.load_cert_chain(certificate)
    prepared = urllib.request.Request(url, data=data if method != "GET" else None, headers=dict(request.headers), method=method)
    try:
        with urllib.request.urlopen(prepared, context=context, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def window(start, end):
    """A `muster:TimeWindow` in Tokyo, from so many minutes from now to so many."""
    now = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=9)))

    def at(minutes):
        return (now + datetime.timedelta(minutes=minutes)).strftime("%H:%M")

    return f"daily {at(start)}-{at(end)} Asia/Tokyo"

"""Sandboxes of real processes for the end-to-end and conformance tests."""

import os
import pathlib
import shlex
import signal
import subprocess
import time

import boto3
import botocore.config
import pytest

BIN = pathlib.Path(os.environ.get("MUSTER_BIN", pathlib.Path(__file__).parents[1] / ".build" / "debug"))


def pytest_configure(config):
    # A shell starts what runs in the background, and nohup everything, with these ignored; what is tested would go on ignoring them.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    config.addinivalue_line("markers", "soak: takes minutes; runs with MUSTER_SOAK=1 only (make soak)")


def pytest_collection_modifyitems(items):
    if os.environ.get("MUSTER_SOAK") != "1":
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="a soak test: MUSTER_SOAK=1"))


def muster(*arguments, env=None, check=True, timeout=120, stdin=subprocess.DEVNULL):
    """Runs the `muster` binary and returns the completed process; fails the test with its words if it fails."""
    result = subprocess.run(
        [str(BIN / "muster"), *map(str, arguments)],
        env={**os.environ, **(env or {})}, stdin=stdin, capture_output=True, text=True, timeout=timeout,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"muster {' '.join(map(str, arguments))} ended {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def eventually(condition, timeout=30, every=0.02, what="the condition"):
    """Waits for something another process does and this one cannot await. Returns the first true value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(every)


class Sandbox:
    def __init__(self, directory, agents, up=True, transport=os.environ.get("MUSTER_TRANSPORT"), agent=None, controller=None):
        """`agent` and `controller` are settings by their environment variables; MUSTER_TRANSPORT=poll makes all agents poll."""
        self.directory = pathlib.Path(directory)
        if up:
            options = ["--transport", transport] if transport else []
            options += [f"--agent-env={k}={v}" for k, v in (agent or {}).items()]
            options += [f"--controller-env={k}={v}" for k, v in (controller or {}).items()]
            muster("sandbox", "up", "--dir", self.directory, "--agents", agents, *options, timeout=180)
        self.load()

    def load(self):
        self.env = {}
        for line in (self.directory / "env").read_text().splitlines():
            assert line.startswith("export "), line
            name, value = shlex.split(line[len("export "):])[0].split("=", 1)
            self.env[name] = value

    def client(self, service="ssm", retries=0, **settings):
        config = botocore.config.Config(retries={"max_attempts": retries, "mode": "standard"},
                                        connect_timeout=10, read_timeout=30, **settings)
        return boto3.client(
            service, endpoint_url=self.env["AWS_ENDPOINT_URL"], verify=self.env["AWS_CA_BUNDLE"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"], config=config,
        )

    def clean_env(self):
        """The environment of a stranger: none of the machine's AWS settings, only what `env` exports."""
        base = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and k != "SSL_CERT_FILE"}
        return {**base, **self.env, "HOME": str(self.directory)}

    def aws(self, *arguments, check=True, service="ssm"):
        aws = pathlib.Path(os.environ.get("VIRTUAL_ENV", pathlib.Path(__file__).parents[1] / ".venv")) / "bin" / "aws"
        result = subprocess.run([str(aws) if aws.exists() else "aws", service, *map(str, arguments)],
                                env=self.clean_env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if check and result.returncode != 0:
            raise AssertionError(f"aws {service} {arguments} ended {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def muster(self, *arguments, check=True, timeout=120):
        return muster(*arguments, env=self.env, check=check, timeout=timeout)

    def control(self, verb, what):
        muster("sandbox", verb, what, "--dir", self.directory)

    @property
    def pids(self):
        return {name: int(pid) for name, pid in (line.split() for line in (self.directory / "pids").read_text().splitlines())}

    def kill(self, what, number=signal.SIGKILL):
        """Kills a process of the sandbox and returns once it is gone."""
        pid = self.pids[what]
        os.kill(pid, number)
        eventually(lambda: not alive(pid), what=f"the end of {what}")

    def restart(self, what, kill=False):
        """Ends a process, in order or with SIGKILL, and starts it again; what was killed, once those at the other end have noticed."""
        if not kill:
            return self.control("restart", what)
        if what == "controller":
            log = self.directory / "logs" / "agent-0.log"
            before = len(log.read_bytes())
            self.kill(what)
            eventually(lambda: b"controller closed the connection" in (words := log.read_bytes()[before:])
                       or b"no connection to the controller" in words, what="an agent that misses its controller")
        else:
            node = self.nodes()[int(what.removeprefix("agent-"))]
            self.kill(what)
            eventually(lambda: self.client().get_connection_status(Target=node)["Status"] == "notconnected", what=f"the news of {what}'s end")
        self.control("start", what)

    def nodes(self):
        """Node ids by index, as the tags say."""
        ssm, found = self.client(), {}
        for page in ssm.get_paginator("describe_instance_information").paginate():
            for node in page["InstanceInformationList"]:
                tags = ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node["InstanceId"])["TagList"]
                found[int({t["Key"]: t["Value"] for t in tags}["index"])] = node["InstanceId"]
        return [found[i] for i in sorted(found)]

    def send(self, commands, nodes=None, **arguments):
        ssm = self.client()
        if nodes is not None:
            arguments["InstanceIds"] = nodes
        return ssm.send_command(DocumentName="AWS-RunShellScript", Parameters={"commands": commands if isinstance(commands, list) else [commands]},
                                **arguments)["Command"]["CommandId"]

    def invocations(self, command, details=True):
        ssm, found = self.client(), {}
        for page in ssm.get_paginator("list_command_invocations").paginate(CommandId=command, Details=details):
            found.update({i["InstanceId"]: i for i in page["CommandInvocations"]})
        return found

    def finished(self, command, timeout=60):
        """Waits until the command has ended and returns it."""
        ssm = self.client()

        def ended():
            c = ssm.list_commands(CommandId=command)["Commands"][0]
            return c if c["Status"] not in ("Pending", "InProgress", "Cancelling") else None

        try:
            return eventually(ended, timeout, every=0.05, what=f"the end of command {command}")
        except AssertionError as failure:
            raise AssertionError(f"{failure}; {ssm.list_commands(CommandId=command)['Commands']} {self.invocations(command)}") from None

    def run(self, commands, nodes=None, timeout=60, **arguments):
        command = self.send(commands, nodes, **arguments)
        return self.finished(command, timeout), self.invocations(command)

    def down(self):
        muster("sandbox", "down", "--dir", self.directory)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False  # the second one when it ends between opening and reading


def descendants(pid):
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                children.setdefault(int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
        except OSError:
            pass
    found, look = [], [pid]
    while look:
        new = children.get(look.pop(), [])
        found += new
        look += new
    return found


@pytest.fixture(scope="module")
def make_sandbox(tmp_path_factory):
    """Sandboxes of one module, which end with it: what is up takes time from what is tested."""
    made = []

    def make(agents, **options):
        sandbox = Sandbox(tmp_path_factory.mktemp("sandbox") / "s", agents, **options)
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        sandbox.down()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """Five agents shared by all tests that leave them as they were."""
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox") / "s", 5)
    yield sandbox
    sandbox.down()


@pytest.fixture
def ssm(sandbox):
    return sandbox.client()


@pytest.fixture(scope="session")
def nodes(sandbox):
    return sandbox.nodes()

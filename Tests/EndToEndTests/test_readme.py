"""The README and the documented ways back, word by word: their commands are read out of the files and run.

What a test may not do to its machine is stood in for by small programs: systemctl starts the program that the unit names, runuser and useradd let
things be, and the controller's configuration file is the test's. Paths below /var/lib and /etc lead to a folder of the test, and the controller's name and port are this machine's.
"""

import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess

import pytest

from conftest import BIN, eventually

ROOT = pathlib.Path(__file__).parents[2]
ME = pwd.getpwuid(os.getuid()).pw_name
SYSTEMCTL = """#!/bin/sh
# systemctl enable --now UNIT
case "$3" in
muster-controller) exec setsid "$BIN/muster-controller" serve --config "$PLACE/etc/muster/controller.json5" >"$PLACE/controller.log" 2>&1 & ;;
muster-agent) exec setsid muster-agent run --config "$PLACE/etc/muster/agent.json5" >"$MUSTER_AGENT_STATE_DIRECTORY.log" 2>&1 & ;;
*) exit 5 ;;
esac
echo $! >>"$PLACE/pids"
"""


def blocks(file, mark="# "):
    """The commands of each block of shell that begins with a comment, by that comment."""
    found = {}
    for block in re.findall(r"^```sh\n(.*?)^```$", (ROOT / file).read_text(), re.MULTILINE | re.DOTALL):
        first, _, rest = block.partition("\n")
        if first.startswith(mark):
            found.setdefault(first.removeprefix(mark), []).append(rest)
    return found


class Machine:
    """Where the README is followed."""

    def __init__(self, place):
        self.place, self.blocks = place, blocks("README.md")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for folder in ("bin", "etc/muster", "var/lib", "home/operator", "home/alice", "home/bob"):
            (place / folder).mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("runuser", '#!/bin/sh\nshift 3\nexec "$@"\n'), ("useradd", "#!/bin/sh\n"),
                           ("install", '#!/bin/sh\nfor last; do :; done\nmkdir -p -m 0700 "$last"\n'), ("make", "#!/bin/sh\n"),
                           ("muster-controller", f'#!/bin/sh\nexec "$BIN/muster-controller" "$@" --config "$PLACE/etc/muster/controller.json5"\n')):
            (place / "bin" / name).write_text(text)
            (place / "bin" / name).chmod(0o755)
        for name in ("controller-config/controller.json5", "agent-config/agent.json5"):
            text = (ROOT / name).read_text().replace("8443", str(self.port)).replace("/var/lib/", f"{place}/var/lib/")
            (place / "etc" / "muster" / pathlib.Path(name).name).write_text(text)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MUSTER_")) and name != "SSL_CERT_FILE"}
        self.env |= {"PATH": f"{place}/bin:{BIN}:{ROOT}/.venv/bin:{self.env['PATH']}", "PLACE": str(place), "BIN": str(BIN),
                     "MUSTER_CONTROLLER_DATA_DIRECTORY": f"{place}/var/lib/muster-controller"}

    def run(self, text, home="operator", input="", check=True, **env):
        text = text.replace("/var/lib/", f"{self.place}/var/lib/").replace("/etc/muster", f"{self.place}/etc/muster")
        text = text.replace("controller.example.org", "localhost").replace("deploy", ME)
        done = subprocess.run(["bash", "-ec", text], env={**self.env, "HOME": f"{self.place}/home/{home}", **env}, input=input, cwd=ROOT,
                              capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, (text, done.stdout, done.stderr)
        return done

    def operator(self, text, **more):
        first = self.blocks["as the operator, who has been given the folder first-operator (it is a secret)"][0].splitlines()[0]
        return self.run(f"{first}\n{text}", **more)

    def login(self, printed, home):
        """Somebody types the line that was printed, and the secret."""
        line = re.search(r"^  (muster login .*)$", printed.stderr, re.MULTILINE)[1]
        secret = re.search(r"^aws_secret_access_key = (\S+)$", printed.stdout, re.MULTILINE)[1]
        self.run(line, home=home, input=secret + "\n")

    def end(self):
        for pid in (self.place / "pids").read_text().split() if (self.place / "pids").exists() else []:
            subprocess.run(["kill", "-TERM", "--", pid], capture_output=True)
            eventually(lambda: not pathlib.Path(f"/proc/{pid}").exists(), what="the end of what the README started")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    machine = Machine(tmp_path_factory.mktemp("readme"))
    yield machine
    machine.end()


@pytest.fixture(scope="module")
def controller(machine):
    """The controller and the servers web1 and db1, as the README makes them."""
    machine.run(machine.blocks["on the controller's machine, as root"][0])
    eventually(lambda: (machine.place / "var/lib/muster-controller/listening").exists(), what="the controller's start")
    shutil.copytree(machine.place / "var/lib/muster-controller/first-operator", machine.place / "home/operator/first-operator")
    enrolment = machine.blocks["as the operator, who has been given the folder first-operator (it is a secret)"][0]
    joins = [line for line in machine.run(enrolment).stdout.splitlines() if "muster-agent register" in line]
    start = machine.blocks["on web1 and on db1, as root: the line that was printed for it, then"][0]
    assert len(joins) == 2
    for name, join in zip(("web1", "db1"), joins):
        # Two servers on one machine, whose user is not root's to choose.
        machine.run(f"{join}\n{start}", MUSTER_AGENT_STATE_DIRECTORY=f"{machine.place}/{name}", MUSTER_AGENT_SESSION_RUN_AS_DEFAULT=ME)
    eventually(lambda: machine.operator("muster nodes").stdout.count("Online") == 2, what="both servers")
    return machine


def test_the_sandbox_of_five_minutes(machine, tmp_path):
    commands = machine.blocks["here"][0].split("\n", 1)[1]
    folder = tmp_path / "box"
    commands = commands.replace(".muster-sandbox", str(folder)).replace("sandbox up", f"sandbox up --dir {folder}").replace("sandbox down", f"sandbox down --dir {folder}")
    done = machine.run(commands)
    assert done.stdout.count("Online") == 5 and "CommandId" in done.stdout and not folder.exists()


def test_a_colleague_has_shells_on_exactly_one_server(controller):
    first, grant, policies = controller.blocks["as the operator"]
    assert controller.operator(first).returncode == 0
    printed = controller.operator(grant)
    assert "grant-shell-role-web" in printed.stdout
    controller.login(printed, "alice")
    shell = controller.blocks["as the colleague, after the printed line: muster login --endpoint … --pin … --access-key-id …"][0]
    done = controller.run(shell, home="alice", input="id -un\nexit\n")
    assert ME in done.stdout
    for refused in (shell.replace("web1", "db1"), shell.split(" --reason")[0], "muster exec --reason x web1 -- id", "muster run --node web1 -- id"):
        done = controller.run(refused, home="alice", input="exit\n", check=False)
        assert done.returncode == 2 and "not authorized" in done.stderr, (refused, done.stderr)
    # And the administrator's own shell.
    assert ME in controller.operator("muster shell db1", input="id -un\nexit\n").stdout
    # The recipe with a policy of one's own, to the end.
    printed = controller.operator(policies)
    assert "allowed" in printed.stdout
    controller.login(printed, "bob")
    done = controller.run("muster shell web1 --reason x", home="bob", input="exit\n", check=False)
    assert done.returncode == 2 and "not authorized" in done.stderr
    controller.operator("muster tag web1 env=staging\nmuster policy show office-shells | sed 's/Mon-Fri 09:00-18:00/daily 00:00-24:00/' >$HOME/p\nmuster policy put office-shells $HOME/p")
    assert ME in controller.run("muster shell web1 --reason x", home="bob", input="id -un\nexit\n").stdout


def test_the_ways_back_of_the_operations_page(controller):
    """After the key, and after the last administrator is lost: the commands of docs/operations.md."""
    page = (ROOT / "docs" / "operations.md").read_text()
    text = page[page.index("**Nobody gets in any more?**"):]
    lost_key, lost_user = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)[:2]
    endpoint = f"muster login --endpoint https://localhost:{controller.port} --ca {controller.place}/home/operator/first-operator/ca.pem --yes"

    def back(commands, profile):
        key = re.search(r"aws_access_key_id = (\S+)\naws_secret_access_key = (\S+)", controller.run(commands).stdout)
        controller.run(f"{endpoint} --profile {profile}", input=f"{key[1]}\n{key[2]}\n")
        return controller.run(f"muster user --profile {profile}").stdout

    assert "administrator" in back(lost_key, "again")
    assert "rescuer" in back(lost_user, "rescuer")
    # What the rescuer may do is all: the former administrator goes.
    controller.run("muster user delete administrator --yes --profile rescuer")
    assert not re.search(r"^administrator", controller.run("muster user --profile rescuer").stdout, re.MULTILINE)

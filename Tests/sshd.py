"""A real sshd on loopback, for the user that runs the tests."""

import os
import pwd
import shutil
import signal
import socket
import subprocess

import pytest
from conftest import alive, descendants, eventually


class SSHServer:
    def __init__(self, folder):
        daemon = shutil.which("sshd") or "/usr/sbin/sshd"
        if not os.path.exists(daemon) or not shutil.which("ssh"):
            pytest.skip("OpenSSH is not installed")
        self.folder = folder
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        config = folder / "sshd_config"
        config.write_text(f"""
Port {self.port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
""")
        self.process = subprocess.Popen([daemon, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
        eventually(self.listens, what="sshd")

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def command(self, *words):
        """ssh to it, without anything of ours between."""
        return ["ssh", "-F", "/dev/null", "-p", str(self.port), "-i", str(self.folder / "user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                f"{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1", *words]

    def stop(self):
        """As its unit is stopped: with every connection it serves."""
        served = descendants(self.process.pid)
        self.process.terminate()
        self.process.wait()
        for pid in served:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        eventually(lambda: not any(alive(pid) for pid in served), what="the end of sshd's connections")

"""The forward proxies that Debian has, each with a user name and a password, on a free port of the loopback interface."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from conftest import eventually


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class RealProxy:
    user, password = "fleet", "s3cret-of-the-proxy"

    def __init__(self):
        # Beside pytest's folders: squid gives up root, and could not enter them.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="proxy-"))
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        with open(self.folder / "words", "ab") as words:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        eventually(self.listens, timeout=30, what=f"{type(self).__name__} listening")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "words").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def connects(self):
        """CONNECTs that were let through."""
        return sum(self.let_through(line) for line in self.log().splitlines())


class Tinyproxy(RealProxy):
    def prepare(self):
        (self.folder / "conf").write_text(
            f'Port {self.port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nBasicAuth {self.user} {self.password}\n'
            f'LogFile "{self.folder}/log"\nLogLevel Connect\nMaxClients 100\n')

    def command(self):
        return ["tinyproxy", "-d", "-c", str(self.folder / "conf")]

    def let_through(self, line):
        return "CONNECT 127.0.0.1:" in line


class Squid(RealProxy):
    def prepare(self):
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "-stdin"], input=self.password, capture_output=True, text=True, check=True).stdout
        (self.folder / "passwords").write_text(f"{self.user}:{hashed}")
        (self.folder / "conf").write_text(f"""
            http_port 127.0.0.1:{self.port}
            auth_param basic program /usr/lib/squid/basic_ncsa_auth {self.folder}/passwords
            auth_param basic children 2 startup=1 idle=1
            auth_param basic realm test
            acl known proxy_auth REQUIRED
            acl tunnels method CONNECT
            http_access deny !tunnels
            http_access allow known
            http_access deny all
            cache deny all
            access_log stdio:{self.folder}/log
            buffered_logs off
            cache_log {self.folder}/cache.log
            cache_store_log none
            pid_filename none
            netdb_filename none
            pinger_enable off
            visible_hostname test
            coredump_dir {self.folder}
            shutdown_lifetime 0 seconds
            max_filedescriptors 1024
            """)
        if os.geteuid() == 0:
            # The user that Debian's squid becomes.
            shutil.chown(self.folder, "proxy", "proxy")
            shutil.chown(self.folder / "passwords", "proxy", "proxy")

    def command(self):
        return [shutil.which("squid") or "/usr/sbin/squid", "-N", "-f", str(self.folder / "conf")]

    def let_through(self, line):
        return "/200" in line and " CONNECT 127.0.0.1:" in line


PROXIES = [Tinyproxy, Squid]

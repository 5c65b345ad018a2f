"""muster forward, ssh and ssh-proxy against real servers on the node."""

import concurrent.futures
import functools
import hashlib
import http.server
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time

import pytest
from conftest import BIN, eventually
from sshd import SSHServer


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(1)


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


class Forward:
    def __init__(self, box, node, *specs):
        self.process = subprocess.Popen([str(BIN / "muster"), "forward", node, *specs], env=box.clean_env(),
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.places = [re.match(r"Forwarding (\S+) to", self.process.stdout.readline())[1] for _ in specs]
        self.port = int(self.places[0].rpartition(":")[2]) if ":" in self.places[0] else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.status = self.process.wait(timeout=20)
        self.words = self.process.stderr.read()


class Server:
    """An HTTP server with one page per number, each with its own bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = page(int(self.path[1:]))
            self.send_response(200)
            self.send_header("Content-Length", len(body))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Threads(http.server.ThreadingHTTPServer):
        request_queue_size = 256

    def __enter__(self):
        self.server = self.Threads(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def page(number):
    return hashlib.sha256(str(number).encode()).digest() * (32 * (number % 64) + 1)


def fetch(port, number):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        s.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number)
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    return answer.partition(b"\r\n\r\n")[2]


def test_two_hundred_requests_at_a_time(box, node):
    with Server() as port, Forward(box, node, f"0:{port}") as forward:
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            for number, body in enumerate(pool.map(functools.partial(fetch, forward.port), range(200))):
                assert body == page(number), number
    assert forward.status == 130


def test_the_record_counts_each_byte_once(box, node):
    """Also those that come before the node has connected: a client sends its request at once."""
    request = b"GET /63 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Padding: " + b"p" * 3000 + b"\r\n\r\n"
    with Server() as port, Forward(box, node, f"0:{port}") as forward:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", forward.port), timeout=30) as s:
                s.sendall(request)
                answer = b"".join(iter(lambda: s.recv(65536), b""))
                assert answer.endswith(page(63))

    def ended():
        sessions = sorted(box.client().describe_sessions(State="History")["Sessions"], key=lambda s: s["StartDate"])
        text = box.muster("session", "show", sessions[-1]["SessionId"], "-o", "json", check=False).stdout
        return [(t["Received"], t["Sent"] > len(page(63))) for t in find(json.loads(text or "{}"), "transfers")]

    assert eventually(ended, what="the record") == [(len(request), True)] * 5


def find(value, name):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(value, dict) and isinstance(value.get(name), list):
        return value[name]
    return next((found for item in inner if (found := find(item, name))), [])


def test_several_at_once_and_through_a_host(box, node):
    with Server() as one, Server() as two, Forward(box, node, f"0:{one}", f"0:localhost:{two}") as forward:
        for place in forward.places:
            assert fetch(int(place.rpartition(":")[2]), 33) == page(33)


def test_unix_sockets_on_both_sides(box, node, tmp_path):
    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline().upper())

    remote, local = tmp_path / "remote", tmp_path / "local"
    with socketserver.ThreadingUnixStreamServer(str(remote), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Forward(box, node, f"{local}:{remote}"):
            assert local.stat().st_mode & 0o777 == 0o600
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(str(local))
                    s.sendall(b"hello\n")
                    assert s.recv(100) == b"HELLO\n"
        server.shutdown()
    assert not local.exists()


def test_a_large_transfer_each_way_beside_a_connection_that_takes_nothing(box, node):
    data = os.urandom(1 << 20) * 24

    def sink(connection):
        hashed = hashlib.sha256()
        while len(piece := connection.recv(1 << 16)) > 0:
            hashed.update(piece)
            if piece.endswith(b"END."):
                break
        connection.sendall(hashed.digest())
        connection.close()

    def pour(connection):
        try:
            connection.sendall(data)
        except OSError:
            pass  # the one that took nothing
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                kind = connection.recv(1)
                threading.Thread(target=sink if kind == b"u" else pour, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with Forward(box, node, f"0:{listener.getsockname()[1]}") as forward:
            idle = socket.create_connection(("127.0.0.1", forward.port))
            idle.sendall(b"d")
            with socket.create_connection(("127.0.0.1", forward.port), timeout=60) as s:
                s.sendall(b"d")
                got = hashlib.sha256()
                while piece := s.recv(1 << 16):
                    got.update(piece)
                assert got.digest() == hashlib.sha256(data).digest()
            with socket.create_connection(("127.0.0.1", forward.port), timeout=60) as s:
                s.sendall(b"u" + data + b"END.")
                assert s.recv(32) == hashlib.sha256(data + b"END.").digest()
            idle.close()


def test_a_port_where_nobody_listens(box, node):
    with socket.create_server(("127.0.0.1", 0)) as s:
        dead = s.getsockname()[1]
    with Forward(box, node, f"0:{dead}") as forward:
        with socket.create_connection(("127.0.0.1", forward.port), timeout=20) as s:
            assert s.recv(10) == b""
    # Which, and why: who forwards a port cannot look at the node.
    assert f"could not connect to" in forward.words and str(dead) in forward.words and "refused" in forward.words, forward.words


def test_a_local_port_that_is_taken(box, node):
    with socket.create_server(("127.0.0.1", 0)) as s:
        result = box.muster("forward", node, f"{s.getsockname()[1]}:80", check=False)
    assert result.returncode == 2 and "Cannot listen" in result.stderr


# OpenSSH

@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = SSHServer(tmp_path_factory.mktemp("sshd"))
    yield server.port, server.folder
    server.stop()


@pytest.fixture
def options(box, node, sshd, tmp_path):
    """An ssh_config as the manual tells people to write it."""
    port, folder = sshd
    config = tmp_path / "config"
    config.write_text(f"""
Host mi-*
  ProxyCommand {BIN}/muster ssh-proxy %h %p
  Port {port}
  User {pwd.getpwuid(os.geteuid()).pw_name}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
""")
    return config


def run(box, *command, **options):
    result = subprocess.run([str(c) for c in command], env=box.clean_env(), capture_output=True, timeout=90, **options)
    assert result.returncode == 0, (command, result.returncode, result.stdout[-300:], result.stderr)
    return result.stdout


def test_ssh_scp_sftp_and_rsync(box, node, options, tmp_path):
    data = os.urandom(6 << 20)
    (tmp_path / "data").write_bytes(data)
    assert run(box, "ssh", "-F", options, node, "cat", input=data) == data
    result = subprocess.run(["ssh", "-F", options, node, "exit 5"], env=box.clean_env(), capture_output=True, timeout=60)
    assert result.returncode == 5
    run(box, "scp", "-q", "-F", options, tmp_path / "data", f"{node}:{tmp_path}/by-scp")
    assert (tmp_path / "by-scp").read_bytes() == data
    run(box, "sftp", "-q", "-F", options, "-b", "-", node, input=f"put {tmp_path}/data {tmp_path}/by-sftp\n".encode())
    assert (tmp_path / "by-sftp").read_bytes() == data
    if shutil.which("rsync"):
        run(box, "rsync", "-a", "-e", f"ssh -F {options}", f"{tmp_path}/data", f"{node}:{tmp_path}/by-rsync")
        assert (tmp_path / "by-rsync").read_bytes() == data


def test_muster_ssh(box, node, options):
    # What is behind the node is for ssh; options that are given there count.
    assert run(box, BIN / "muster", "ssh", node, "-F", options, "echo", "it", "works") == b"it works\n"

"""Attacks on a controller, bounded: each runs as processes of its own at the lowest priority, from many loopback addresses, until it is ended.

    python attack.py KIND ADDRESS CA SECONDS RATE [CERTIFICATE PATH]

RATE is in connections a second, at most 500. A connection that the controller refuses or cuts is the controller's good right.
"""

import contextlib
import itertools
import os
import pathlib
import random
import socket
import ssl
import struct
import subprocess
import sys
import time

MOST_HELD = 3_000

UPGRADE = (b"GET /v1/data-channel/administrator-00000000000000000?role=publish_subscribe HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
           b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")


class Attacker:
    def __init__(self, address, ca, certificate=None, addresses=24, first=11):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.context = ssl.create_default_context(cafile=ca)
        if certificate:
            self.context.load_cert_chain(certificate)
        self.sources = itertools.cycle([f"127.0.{random.randrange(1, 200)}.{first + i}" for i in range(addresses)])
        self.held = []

    def connect(self, source=None):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        raw.settimeout(5)
        try:
            raw.bind((source or next(self.sources), 0))
            raw.connect(self.address)
        except OSError:
            raw.close()
            raise
        return raw

    def secure(self, source=None):
        raw = self.connect(source)
        try:
            return self.context.wrap_socket(raw, server_hostname=self.address[0])
        except (OSError, ssl.SSLError):
            raw.close()
            raise

    def hold(self, connection):
        self.held.append(connection)
        if len(self.held) > MOST_HELD:
            self.held.pop(0).close()

    def release(self):
        for connection in self.held:
            connection.close()
        self.held = []

    def aborted(self, source=None):
        """Between the decision on an upgrade and the upgrade."""
        connection = self.secure(source)
        connection.sendall(UPGRADE)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def halfopen(self, source=None):
        self.hold(self.connect(source))

    def unopened(self, source=None):
        """Upgraded, and no token."""
        connection = self.secure(source)
        connection.sendall(UPGRADE)
        self.hold(connection)

    def bodies(self, source=None, size=1 << 20):
        """All but the last byte."""
        connection = self.secure(source)
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSSM.SendCommand\r\nContent-Length: {size}\r\n\r\n".encode())
        connection.settimeout(1)
        with contextlib.suppress(OSError, ssl.SSLError):
            connection.sendall(b"x" * (size - 1))
        self.hold(connection)

    def resets(self, source=None):
        """In the middle of a body."""
        connection = self.secure(source)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSSM.SendCommand\r\nContent-Length: 1000\r\n\r\n{")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def denied(self, source=None):
        connection = self.secure(source)
        for _ in range(3):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSSM.ListCommands\r\nContent-Length: 2\r\n\r\n{}")
            if not connection.recv(4_096):
                break
        connection.close()

    def uploads(self, path, source=None):
        """A node's, without end."""
        connection = self.secure(source)
        offset, piece = 0, b"u" * (1 << 18)
        while True:
            connection.sendall(f"PUT {path}?offset={offset} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(piece)}\r\n\r\n".encode() + piece)
            answer = connection.recv(4_096)
            if b" 200 " not in answer[:16]:
                break
            offset += len(piece)
        connection.close()


@contextlib.contextmanager
def running(sandbox, kinds, seconds, rate, certificate=None, path=None):
    """One process for each of the kinds."""
    address = (pathlib.Path(sandbox.directory) / "controller" / "listening").read_text().split()[0]
    found = []
    for kind in kinds:
        extra = [certificate, path] if kind == "uploads" else []
        found.append(subprocess.Popen(
            ["nice", "-n", "19", sys.executable, __file__, kind, address, sandbox.env["AWS_CA_BUNDLE"], str(seconds), str(rate), *extra]))
    try:
        yield found
    finally:
        for process in found:
            process.terminate()
        for process in found:
            process.wait()


def main(kind, address, ca, seconds, rate, certificate=None, path=None):
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    attacker = Attacker(address, ca, certificate)
    pause, end = 1 / min(500, float(rate)), time.monotonic() + float(seconds)
    attack = (lambda: attacker.uploads(path)) if kind == "uploads" else getattr(attacker, kind)
    due = time.monotonic()
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ssl.SSLError):
            attack()
        due = max(due + pause, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])

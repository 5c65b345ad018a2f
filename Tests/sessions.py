"""Both ends of a session without our own code: the frames, a WebSocket, the stock plugin's client side and an agent's leg."""

import base64
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import ssl
import struct
import tempfile
import time
import urllib.parse
import uuid

INPUT, OUTPUT, ACK = "input_stream_data", "output_stream_data", "acknowledge"

Frame = collections.namedtuple("Frame", "type sequence flags id payload_type payload")


def frame(kind, payload=b"", sequence=0, flags=0, payload_type=0, message_id=None):
    """The bytes of one AgentMessage."""
    value = (message_id or uuid.uuid4()).bytes
    return (struct.pack(">I32sIQqQ", 116, kind.encode().ljust(32), 1, int(time.time() * 1000), sequence, flags) + value[8:] + value[:8]
            + hashlib.sha256(payload).digest() + struct.pack(">II", payload_type, len(payload)) + payload)


def parse(data):
    length, kind, _, _, sequence, flags = struct.unpack_from(">I32sIQqQ", data)
    assert length == 116
    payload = data[120:]
    assert hashlib.sha256(payload).digest() == data[80:112]
    swapped = data[64:80]
    return Frame(kind.decode().strip(), sequence, flags, uuid.UUID(bytes=swapped[8:] + swapped[:8]), struct.unpack_from(">I", data, 112)[0], payload)


class Closed(Exception):
    pass


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(status, body)
        self.status, self.body = status, body


class WebSocket:
    """RFC 6455, client side, blocking. Answers nothing by itself but pings."""

    def __init__(self, url, ca, certificate=None, timeout=10):
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate)
        raw = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=parts.hostname)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        if status != 101:
            try:
                while True:
                    self._more()
            except (Closed, TimeoutError):
                pass
            self.socket.close()
            raise Refused(status, self.buffer.decode())

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ssl.SSLEOFError:
            data = b""
        except ConnectionError:
            data = b""
        if not data:
            raise Closed()
        self.buffer += data

    def send(self, data, opcode=2, fin=True):
        data = data.encode() if isinstance(data, str) else data
        mask = os.urandom(4)
        head = bytes([(0x80 if fin else 0) | opcode])
        if len(data) < 126:
            head += bytes([0x80 | len(data)])
        elif len(data) < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(data))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(data))
        whole = mask * (len(data) // 4 + 1)
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(whole[:len(data)], "big")).to_bytes(len(data), "big") if data else b""
        self.socket.sendall(head + mask + masked)

    def receive(self, timeout=10):
        """(opcode, payload) of the next message; pings are answered."""
        self.socket.settimeout(timeout)
        whole, deadline = b"", time.monotonic() + timeout
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError("only pings came")
            while len(self.buffer) < 2:
                self._more()
            first, second = self.buffer[0], self.buffer[1]
            length, offset = second & 0x7F, 2
            if length == 126:
                while len(self.buffer) < 4:
                    self._more()
                length, offset = struct.unpack(">H", self.buffer[2:4])[0], 4
            elif length == 127:
                while len(self.buffer) < 10:
                    self._more()
                length, offset = struct.unpack(">Q", self.buffer[2:10])[0], 10
            while len(self.buffer) < offset + length:
                self._more()
            payload, self.buffer = self.buffer[offset:offset + length], self.buffer[offset + length:]
            opcode = first & 0x0F
            if opcode == 9:
                # The other side may be gone, and what it said before still has to be read.
                with contextlib.suppress(OSError):
                    self.send(payload, opcode=10)
            elif opcode == 8:
                raise Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())
            elif opcode in (0, 1, 2):
                whole += payload
                if first & 0x80:
                    return whole

    def closed(self, timeout=10):
        """Waits for the end; returns the close frame's reason, if there was one."""
        try:
            while True:
                self.receive(timeout)
        except Closed as end:
            return end.args[1] if end.args else ""

    def drop(self):
        """Without a close frame, as the stock ends leave."""
        self.socket.close()


class Leg:
    """One end of a session's stream over one WebSocket at a time, without retransmission: loopback loses nothing."""

    def __init__(self, kind):
        self.kind, self.sent, self.expected = kind, 0, 0
        self.socket = None

    def stream(self, payload, payload_type=1, sequence=None):
        number = self.sent if sequence is None else sequence
        self.socket.send(frame(self.kind, payload, number, payload_type=payload_type))
        if sequence is None:
            self.sent += 1
        return number

    def acknowledge(self, message):
        self.socket.send(frame(ACK, json.dumps({
            "AcknowledgedMessageType": message.type, "AcknowledgedMessageId": str(message.id),
            "AcknowledgedMessageSequenceNumber": message.sequence, "IsSequentialMessage": True}, separators=(",", ":")).encode(), flags=3))

    def next(self, *kinds, timeout=10):
        """The next frame of one of these types; others are passed over."""
        while True:
            found = parse(self.socket.receive(timeout))
            if not kinds or found.type in kinds:
                return found

    def data(self, size, timeout=30):
        """So many bytes of the other side's stream, each frame acknowledged."""
        other, whole = (OUTPUT if self.kind == INPUT else INPUT), b""
        while len(whole) < size:
            found = self.next(other, timeout=timeout)
            self.acknowledge(found)
            if found.sequence == self.expected:
                self.expected += 1
                whole += found.payload
        return whole


class Plugin(Leg):
    """What session-manager-plugin does with the answer of StartSession."""

    def __init__(self, sandbox, started):
        super().__init__(INPUT)
        self.sandbox, self.started = sandbox, started
        self.client = str(uuid.uuid4())

    def open(self, token=None, client=None, **extra):
        self.socket = WebSocket(self.started["StreamUrl"], self.sandbox.env["AWS_CA_BUNDLE"])
        self.socket.send(json.dumps({
            "MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": self.started["TokenValue"] if token is None else token,
            "ClientId": client or self.client, "ClientVersion": "1.2.0.0", **extra}), opcode=1)
        self.socket.send(b"keepalive", opcode=9)
        return self


class Showing:
    """How session-manager-plugin (datachannel/streaming.go) takes frames: it shows the one whose turn it is, acknowledges it, and counts it
    if the acknowledgement could be written. What is early is acknowledged and kept; what is old is passed over without a word."""

    def __init__(self):
        self.shown, self.expected, self.early = [], 0, {}

    def take(self, found, acknowledge):
        """`acknowledge` raises OSError when the connection is broken."""
        if found.sequence == self.expected:
            self.shown.append(found.payload)
            acknowledge(found)
            self.expected += 1
            while (kept := self.early.pop(self.expected, None)) is not None:
                self.shown.append(kept.payload)
                self.expected += 1
        elif found.sequence > self.expected:
            acknowledge(found)
            self.early[found.sequence] = found


class AgentLeg(Leg):
    """The agent's end of a session, under a node's certificate."""

    def __init__(self, sandbox, session, index=0):
        super().__init__(OUTPUT)
        self.sandbox, self.session = sandbox, session
        identity = json.loads((pathlib.Path(sandbox.directory) / f"agent-{index}" / "identity" / "identity.json").read_text())
        self.node = identity["node"]
        self.address = (pathlib.Path(sandbox.directory) / "controller" / "listening").read_text().split()[0]
        with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as pem:
            pem.write(identity["privateKey"] + identity["certificate"])
        self.certificate = pem.name

    def open(self, session=None, state="Connected", **extra):
        url = f"wss://{self.address}/v1/data-channel/{session or self.session}?role=publish_subscribe"
        self.socket = WebSocket(url, self.sandbox.env["AWS_CA_BUNDLE"], self.certificate)
        self.socket.send(json.dumps({"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": "",
                                     "ClientInstanceId": self.node, "ClientId": "", **extra}), opcode=1)
        if state:
            self.state(state)
        return self

    def state(self, state, **extra):
        self.socket.send(frame("agent_session_state", json.dumps(
            {"SchemaVersion": 1, "SessionState": state, "SessionId": self.session, **extra}).encode(), flags=3))

    def complete(self, status="Success", output="", message_id=None, **extra):
        self.socket.send(frame("agent_task_complete", json.dumps({
            "SchemaVersion": 1, "TaskId": self.session, "Topic": "agent_task_complete", "FinalTaskStatus": status, "IsRoutingFailure": False,
            "AwsAccountId": "", "InstanceId": self.node, "Output": output, "S3Bucket": "", "S3UrlSuffix": "", "CwlGroup": "",
            "CwlStream": "", "RetryNumber": 1, **extra}).encode(), message_id=message_id))


class FakeNode:
    """The control channel of one of the sandbox's nodes, whose agent has been stopped."""

    def __init__(self, sandbox, index=0):
        self.sandbox, self.index = sandbox, index
        leg = AgentLeg(sandbox, "", index)
        self.node, self.address, self.certificate = leg.node, leg.address, leg.certificate
        self.number = int((pathlib.Path(sandbox.directory) / f"agent-{index}" / "identity" / "connection-number").read_text()) + 1000
        self.connect()

    def connect(self):
        self.number += 1
        url = f"wss://{self.address}/v1/control-channel/{self.node}?role=subscribe&stream=input"
        self.socket = WebSocket(url, self.sandbox.env["AWS_CA_BUNDLE"], self.certificate)
        self.socket.send(json.dumps({"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": "", "AgentVersion": "3.3.0.0",
                                     "PlatformType": "linux", "ConnectionNumber": self.number, "IdentityGeneration": 1}), opcode=1)

    def next(self, kind, timeout=10):
        while True:
            found = parse(self.socket.receive(timeout))
            if found.type == kind:
                return found

    def order(self):
        """The session it is told to start."""
        return json.loads(json.loads(self.next("interactive_shell").payload)["Content"])

    def complete(self, session, status="Success", output="", **extra):
        message = uuid.uuid4()
        self.socket.send(frame("agent_task_complete", json.dumps({
            "SchemaVersion": 1, "TaskId": session, "Topic": "agent_task_complete", "FinalTaskStatus": status, "Output": output,
            "InstanceId": self.node, "RetryNumber": 1, **extra}).encode(), message_id=message))
        return message

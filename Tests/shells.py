"""A stock client at a real node, and what a session leaves in the process table."""

import json
import os
import pathlib
import time

import sessions
from conftest import alive, eventually


class Shell(sessions.Plugin):
    """A stock client that keeps what it has read. It reconnects as the plugin does."""

    def __init__(self, sandbox, node, document=None, native=False, ssm=None, **parameters):
        self.ssm = ssm or sandbox.client()
        arguments = {"DocumentName": document} if document else {}
        if parameters:
            arguments["Parameters"] = {k: [v] for k, v in parameters.items()}
        super().__init__(sandbox, self.ssm.start_session(Target=node, **arguments))
        self.id, self.seen, self.errors, self.exit = self.started["SessionId"], b"", b"", None
        self.end, self.native, self.early = None, native, {}
        self.open(**self.extra)

    @property
    def extra(self):
        return {"MaximumPayload": 65536} if self.native else {}

    def pump(self, timeout=30):
        """Reads one frame. False when the session is over."""
        try:
            found = self.next(sessions.OUTPUT, "channel_closed", timeout=timeout)
        except sessions.Closed:
            self.end = self.end or {}
            return False
        if found.type == "channel_closed":
            self.end = json.loads(found.payload)
            return False
        self.acknowledge(found)
        if found.sequence >= self.expected:
            self.early[found.sequence] = found
        while self.expected in self.early:
            self.take(self.early.pop(self.expected))
            self.expected += 1
        return True

    def take(self, found):
        if found.payload_type == 1:
            self.seen += found.payload
        elif found.payload_type == 11:
            self.errors += found.payload
        elif found.payload_type == 12:
            self.exit = found.payload
        elif found.payload_type == 5:
            self.request = json.loads(found.payload)
            self.stream(json.dumps({
                "ClientVersion": "1.2.500.0", "Errors": None, "ProcessedClientActions": [
                    {"ActionType": action["ActionType"], "ActionStatus": 1, "ActionResult": None, "Error": ""}
                    for action in self.request["RequestedClientActions"]]}).encode(), 6)
        elif found.payload_type == 7:
            self.complete = json.loads(found.payload)

    def until(self, text, timeout=30):
        """Everything up to and with this text, which is taken away."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline and self.pump(timeout), (text, self.seen[-2000:], self.end)
        head, self.seen = self.seen.split(text, 1)
        return head + text

    def until_prompt(self):
        self.stream(b"PS1= PS2= PROMPT_COMMAND=; bind 'set enable-bracketed-paste off' 2>/dev/null; stty -echo; echo rea''dy\r")
        self.until(b"ready\r\n")

    def ask(self, line, timeout=30):
        mark = os.urandom(4).hex()
        self.stream(f"{line}\recho {mark}\r".encode())
        return self.until(f"{mark}\r\n".encode(), timeout)[:-10].decode()

    def over(self, timeout=30):
        deadline = time.monotonic() + timeout
        while self.pump(timeout):
            assert time.monotonic() < deadline, self.seen[-2000:]
        return self.end

    def reopen(self):
        """ResumeSession, as the plugin does after its socket broke."""
        self.open(token=self.ssm.resume_session(SessionId=self.id)["TokenValue"], **self.extra)


def shell(sandbox, node, **options):
    made = Shell(sandbox, node, **options)
    made.until_prompt()
    return made


def processes(marker):
    """Processes that carry this session's mark."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"MUSTER_SESSION_ID={marker}".encode() in (entry / "environ").read_bytes().split(b"\0") and alive(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def hosts(sandbox, command="session-host"):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except (OSError, NotADirectoryError):
            continue
        if len(line) > 2 and line[1] == command.encode() and line[2].startswith(str(sandbox.directory).encode()):
            found.append(int(entry.name))
    return found


def ended(sandbox, session, timeout=20):
    ssm = sandbox.client()

    def look():
        rows = ssm.describe_sessions(State="History", Filters=[{"key": "SessionId", "value": session}])["Sessions"]
        return rows[0] if rows else None

    return eventually(look, timeout, what=f"the end of {session}")

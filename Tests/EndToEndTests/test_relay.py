"""The controller between the two ends of a session: a fake of the stock plugin, and a fake agent under a node's real certificate."""

import json
import os
import signal
import sqlite3
import ssl
import time

import pytest

import sessions
from conftest import eventually
from sessions import ACK, INPUT, OUTPUT


@pytest.fixture(scope="module")
def fleet(make_sandbox):
    """Two nodes whose agents are ours to play."""
    sandbox = make_sandbox(2)
    sandbox.agents = [i for i in range(2)]
    for index in range(2):
        sandbox.kill(f"agent-{index}")
    sandbox.fakes = [sessions.FakeNode(sandbox, index) for index in range(2)]
    ssm = sandbox.client()
    for fake in sandbox.fakes:
        eventually(lambda: ssm.get_connection_status(Target=fake.node)["Status"] == "connected", what="the node")
    return sandbox


class Session:
    """One that is open at both ends."""

    def __init__(self, fleet, **extra):
        self.fleet, self.ssm, self.fake = fleet, fleet.client(), fleet.fakes[0]
        self.started = self.ssm.start_session(Target=self.fake.node)
        self.id = self.started["SessionId"]
        self.plugin = sessions.Plugin(fleet, self.started).open(**extra)
        self.order = self.fake.order()
        self.agent = sessions.AgentLeg(fleet, self.id).open()
        self.is_("Connected")

    @property
    def record(self):
        for state in ("Active", "History"):
            for found in self.ssm.describe_sessions(State=state, Filters=[{"key": "SessionId", "value": self.id}])["Sessions"]:
                return found

    def is_(self, status):
        return eventually(lambda: (r := self.record)["Status"] == status and r, what=f"session {status}")

    def echo(self):
        """A byte each way."""
        number = self.plugin.stream(b"?")
        assert self.agent.data(1) == b"?"
        assert json.loads(self.plugin.next(ACK).payload)["AcknowledgedMessageSequenceNumber"] == number
        self.agent.stream(b"!")
        assert self.plugin.data(1) == b"!"
        self.agent.next(ACK)


@pytest.fixture
def session(fleet):
    made = Session(fleet)
    yield made
    made.ssm.terminate_session(SessionId=made.id)
    made.fake.complete(made.id)
    made.is_("Terminated")


def audit(fleet, operation):
    with sqlite3.connect(f"file:{fleet.directory}/controller/controller.sqlite?mode=ro", uri=True) as db:
        return db.execute("SELECT outcome, resource, record FROM audit_events WHERE operation = ? ORDER BY sequence", (operation,)).fetchall()


def refused(open_):
    """The reason of the close frame that answers the open message."""
    return open_().socket.closed()


def test_the_agent_is_told_what_it_needs(session):
    assert session.order["SessionId"] == session.id and session.order["DocumentName"] == "SSM-SessionManagerRunShell"
    assert session.order["DocumentContent"]["sessionType"] == "Standard_Stream"
    assert session.order["Client"] == {"Native": False, "MaximumPayload": 1024, "ClientVersion": "1.2.0.0"}


def test_bytes_pass_unchanged(session):
    for bytes_ in (b"x", os.urandom(1000), os.urandom(1 << 18)):
        sent = sessions.frame(INPUT, bytes_, session.plugin.sent, payload_type=1)
        session.plugin.sent += 1
        session.plugin.socket.send(sent)
        assert session.agent.socket.receive() == sent
        sent = sessions.frame(OUTPUT, bytes_, session.agent.sent, payload_type=1)
        session.agent.sent += 1
        session.agent.socket.send(sent)
        assert session.plugin.socket.receive() == sent
    # In as many fragments as Go's writer makes.
    whole = sessions.frame(INPUT, b"y" * 9000, session.plugin.sent, payload_type=1)
    for position in range(0, len(whole), 4096):
        session.plugin.socket.send(whole[position:position + 4096], opcode=2 if position == 0 else 0, fin=position + 4096 >= len(whole))
    assert session.agent.socket.receive() == whole


def test_only_what_belongs_to_a_side_passes(session):
    session.plugin.socket.send(sessions.frame(OUTPUT, b"as if from the host", 0, payload_type=1))
    session.plugin.state = None
    session.plugin.socket.send(sessions.frame("agent_session_state", json.dumps({"SessionState": "Terminating", "SessionId": session.id}).encode()))
    session.plugin.socket.send(sessions.frame("agent_task_complete", json.dumps({"TaskId": session.id, "FinalTaskStatus": "Success"}).encode()))
    session.agent.socket.send(sessions.frame(INPUT, b"as if typed", 0, payload_type=1))
    session.echo()
    assert session.record["Status"] == "Connected"


def test_a_changed_payload_ends_the_leg(session):
    broken = bytearray(sessions.frame(INPUT, b"ls", 0, payload_type=1))
    broken[-1] ^= 1
    session.plugin.socket.send(bytes(broken))
    assert "SHA-256" in session.plugin.socket.closed()
    session.is_("Disconnected")


def test_the_shells_end(session):
    session.agent.stream(b"last words")
    session.agent.state("Terminating", ExitCode=3)
    assert session.plugin.next(OUTPUT).payload == b"last words"
    said = json.loads(session.plugin.next("channel_closed").payload)
    assert (said["SessionId"], said["Output"], said["ExitCode"]) == (session.id, "", 3)
    session.agent.socket.drop()
    message = session.fake.complete(session.id)
    assert json.loads(session.fake.next("agent_task_acknowledge").payload)["MessageId"] == str(message)
    assert session.is_("Terminated")["EndDate"]
    # The second one of a stock agent, long after.
    again = session.fake.complete(session.id)
    assert json.loads(session.fake.next("agent_task_acknowledge").payload)["MessageId"] == str(again)


def test_failure_at_the_start(fleet):
    ssm, fake = fleet.client(), fleet.fakes[0]
    started = ssm.start_session(Target=fake.node)
    plugin = sessions.Plugin(fleet, started).open()
    fake.order()
    fake.complete(started["SessionId"], status="Failed", output="no such user")
    assert json.loads(plugin.next("channel_closed").payload)["Output"] == "no such user"
    eventually(lambda: ssm.describe_sessions(State="History", Filters=[{"key": "SessionId", "value": started["SessionId"]},
                                                                       {"key": "Status", "value": "Failed"}])["Sessions"], what="Failed")


def test_terminate_within_a_second(session):
    begin = time.monotonic()
    session.ssm.terminate_session(SessionId=session.id)
    said = json.loads(session.plugin.next("channel_closed").payload)
    assert said["Output"] == "The session was terminated by administrator."
    assert json.loads(session.agent.next("channel_closed").payload)["SessionId"] == session.id
    assert json.loads(session.fake.next("channel_closed").payload)["SessionId"] == session.id
    assert time.monotonic() - begin < 1
    session.agent.complete()
    session.agent.next("agent_task_acknowledge")
    session.is_("Terminated")


def test_a_client_comes_back(session):
    session.echo()
    session.plugin.socket.drop()
    session.agent.next("pause_publication")
    session.is_("Disconnected")
    session.agent.stream(b"while you were away")
    token = session.ssm.resume_session(SessionId=session.id)["TokenValue"]
    session.plugin.open(token=token)
    session.agent.next("start_publication")
    assert session.plugin.data(19) == b"while you were away"
    session.agent.next(ACK)
    session.is_("Connected")
    session.echo()


def test_an_agent_comes_back(session):
    session.agent.socket.drop()
    session.plugin.next("pause_publication")
    session.plugin.stream(b"typed meanwhile")
    session.agent.open()
    session.plugin.next("start_publication")
    assert session.agent.data(15) == b"typed meanwhile"
    session.plugin.next(ACK)
    session.echo()


def test_a_newer_leg_of_the_same_peer_takes_over_at_once(session):
    for leg in (session.plugin, session.agent):
        former = leg.socket
        leg.open()
        # Until the newer one is in, frames go to the former; these ends send nothing again.
        leg.socket, newer = former, leg.socket
        assert leg.socket.closed() == "replaced by a newer connection"
        leg.socket = newer
        session.echo()
    session.is_("Connected")


def test_an_acknowledgement_that_was_lost_with_a_leg(session):
    session.agent.stream(b"once")
    assert session.plugin.data(4) == b"once"
    session.agent.next(ACK)
    # As if that had been lost: the stock client would never say it again.
    session.agent.stream(b"once", sequence=0)
    assert json.loads(session.agent.next(ACK).payload)["AcknowledgedMessageSequenceNumber"] == 0
    session.agent.stream(b"on")
    assert session.plugin.data(2) == b"on"


def test_tokens(fleet):
    ssm, fake = fleet.client(), fleet.fakes[0]
    session = Session(fleet)
    other = ssm.start_session(Target=fake.node)
    words = "the token does not open this session"
    plugin = session.plugin
    former = plugin.socket
    assert refused(lambda: plugin.open(token="")) == words
    assert refused(lambda: plugin.open(token="0" * 64)) == words
    assert refused(lambda: plugin.open(token=other["TokenValue"])) == words
    assert refused(lambda: plugin.open(client="another process")) == words
    # A token, and still not a node.
    assert refused(lambda: plugin.open(ClientInstanceId=fake.node)) == "the session is not this node's"
    resumed = ssm.resume_session(SessionId=session.id)["TokenValue"]
    assert refused(lambda: plugin.open()) == words, "the first token counts no more"
    unknown = sessions.Plugin(fleet, {**session.started, "StreamUrl": session.started["StreamUrl"].replace(session.id, "jane-00000000000000000")})
    assert refused(lambda: unknown.open()) == words, "nobody learns which sessions there are"
    plugin.socket = former
    session.echo()
    plugin.open(token=resumed)
    session.echo()
    # One event for each token that opened it, however often.
    opened = [json.loads(record) for outcome, id, record in audit(fleet, "OpenDataChannel") if (outcome, id) == ("success", session.id)]
    assert len(opened) == 2 and all(record["userIdentity"]["accessKeyId"] for record in opened)
    for started in (session.started, other):
        ssm.terminate_session(SessionId=started["SessionId"])
    fake.complete(session.id)
    session.is_("Terminated")
    assert refused(lambda: plugin.open(token=resumed)) == words
    reasons = [json.loads(record)["errorCode"] for outcome, _, record in audit(fleet, "OpenDataChannel") if outcome == "denied"]
    assert "WrongSessionToken" in reasons and "OtherSessionClient" in reasons
    # Gathered, not one each.
    assert reasons.count("WrongSessionToken") == 1
    text = " ".join(record for _, _, record in audit(fleet, "OpenDataChannel") + audit(fleet, "StartSession"))
    database = b"".join(path.read_bytes() for path in (fleet.directory / "controller").glob("controller.sqlite*"))
    for token in (session.started["TokenValue"], resumed, other["TokenValue"]):
        assert token not in text and token.encode() not in database


def test_the_sides_never_mix(session, fleet):
    # Another node's certificate.
    with pytest.raises(sessions.Refused) as refusal:
        sessions.AgentLeg(fleet, session.id, 1).open()
    assert refusal.value.status == 403 and audit(fleet, "OpenDataChannel")[-1][0] == "denied"
    # A node that plays the client: its certificate makes it the agent of that session, whatever it says.
    with pytest.raises(sessions.Refused):
        leg = sessions.AgentLeg(fleet, session.id, 1)
        leg.open(TokenValue=session.started["TokenValue"], ClientId="c", ClientInstanceId="")
    # A client that plays the node.
    plugin = sessions.Plugin(fleet, session.started)
    assert plugin.open(token="", ClientInstanceId=session.fake.node).socket.closed() == "the session is not this node's"
    # A session that does not exist, or never was ordered.
    waiting = session.ssm.start_session(Target=session.fake.node)["SessionId"]
    for unknown in ("jane-00000000000000000", waiting):
        with pytest.raises(sessions.Refused) as refusal:
            sessions.AgentLeg(fleet, unknown).open()
        assert (refusal.value.status, refusal.value.body.strip()) == (410, "Session is already terminated")
    session.ssm.terminate_session(SessionId=waiting)
    session.echo()


def test_completions_of_another_node(session, fleet):
    other = fleet.fakes[1]
    other.complete(session.id, status="Failed")
    assert "another node" in other.socket.closed()  # and not only ignored
    other.connect()
    assert audit(fleet, "RefuseAgentMessage")[-1][0] == "denied"
    session.echo()


def test_a_stranger_holds_little(session, fleet):
    def socket():
        return sessions.WebSocket(session.started["StreamUrl"], fleet.env["AWS_CA_BUNDLE"])

    # A message whose end never comes, and one that is too long.
    for size in (1 << 20, 6000):
        stranger = socket()
        with pytest.raises((sessions.Closed, ssl.SSLError, OSError, TimeoutError)):
            stranger.send(b"a" * size, opcode=1, fin=False)
            stranger.receive(timeout=8)
    # Silence.
    begin = time.monotonic()
    assert socket().closed() == "the data channel was not opened in time"
    assert 3 < time.monotonic() - begin < 9
    # A crowd: its oldest make room, and it is never large.
    crowd = []
    for _ in range(200):
        try:
            crowd.append(socket())
        except sessions.Refused as refusal:
            assert refusal.status == 429
    session.echo()
    alive = 0
    for one in crowd:
        one.socket.setblocking(False)
        try:
            one.socket.recv(1)
        except ssl.SSLWantReadError:
            alive += 1
        except OSError:
            pass
    assert alive <= 140
    for one in crowd:
        one.drop()

    def admitted():
        try:
            return socket()
        except sessions.Refused:
            return None

    eventually(admitted, what="room again").drop()


def resident(fleet):
    status = open(f"/proc/{fleet.pids['controller']}/status").read()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_a_slow_client_slows_the_agent(session, fleet):
    before = resident(fleet)
    session.agent.socket.socket.settimeout(2)
    piece, sent = os.urandom(1 << 16), 0
    with pytest.raises(TimeoutError):
        while sent < 200 << 20:
            session.agent.stream(piece)
            sent += len(piece)
    assert sent < 60 << 20 and resident(fleet) - before < 64 << 20
    # The way in is still open: the user can interrupt.
    session.plugin.stream(b"\x03")
    assert session.agent.next(INPUT).payload == b"\x03"
    # Whoever takes nothing for a while is gone; the agent learns it.
    session.plugin.socket.drop()


def test_deregistering_ends_sessions(make_sandbox):
    fleet = make_sandbox(1)
    fleet.kill("agent-0")
    fleet.fakes = [sessions.FakeNode(fleet, 0)]
    ssm = fleet.client()
    eventually(lambda: ssm.get_connection_status(Target=fleet.fakes[0].node)["Status"] == "connected", what="the node")
    session = Session(fleet)
    ssm.deregister_managed_instance(InstanceId=session.fake.node)
    assert "deregistered" in json.loads(session.plugin.next("channel_closed").payload)["Output"]
    session.agent.socket.closed()
    assert session.is_("Terminated")
    with pytest.raises((sessions.Refused, ssl.SSLError, sessions.Closed)):
        session.agent.open()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restarted_controller_takes_up_its_sessions(make_sandbox, number):
    fleet = make_sandbox(1)
    fleet.kill("agent-0")
    fleet.fakes = [sessions.FakeNode(fleet, 0)]
    ssm = fleet.client()
    eventually(lambda: ssm.get_connection_status(Target=fleet.fakes[0].node)["Status"] == "connected", what="the node")
    session = Session(fleet)
    session.echo()
    fleet.kill("controller", number)
    fleet.control("start", "controller")
    session.fake.connect()
    session.agent.open()
    session.agent.next("pause_publication")
    token = eventually(lambda: session.ssm.resume_session(SessionId=session.id)["TokenValue"], what="a token")
    session.plugin.open(token=token)
    session.agent.next("start_publication")
    session.is_("Connected")
    session.echo()
    # One that nobody takes up ends by its deadline; this one is ended.
    ssm.terminate_session(SessionId=session.id)
    session.agent.next("channel_closed")
    session.agent.complete()
    session.is_("Terminated")


@pytest.mark.soak
def test_idle_and_maximum(fleet):
    """A minute each; only bytes typed or printed count."""
    ssm = fleet.client()
    for inputs, words in (({"idleSessionTimeout": "1"}, "idle for 1 minutes"), ({"maxSessionDuration": "1"}, "maximum duration of 1 minutes")):
        ssm.create_document(Name="SSM-SessionManagerRunShell", DocumentType="Session", Content=json.dumps(
            {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs}))
        # Nobody has answered the controller's pings for a minute.
        fleet.fakes[0].connect()
        eventually(lambda: ssm.get_connection_status(Target=fleet.fakes[0].node)["Status"] == "connected", what="the node")
        try:
            session = Session(fleet)
        finally:
            ssm.delete_document(Name="SSM-SessionManagerRunShell")
        begin = time.monotonic()
        session.plugin.stream(b"{}", payload_type=3)
        session.agent.next(INPUT)
        assert words in json.loads(session.plugin.next("channel_closed", timeout=80).payload)["Output"]
        assert 55 < time.monotonic() - begin < 70
        session.agent.complete()
        session.is_("Terminated")

"""A CONNECT proxy that can behave as badly as boxes between agents and controllers do."""

import base64
import socket
import threading
import time


class Proxy:
    """Relays bytes and understands none of them: TLS goes through from end to end.

    idle_cut      closes a tunnel on which nothing has come for so many seconds, either way
    life_cut      closes a tunnel that is so many seconds old
    credentials   "user:password" that CONNECT has to bring
    blackhole()   drops every byte and answers nothing, without closing anything, and counts who knocks; restore() lets new bytes pass,
                  restore(refusing=True) turns those away at once who have knocked and would wait for an answer until they give up
    cut()         closes every tunnel
    hold()        keeps every byte where it is, as a cut that TCP outlives; release() lets them go on
    """

    def __init__(self, idle_cut=None, life_cut=None, credentials=None):
        self.idle_cut, self.life_cut, self.credentials = idle_cut, life_cut, credentials
        self.tunnels, self.cuts, self.refused, self.knocks, self.asked = 0, 0, 0, 0, []
        self._open = threading.Event()
        self._open.set()
        self._flow = threading.Event()
        self._flow.set()
        self._ended = threading.Event()
        self._knocking, self._relaying = set(), set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._sockets = {self._listener}
        self._lock = threading.Lock()
        self._spawn(self._accept)

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def url(self):
        return f"http://{self.credentials + '@' if self.credentials else ''}127.0.0.1:{self.port}"

    def blackhole(self):
        self._open.clear()

    def restore(self, refusing=False):
        self._open.set()
        if refusing:
            self._shut_all(self._knocking)

    def cut(self):
        self._shut_all(self._relaying)

    def hold(self):
        self._flow.clear()

    def release(self):
        self._flow.set()

    def close(self):
        self._ended.set()
        self._open.set()
        self._flow.set()
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for s in sockets:
            self._shut(s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _spawn(target, *arguments):
        threading.Thread(target=target, args=arguments, daemon=True).start()

    @staticmethod
    def _shut(s):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()

    def _shut_all(self, sockets):
        """Shut, not closed: whoever waits for their bytes does that."""
        with self._lock:
            for s in sockets:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _keep(self, s):
        with self._lock:
            if self._ended.is_set():
                s.close()
                raise OSError("closed")
            self._sockets.add(s)

    def _accept(self):
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
                self._keep(client)
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client):
        server = None
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(4096)
                if not data or len(head) > 65536:
                    return
                head += data
            self._flow.wait()
            if not self._open.is_set():
                # As a link that is down: not even a refusal. The client gives up first.
                with self._lock:
                    self.knocks += 1
                    self._knocking.add(client)
                while client.recv(4096):
                    pass
                return
            lines = head.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
            self.asked.append(target)
            if self.credentials:
                wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
                if headers.get("proxy-authorization") != wanted:
                    self.refused += 1
                    client.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="t"\r\nContent-Length: 0\r\n\r\n')
                    return
            assert method == "CONNECT", lines[0]
            host, port = target.rsplit(":", 1)
            server = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
            server.settimeout(None)
            self._keep(server)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.tunnels += 1
            with self._lock:
                self._relaying.add(client)
            tunnel = {"heard": time.monotonic(), "began": time.monotonic(), "over": threading.Event()}
            for a, b in ((client, server), (server, client)):
                self._spawn(self._relay, a, b, tunnel)
            while not tunnel["over"].wait(0.05):
                now = time.monotonic()
                if (self.idle_cut and now - tunnel["heard"] > self.idle_cut) or (self.life_cut and now - tunnel["began"] > self.life_cut):
                    self.cuts += 1
                    return
        except OSError:
            pass
        finally:
            for s in (client, server):
                if s is not None:
                    with self._lock:
                        for kept in (self._sockets, self._knocking, self._relaying):
                            kept.discard(s)
                    self._shut(s)

    def _relay(self, source, target, tunnel):
        try:
            while data := source.recv(65536):
                self._flow.wait()
                if not self._open.is_set():
                    # What is lost is lost: a TCP stream with a hole in it never works again.
                    tunnel["dead"] = True
                if tunnel.get("dead"):
                    continue
                tunnel["heard"] = time.monotonic()
                target.sendall(data)
            if tunnel.get("dead"):
                # A dead link carries no goodbye either.
                return
        except OSError:
            pass
        tunnel["over"].set()

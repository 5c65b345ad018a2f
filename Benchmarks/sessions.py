"""The figures of sessions, each beside OpenSSH's on the same machine in the same run, where OpenSSH has such a thing."""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import termios
import threading
import time

MEBIBYTE = 1 << 20


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen([str(c) for c in command], env=env, stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        os.close(slave)

    def until(self, text, seconds=30):
        seen, deadline = b"", time.monotonic() + seconds
        while text not in seen:
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no {text!r} in {seen[-300:]!r}")
            seen += os.read(self.master, 1 << 16)
        return seen

    def key(self):
        """One key and its echo: seconds."""
        begun = time.perf_counter()
        os.write(self.master, b"x")
        while b"x" not in os.read(self.master, 4096):
            pass
        return time.perf_counter() - begun

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


class OpenSSH:
    """An sshd on loopback for the user that measures; None where OpenSSH is not installed."""

    def __init__(self, folder):
        daemon = shutil.which("sshd") or "/usr/sbin/sshd"
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
            "UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n")
        self.process = subprocess.Popen([daemon, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL)
        self.command = ["ssh", "-p", port, "-i", folder / "user", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o",
                        "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-F", "/dev/null", "127.0.0.1"]
        self.command = [str(c) for c in self.command]
        connected(port)

    def options(self, *more):
        return [*self.command[:-1], *more, self.command[-1]]

    @property
    def jump(self):
        """What -J does, with our options on both connections: a process between, as the controller is one, though it reads nothing."""
        return "-o", "ProxyCommand=" + shlex.join(self.options("-W", "%h:%p"))

    def close(self):
        self.process.terminate()
        self.process.wait()


def connected(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def microseconds(values):
    ordered = sorted(values)
    return f"{statistics.median(ordered) * 1e6:.0f} µs (p99 {ordered[len(ordered) * 99 // 100] * 1e6:.0f})"


def keystrokes(terminals, rounds=20, keys=50):
    """Blocks of keys on each terminal in turn, so that what else the machine does meets all alike."""
    for terminal in terminals:
        # Nothing but the terminal's own echo, and nothing that grows.
        os.write(terminal.master, b"exec sh -c 'stty -icanon; echo rea''dy; exec cat >/dev/null'\n")
        terminal.until(b"ready\r\n")
        for _ in range(50):
            terminal.key()
    took = [[] for _ in terminals]
    for _ in range(rounds):
        for terminal, values in zip(terminals, took):
            values += [terminal.key() for _ in range(keys)]
    return took


def received(command, env):
    """MB/s (10⁶) of what the command prints."""
    process = subprocess.Popen([str(c) for c in command], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    buffer, total = bytearray(MEBIBYTE), 0
    fcntl.fcntl(process.stdout, 1031, MEBIBYTE)  # F_SETPIPE_SZ
    begun = None
    while count := process.stdout.raw.readinto(buffer) if hasattr(process.stdout, "raw") else os.readv(process.stdout.fileno(), [buffer]):
        begun = begun or time.perf_counter()
        total += count
    took = time.perf_counter() - begun
    assert process.wait() == 0, command
    return total, total / took / 1e6


class Fountain:
    """Pours `size` bytes into every connection that asks for them, and takes what comes otherwise."""

    def __init__(self, size):
        self.size, self.listener = size, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.pour, args=(self.listener.accept()[0],), daemon=True).start()

    def pour(self, connection):
        with connection:
            block = memoryview(bytes(MEBIBYTE))
            if connection.recv(1) == b"d":
                for _ in range(self.size // MEBIBYTE):
                    connection.sendall(block)
            else:
                buffer, total = bytearray(MEBIBYTE), 0
                while total < self.size:
                    total += connection.recv_into(buffer)
                connection.sendall(b"!")

    def drain(self, port, direction):
        """MB/s through a tunnel whose near end is `port`."""
        with connected(port) as s:
            begun = time.perf_counter()
            if direction == "down":
                s.sendall(b"d")
                buffer, total = bytearray(MEBIBYTE), 0
                while total < self.size:
                    count = s.recv_into(buffer)
                    assert count, f"the tunnel ended after {total} bytes"
                    total += count
            else:
                s.sendall(b"u")
                block = memoryview(bytes(MEBIBYTE))
                for _ in range(self.size // MEBIBYTE):
                    s.sendall(block)
                assert s.recv(1) == b"!"
            return self.size / (time.perf_counter() - begun) / 1e6


def opened(command, env):
    """Seconds from the start of the program to the first byte of what the node's program writes."""
    begun = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout.read(1) == b"r", command
    took = time.perf_counter() - begun
    process.wait()
    return took


def private(pids):
    """MB that nobody shares. Launchers are forked, so that what the kernel calls anonymous is mostly still their parent's."""
    total = 0
    for pid in pids:
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", rollup))
    return total / 1024


def programs(name):
    """Processes of the agent's program, by what the first argument says they are."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"muster-agent") and words[1].decode() in name:
                found.append(int(entry.name))
    return found


def measure(binaries, node, env, row):
    """All of it, on one node of a sandbox that is up."""
    muster = binaries / "muster"
    scratch = tempfile.TemporaryDirectory(prefix="muster-bench-ssh.")
    peer = OpenSSH(pathlib.Path(scratch.name)) if shutil.which("ssh") else None
    try:
        only = os.environ.get("MUSTER_BENCH_ONLY", "keys output tunnel open memory").split()
        if "keys" in only:
            keys(muster, node, env, peer, row)
        if "output" in only:
            output(muster, node, env, peer, row)
        if "tunnel" in only:
            tunnel(muster, node, env, peer, row)
        if "open" in only:
            opening(muster, node, env, peer, row)
        if "memory" in only:
            private_memory(muster, node, env, row)
    finally:
        if peer:
            peer.close()
        scratch.cleanup()


def keys(muster, node, env, peer, row):
    terminals = [Terminal([muster, "shell", node], env)]
    if peer:
        terminals += [Terminal(peer.options("-tt"), env), Terminal(peer.options("-tt", *peer.jump), env)]
    took = keystrokes(terminals)
    for terminal in terminals:
        terminal.close()
    if peer:
        row("keystroke and its echo, OpenSSH", microseconds(took[1]), "-")
        row("keystroke and its echo, OpenSSH through a jump host", microseconds(took[2]), "-")
    row("keystroke and its echo, muster shell", microseconds(took[0]), "≤ OpenSSH's median")


def output(muster, node, env, peer, row):
    size = 400 * MEBIBYTE
    # Lines of a log, more or less: zeros would be written as six characters each.
    text = f"yes 'Nov 23 21:34:51 web-1 kernel: the quick brown fox jumps over the lazy dog' | head -c {size}"
    if peer:
        total, speed = received([*peer.command, text], env)
        row("output of a command, OpenSSH", f"{speed:.0f} MB/s", "-")
    total, speed = received([muster, "exec", node, "--", "sh", "-c", text], env)
    assert total == size, total
    row("output of a command, recorded, muster exec", f"{speed:.0f} MB/s", "-")


def tunnel(muster, node, env, peer, row):
    fountain = Fountain(1024 * MEBIBYTE)
    if peer:
        port = free_port()
        process = subprocess.Popen(
            peer.options("-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{fountain.port}"), stdin=subprocess.DEVNULL)
        fountain.drain(port, "down")
        for direction in ("down", "up"):
            row(f"tunnel, {direction}, OpenSSH", f"{statistics.median(fountain.drain(port, direction) for _ in range(3)):.0f} MB/s", "-")
        process.terminate()
        process.wait()
    process = subprocess.Popen([muster, "forward", node, f"0:{fountain.port}"], env=env, stdout=subprocess.PIPE, text=True)
    port = int(re.match(r"Forwarding \S+:(\d+) to", process.stdout.readline())[1])
    fountain.drain(port, "down")
    for direction in ("down", "up"):
        row(f"tunnel, {direction}, muster forward", f"{statistics.median(fountain.drain(port, direction) for _ in range(3)):.0f} MB/s", "≥ 200 MB/s")
    process.send_signal(signal.SIGINT)
    process.wait()


def opening(muster, node, env, peer, row):
    rounds = 50

    def line(times):
        ordered = sorted(times)
        return f"{statistics.median(ordered) * 1e3:.0f} ms (p99 {ordered[len(ordered) * 99 // 100] * 1e3:.0f})"

    if peer:
        for name, way in (("OpenSSH", ()), ("OpenSSH through a jump host", peer.jump)):
            times = [opened([*peer.options(*way), "echo ready"], env) for _ in range(rounds)]
            row(f"a session opened, program start to first byte, {name}", line(times), "-")
    row("a session opened, program start to first byte, muster", line([opened([muster, "exec", node, "--", "echo", "ready"], env) for _ in range(rounds)]), "≤ 100 ms")


def private_memory(muster, node, env, row):
    terminals = []
    for count in (1, 16, 128):
        while len(terminals) < count:
            terminals.append(Terminal([muster, "shell", node], env))
        for terminal in terminals:
            os.write(terminal.master, b"echo her''e\n")
            # Login shells whose profile takes a lock come one after the other.
            terminal.until(b"here\r\n", seconds=240)
        time.sleep(1)
        host, launchers = programs({"session-host"}), programs({"session-launch"})
        row(f"agent's private memory of {count} sessions, beside the shells",
            f"{private(host):.1f} + {private(launchers):.1f} MB", "≤ 100 MB for 128" if count == 128 else "-")
    for terminal in terminals:
        terminal.close()

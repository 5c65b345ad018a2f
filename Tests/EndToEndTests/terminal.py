"""A program on a terminal of its own, as a person has it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    def __init__(self, *command, env, columns=80, rows=24, stdout=None, stderr=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen = ""
        self.process = subprocess.Popen([*map(str, command)], env=env, stdin=slave, stdout=stdout or slave, stderr=stderr or slave,
                                        preexec_fn=self.take_terminal, close_fds=True)
        os.close(slave)

    @staticmethod
    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self, deadline):
        ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more came; the screen has {self.screen!r}")
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.screen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, timeout=20):
        """Waits until the pattern is on the screen, and forgets everything up to it."""
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self.screen)):
            if not self.read(deadline):
                raise AssertionError(f"it ended without {pattern!r}; the screen has {self.screen!r}")
        seen, self.screen = self.screen[:match.end()], self.screen[match.end():]
        return seen

    def type(self, text):
        os.write(self.master, text.encode())

    def interrupt(self):
        self.type("\x03")

    def end(self, timeout=20):
        """Reads to the end, and returns the exit status and what was still shown."""
        deadline = time.monotonic() + timeout
        while self.read(deadline):
            pass
        return self.process.wait(timeout=timeout), self.screen

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""A time of day that tests set, for the processes that are started under it."""

import pathlib
import shutil
import struct
import subprocess


class Clock:
    """`environment` puts a process under it; see clock.c."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.file.write_bytes(struct.pack("q", 0))
        library = folder / "clock.so"
        compiler = shutil.which("cc") or shutil.which("clang") or "cc"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(pathlib.Path(__file__).with_name("clock.c")), "-ldl"],
                       check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self.file)}

    def advance(self, days=0, seconds=0):
        """For everybody under it, running or yet to start, at once."""
        with open(self.file, "r+b") as file:
            file.write(struct.pack("q", days * 86_400 + seconds))

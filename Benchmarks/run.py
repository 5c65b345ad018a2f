"""`make bench`: measures the targets of docs/benchmarks.md on this machine and prints them beside the figures.

Every figure is printed with its target; nothing here fails a build.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import sessions

BIN = pathlib.Path(os.environ["MUSTER_BIN"])


def muster(*arguments, env=None):
    return subprocess.run([str(BIN / "muster"), *map(str, arguments)], env={**os.environ, **(env or {})}, check=True,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


def environment(directory):
    pairs = [line[len("export "):].split("=", 1) for line in (directory / "env").read_text().splitlines()]
    return {name: value.strip("'") for name, value in pairs}


def memory(pid):
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return {key: int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon")}


def row(name, figure, target):
    print(f"{name:<58} {figure:>26}   target {target}", flush=True)


def fleet(count, rounds):
    with tempfile.TemporaryDirectory(prefix="muster-bench.") as scratch:
        directory = pathlib.Path(scratch) / "s"
        muster("sandbox", "up", "--dir", directory, "--agents", count)
        try:
            env = environment(directory)
            time.sleep(5)  # what is measured is the idle state
            pids = dict(line.split() for line in (directory / "pids").read_text().splitlines())
            agents = [memory(pid) for name, pid in pids.items() if name.startswith("agent-")]
            row("agent, idle and connected: resident (VmRSS), median", f"{statistics.median(a['VmRSS'] for a in agents):.1f} MB", "≤ 20 MB")
            row("agent, idle and connected: private (RssAnon), median", f"{statistics.median(a['RssAnon'] for a in agents):.1f} MB", "≤ 4 MB")
            row(f"controller with {count} agents: resident", f"{memory(pids['controller'])['VmRSS']:.1f} MB", "-")
            took = []
            for _ in range(rounds):
                begun = time.monotonic()
                muster("run", "--target", "tag-key=role", "--", "echo hi", env=env)
                took.append(time.monotonic() - begun)
            row(f"{count} hosts, echo hi, all results in hand (muster run)", f"{statistics.median(took):.3f} s ({min(took):.3f}–{max(took):.3f})", "≤ 0.5 s")
        finally:
            muster("sandbox", "down", "--dir", directory)


def interactive():
    """Sessions, beside OpenSSH where it is installed."""
    with tempfile.TemporaryDirectory(prefix="muster-bench.") as scratch:
        directory = pathlib.Path(scratch) / "s"
        muster("sandbox", "up", "--dir", directory, "--agents", 1)
        try:
            env = {**os.environ, **environment(directory)}
            node = re.search(r"mi-[0-9a-f]+", muster("nodes", "-o", "json", env=env))[0]
            sessions.measure(BIN, node, env, row)
        finally:
            muster("sandbox", "down", "--dir", directory)


if __name__ == "__main__":
    fleet(int(os.environ.get("MUSTER_BENCH_AGENTS", "50")), 7)
    interactive()
    # A small one; `make swarm` has the sizes of the targets.
    for program, arguments in (("muster-swarm", ["--agents", "200"]), ("muster-benchmarks", [])):
        if (BIN / program).exists():
            print(flush=True)
            status = subprocess.run([str(BIN / program), *arguments], stdin=subprocess.DEVNULL).returncode
            if status:
                sys.exit(status)

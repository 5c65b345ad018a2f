"""muster cp: files to and from a node without an SSH server there."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from conftest import BIN, eventually


@pytest.fixture(scope="module")
def box(make_sandbox):
    return make_sandbox(1)


@pytest.fixture(scope="module")
def node(box):
    return box.nodes()[0]


def cp(box, *arguments, check=True, timeout=120):
    result = subprocess.run([str(BIN / "muster"), "cp", *map(str, arguments)], env=box.clean_env(), capture_output=True, timeout=timeout,
                            text=True)
    assert not check or result.returncode == 0, (result.returncode, result.stderr)
    return result


def listing(folder):
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, what)
    return found


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "a" / "b c").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a" / "small").write_text("hello\n")
    (root / "a" / "none").write_bytes(b"")
    (root / "a" / "b c" / "größer").write_bytes(os.urandom(300_000))
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("a/small")
    (root / "broken").symlink_to("/nowhere")
    for i in range(300):
        (root / "a" / f"f{i}").write_bytes(b"%d" % i)
    os.utime(root / "a" / "small", ns=(1_500_000_000_123456789, 1_500_000_000_123456789))
    (root / "read-only").mkdir()
    (root / "read-only" / "x").write_text("x")
    (root / "read-only").chmod(0o555)
    os.utime(root / "a", ns=(1_400_000_000_000000000, 1_400_000_000_000000000))
    yield root
    (root / "read-only").chmod(0o755)


def test_a_file_each_way(box, node, tmp_path):
    data = os.urandom(5 << 20)
    (tmp_path / "here").write_bytes(data)
    cp(box, tmp_path / "here", f"{node}:{tmp_path}/there")
    assert (tmp_path / "there").read_bytes() == data
    assert (tmp_path / "there").stat().st_mtime_ns == (tmp_path / "here").stat().st_mtime_ns
    (tmp_path / "folder").mkdir()
    cp(box, f"{node}:{tmp_path}/there", f"{node}:{tmp_path}/here", tmp_path / "folder")
    assert (tmp_path / "folder" / "there").read_bytes() == (tmp_path / "folder" / "here").read_bytes() == data
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".muster-part")]


def test_a_tree_each_way(box, node, tree, tmp_path):
    cp(box, "-r", tree, f"{node}:{tmp_path}/up")
    assert listing(tmp_path / "up") == listing(tree)
    (tmp_path / "down").mkdir()
    cp(box, "-r", f"{node}:{tmp_path}/up", tmp_path / "down")
    assert listing(tmp_path / "down" / "up") == listing(tree)
    # Once more: everything is there, and stays as it is.
    cp(box, "-r", f"{node}:{tmp_path}/up", tmp_path / "down")
    assert listing(tmp_path / "down" / "up") == listing(tree)


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_copy_that_was_killed_goes_on(box, node, tmp_path, way):
    data = os.urandom(1 << 20) * 100
    (tmp_path / "source").write_bytes(data)
    target = tmp_path / "target"
    arguments = [tmp_path / "source", f"{node}:{target}"] if way == "up" else [f"{node}:{tmp_path}/source", target]
    process = subprocess.Popen([str(BIN / "muster"), "cp", *map(str, arguments)], env=box.clean_env())
    part = eventually(lambda: [p for p in tmp_path.glob(".target.*.muster-part") if p.stat().st_size > 4 << 20], what="part of the file")[0]
    process.kill()
    process.wait()
    time.sleep(0.2)
    assert not target.exists()
    kept = part.stat().st_size
    cp(box, *arguments)
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert not list(tmp_path.glob(".target.*"))
    moved = eventually(lambda: transfers(box, way), what="the record")[-1]
    assert moved["Sha256"] == hashlib.sha256(data).hexdigest()
    # What was kept was not sent again. (The part may have grown a little after it was looked at.)
    assert moved["Received" if way == "up" else "Sent"] <= len(data) - kept


def transfers(box, way):
    """What the record says of the copy that ended last."""
    sessions = sorted(box.client().describe_sessions(State="History")["Sessions"], key=lambda s: s["StartDate"])
    for session in reversed(sessions):
        text = box.muster("session", "show", session["SessionId"], "-o", "json", check=False).stdout
        found = [record for record in find(json.loads(text or "{}"), "Transfers")
                 if record.get("Kind") == ("upload" if way == "up" else "download") and record.get("Sha256")]
        if found:
            return found


def find(value, name):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower() == name.lower() and isinstance(inner, list):
                return inner
            if below := find(inner, name):
                return below
    return []


def test_what_cannot_be_copied_is_said_and_the_rest_is_there(box, node, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good").write_text("good")
    os.mkfifo(tmp_path / "in" / "fifo")
    result = cp(box, "-r", tmp_path / "in", f"{node}:{tmp_path}/out", check=False)
    assert result.returncode == 1 and "fifo" in result.stderr, result.stderr
    assert (tmp_path / "out" / "good").read_text() == "good"
    result = cp(box, f"{node}:{tmp_path}/nosuch", tmp_path / "x", check=False)
    assert result.returncode == 1 and "nosuch: No such file" in result.stderr, result.stderr
    result = cp(box, f"{node}:{tmp_path}/in", tmp_path / "x", check=False)
    assert result.returncode == 1 and "-r" in result.stderr
    result = cp(box, tmp_path / "in" / "good", f"{node}:{tmp_path}/no/such/place", check=False)
    assert result.returncode == 1 and "No such file" in result.stderr
    assert cp(box, "a", "b", check=False).returncode == 2


def test_links_lead_nowhere_else(box, node, tmp_path):
    """A folder that is a link at the destination is not written through."""
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "f").write_text("f")
    (tmp_path / "out" / "in").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "in" / "d").symlink_to(tmp_path / "elsewhere")
    result = cp(box, "-r", tmp_path / "in", f"{node}:{tmp_path}/out", check=False)
    assert result.returncode == 1
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of somebody else's needs root")
def test_a_part_file_that_somebody_else_planted_is_not_gone_on_with(box, node, tmp_path):
    """In a folder where everybody may write: the copy would be theirs, and what they write into it later would run as root's."""
    source = tmp_path / "deploy.sh"
    source.write_bytes(os.urandom(120_020))
    os.utime(source, ns=(1_600_000_000_000000007, 1_600_000_000_000000007))
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o1777)
    identity = f"{source.stat().st_size} 1600000000.7 deploy.sh".encode()
    planted = public / f".deploy.sh.{hashlib.sha256(identity).hexdigest()[:12]}.muster-part"
    planted.touch()
    planted.chmod(0o666)
    os.chown(planted, 65534, 65534)
    with open(planted, "rb"):
        cp(box, source, f"{node}:{public}/deploy.sh")
        copied = (public / "deploy.sh").stat()
    assert (copied.st_uid, copied.st_mode & 0o022) == (0, 0)
    assert (public / "deploy.sh").read_bytes() == source.read_bytes()

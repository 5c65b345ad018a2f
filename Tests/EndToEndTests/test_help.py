"""Every page of help, as a newcomer reads it on 80 columns: words for each command and argument, and paragraphs that wrap as one."""

import json
import subprocess

import pytest

from conftest import BIN


def commands(command, path=()):
    path = (*path, command["commandName"])
    yield " ".join(path), command
    for child in command.get("subcommands", []):
        if child["commandName"] != "help":
            yield from commands(child, path)


def pages(program):
    dump = subprocess.run([str(BIN / program), "--experimental-dump-help"], capture_output=True, text=True, timeout=60, check=True)
    return dict(commands(json.loads(dump.stdout)["command"]))


@pytest.mark.parametrize("program", ["muster", "muster-agent", "muster-controller"])
def test_every_command_and_argument_has_words(program):
    silent = []
    for name, command in pages(program).items():
        if not command.get("abstract"):
            silent.append(name)
        for argument in command.get("arguments", []):
            if not argument.get("abstract") and argument.get("shouldDisplay", True):
                silent.append(f"{name}: {argument['valueName']}")
    assert not silent, silent


@pytest.mark.parametrize("program", ["muster", "muster-agent", "muster-controller"])
def test_paragraphs_wrap_as_one(program):
    """A line that is longer than the screen is cut there; if the next one belongs to it, what is read has a ragged edge."""
    ragged = []
    for name, command in pages(program).items():
        lines = (command.get("discussion") or "").split("\n")
        for line, following in zip(lines, lines[1:]):
            if len(line) > 80 and following and not following.startswith(" "):
                ragged.append(f"{name}: {line[:60]}")
    assert not ragged, ragged

#!/usr/bin/env python3
"""Writes the manual pages from the programs' own command definitions: manual.py FOLDER-OF-PROGRAMS OUTPUT-FOLDER

Each command has its page (muster-run.1), and each program one that lists its commands. The definitions come from the programs
themselves, so that a page and `--help` cannot differ.
"""

import json
import pathlib
import re
import subprocess
import sys

PROGRAMS = {"muster": 1, "muster-agent": 8, "muster-controller": 8}
SEE_ALSO = [f"{name}({section})" for name, section in PROGRAMS.items()]
FILES = {
    "muster": [("~/.aws/config, ~/.aws/credentials", "The profile that names controller and keys; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name others.")],
    "muster-agent": [("/etc/muster/agent.json5", "Configuration; every key stands there at its default, with a comment.")],
    "muster-controller": [("/etc/muster/controller.json5", "Configuration; every key stands there at its default, with a comment."),
                          ("/var/lib/muster-controller", "Keys, certificates and the store.")],
}


def escape(text):
    """Plain text for roff: nothing in it is a request, an escape or a typographic dash."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq").replace("…", "...")
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in text.split("\n"))


def paragraph(text):
    """Indented lines, which are examples, stay as they are."""
    pieces, indented = [], False
    for line in text.split("\n"):
        if line.startswith("  ") != indented or not pieces:
            indented = line.startswith("  ")
            pieces.append((indented, []))
        pieces[-1][1].append(line)
    return "\n".join(".nf\n" + escape("\n".join(lines)) + "\n.fi" if verbatim else escape(" ".join(" ".join(lines).split()))
                     for verbatim, lines in pieces)


def paragraphs(text):
    return "\n.PP\n".join(paragraph(part) for part in re.split(r"\n\s*\n", text.strip()))


def name_of(argument):
    names = argument.get("names") or []
    value = argument.get("valueName", "")
    if argument["kind"] == "positional":
        terminator = "\\-\\- " if argument.get("parsingStrategy") == "postTerminator" else ""
        return f"{terminator}\\fI{escape(value)}\\fR" + (" ..." if argument.get("isRepeating") else "")
    dashes = {"long": "--", "short": "-", "longWithSingleDash": "-"}
    words = ", ".join("\\fB" + escape(dashes[n["kind"]] + n["name"]) + "\\fR" for n in sorted(names, key=lambda n: n["kind"] == "long"))
    return words + (f" \\fI{escape(value)}\\fR" if argument["kind"] == "option" else "")


def described(argument):
    words = [argument.get("abstract", ""), argument.get("discussion", "")]
    if argument.get("allValues") and not all(v in words[0] for v in argument["allValues"]):
        words.append("Values: " + ", ".join(argument["allValues"]) + ".")
    if argument.get("defaultValue") and argument["kind"] != "flag":
        words.append(f"Default: {argument['defaultValue']}.")
    return " ".join(w.strip() for w in words if w) or "See above."


def synopsis(path, command, arguments):
    parts = [f"\\fB{escape(' '.join(path))}\\fR"]
    if command.get("subcommands"):
        parts.append("\\fIcommand\\fR")
    for argument in arguments:
        word = name_of(argument).split(", ")[-1]
        parts.append(f"[{word}]" if argument.get("isOptional") else word)
    return " ".join(parts)


def page(path, command, section, version):
    title = "-".join(path)
    arguments = [a for a in command.get("arguments", []) if a.get("shouldDisplay", True)]
    subcommands = [c for c in command.get("subcommands", []) if c["commandName"] != "help" and c.get("shouldDisplay", True)]
    out = [f'.TH "{title.upper()}" "{section}" "" "{version}" "Muster"', ".nh", ".SH NAME",
           f"{escape(title)} \\- {escape(command.get('abstract', '').strip().rstrip('.'))}", ".SH SYNOPSIS", synopsis(path, {**command, "subcommands": subcommands}, arguments)]
    out += [".SH DESCRIPTION", paragraphs(command.get("abstract", title))]
    if command.get("discussion"):
        out += [".PP", paragraphs(command["discussion"])]
    for heading, kinds in (("ARGUMENTS", ("positional",)), ("OPTIONS", ("option", "flag"))):
        chosen = [a for a in arguments if a["kind"] in kinds]
        if chosen:
            out.append(f".SH {heading}")
            for argument in chosen:
                out += [".TP", name_of(argument), escape(described(argument))]
    if subcommands:
        out.append(".SH COMMANDS")
        for sub in subcommands:
            out += [".TP", f"\\fB{escape('-'.join(path + [sub['commandName']]))}\\fR({section})", escape(sub.get("abstract", ""))]
    if len(path) == 1:
        out.append(".SH FILES")
        for file, words in FILES[path[0]]:
            out += [".TP", f"\\fI{escape(file)}\\fR", escape(words)]
    related = ([f"{'-'.join(path[:-1])}({section})"] if len(path) > 1 else []) + [s for s in SEE_ALSO if s != f"{title}({section})"]
    out += [".SH SEE ALSO", escape(", ".join(dict.fromkeys(related)))]
    return "\n".join(out) + "\n"


def pages(program, section, folder):
    """Every (file name, text) of one program."""
    definition = json.loads(subprocess.run([folder / program, "--experimental-dump-help"], capture_output=True, check=True, timeout=30).stdout)
    version = subprocess.run([folder / program, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()
    version = version if re.fullmatch(r"[\w. -]{1,60}", version) else program

    def walk(path, command):
        yield f"{'-'.join(path)}.{section}", page(path, command, section, version)
        for sub in command.get("subcommands", []):
            if sub["commandName"] != "help" and sub.get("shouldDisplay", True):
                yield from walk(path + [sub["commandName"]], sub)
    yield from walk([program], definition["command"])


def main(folder, output):
    for program, section in PROGRAMS.items():
        target = pathlib.Path(output) / f"man{section}"
        target.mkdir(parents=True, exist_ok=True)
        for name, text in pages(program, section, pathlib.Path(folder)):
            (target / name).write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""Man pages and shell completion of a command, made from the command itself.

A program of its own, run by the interpreter of the package: ``pages.py NAME MODULE:APP SHARE``
writes below ``SHARE`` what belongs into /usr/share.
"""

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_COMPLETION = """\
# Completion of {name} for bash.
_{function}() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" path="" commands="" options="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $word" in
{steps}
        esac
    done
    case "$path" in
{words}
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur"; compgen -f -- "$cur")
    fi
}}
complete -o filenames -F _{function} {name}
"""


# What stands for a command here is typer's own class, which no stub describes.
def walk(
    command: Any, path: tuple[str, ...], parent: Any = None
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield path, command and context of a command and of all below it."""
    context = command.make_context(path[-1], [], parent=parent, resilient_parsing=True)
    yield path, command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        if below is not None and not getattr(below, "hidden", False):
            yield from walk(below, (*path, name), context)


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def _paragraphs(text: str) -> str:
    blocks = re.split(r"\n\s*\n", text.replace("\b", "").strip())
    return "\n.PP\n".join(_roff(re.sub(r"\s*\n\s*", " ", block.strip())) for block in blocks)


def page(path: tuple[str, ...], command: Any, context: Any, date: str) -> str:
    """Return the man page of one command."""
    name, about = "-".join(path), command.help or ""
    first = re.sub(r"\s+", " ", re.split(r"(?<=[.:])\s|\n\s*\n", about.strip())[0]).rstrip(".")
    lines = [f'.TH "{_roff(name.upper())}" 1 "{date}" "tianfu-edge" "tianfu-edge"', ".SH NAME"]
    lines.append(f"{_roff(name)} \\- {_roff(first[:1].lower() + first[1:])}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines += [".SH SYNOPSIS", f".B {_roff(' '.join(path))}", _roff(usage)]
    lines += [".SH DESCRIPTION", _paragraphs(about)]
    records = [
        record for item in command.get_params(context) if (record := item.get_help_record(context))
    ]
    if records:
        lines.append(".SH OPTIONS")
    for names, text in records:
        lines += [".TP", f".B {_roff(names)}", _roff(re.sub(r"\s+", " ", text or ""))]
    if hasattr(command, "list_commands"):
        lines.append(".SH COMMANDS")
        for below in command.list_commands(context):
            lines += [
                ".TP",
                f".BR {_roff(name)}\\-{_roff(below)} (1)",
                f"{_roff(' '.join((*path, below)))}",
            ]
    from protocols.exit_status import MEANINGS

    lines.append(".SH EXIT STATUS")
    for status, meaning in MEANINGS.items():
        lines += [".TP", f".B {status}", _roff(meaning)]
    if len(path) > 1:
        lines += [".SH SEE ALSO", f".BR {_roff('-'.join(path[:-1]))} (1)"]
    return "\n".join(lines) + "\n"


def completion(name: str, tree: list[tuple[tuple[str, ...], Any, Any]]) -> str:
    """Return the script that completes commands and options in bash."""
    steps, words = [], []
    for path, command, context in tree:
        key = "/".join(path[1:])
        if key:
            before, _, last = key.rpartition("/")
            steps.append(f'        "{before} {last}") path="{key}" ;;')
        found = [option for item in command.get_params(context) for option in item.opts]
        options = " ".join(dict.fromkeys([*(word for word in found if word[:2] == "--"), "--help"]))
        below = command.list_commands(context) if hasattr(command, "list_commands") else ()
        words.append(f'    "{key}") commands="{" ".join(below)}" options="{options}" ;;')
    function = name.replace("-", "_")
    return _COMPLETION.format(
        name=name, function=function, steps="\n".join(steps), words="\n".join(words)
    )


def main() -> None:
    """Write all pages and the completion of one command."""
    name, entry, share = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    module, _, attribute = entry.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    tree = list(walk(typer.main.get_command(app), (name,)))
    manual = share / "man/man1"
    manual.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version("tianfu-edge")
    for path, command, context in tree:
        file = manual / f"{'-'.join(path)}.1"
        file.write_text(page(path, command, context, version), encoding="utf-8")
    script = share / "bash-completion/completions" / name
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(completion(name, tree), encoding="utf-8")


if __name__ == "__main__":
    main()

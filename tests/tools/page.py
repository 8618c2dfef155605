"""The command line of the modules that write a page of ``docs``: print, write or compare it."""

import sys
from collections.abc import Sequence
from pathlib import Path


def run(arguments: Sequence[str], path: Path, text: str, command: str) -> int:
    """Do what the options ask for; returns the exit code.

    Without an option the page's text goes to standard output, with ``--write`` into its file.
    ``--check`` compares it with the file and ends with 1 if they differ; ``command`` mends that.
    """
    if list(arguments) == ["--write"]:
        path.write_text(text, encoding="utf-8")
    elif list(arguments) == ["--check"]:
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found != text:
            sys.stderr.write(f"{path.name} is not current; to write it anew: {command}\n")
            return 1
    elif arguments:
        sys.stderr.write(f"expected --write, --check or nothing, got {' '.join(arguments)}\n")
        return 2
    else:
        sys.stdout.write(text)
    return 0

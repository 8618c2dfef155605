"""Puts tables into a configuration file that people wrote, and leaves every other line as it is.

Python's own library reads TOML and does not write it. The lines are found by their headers, which
text over several lines could imitate; so whoever edits reads the result and compares it with what
it must mean (:mod:`gateway_agent.enrolment`).
"""

import re
from collections.abc import Mapping
from typing import Final

_HEADER: Final = re.compile(r"\s*\[{1,2}\s*([A-Za-z0-9_.\-]+)\s*\]{1,2}\s*(#.*)?$")


class NoPlaceError(Exception):
    """A table is not where it was looked for."""


def add_below(text: str, table: str, name: str, block: str) -> str:
    """Add ``block`` behind the last line of the ``[[table]]`` with this name, and what is in it."""
    lines = _lines(text)
    _, end = _span(lines, table, name, f"{table}.")
    return "".join([*lines[:end], "\n", block, *(["\n"] if lines[end:] else []), *lines[end:]])


def add_last(text: str, block: str) -> str:
    """Add ``block`` at the end."""
    return "".join([*_lines(text), "\n", block])


def set_keys(text: str, table: str, name: str, values: Mapping[str, str]) -> str:
    """Set keys of the ``[[table]]`` with this name; ``values`` are written in TOML."""
    lines = _lines(text)
    begin, end = _span(lines, table, name, "\0")
    for key, value in values.items():
        at = next((n for n in range(begin + 1, end) if _key(lines[n]) == key), None)
        if at is not None:
            lines[at] = f"{key} = {value}\n"
        else:
            lines.insert(begin + 1, f"{key} = {value}\n")
            end += 1
    return "".join(lines)


def _lines(text: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _key(line: str) -> str:
    return line.partition("=")[0].strip()


def _span(lines: list[str], table: str, name: str, inside: str) -> tuple[int, int]:
    """Return where the table begins and where the next begins that is not in it."""
    headers = [(n, found[1]) for n, line in enumerate(lines) if (found := _HEADER.match(line))]
    for at, (begin, header) in enumerate(headers):
        own_end = headers[at + 1][0] if at + 1 < len(headers) else len(lines)
        if header != table or not any(_has_name(each, name) for each in lines[begin:own_end]):
            continue
        rest = [n for n, other in headers[at + 1 :] if not other.startswith(inside)]
        end = rest[0] if rest else len(lines)
        # What stands above the next header belongs to it: blank lines and comments.
        while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1][0] == "#"):
            end -= 1
        return begin, end
    raise NoPlaceError(f"[[{table}]] with name {name!r}")


def _has_name(line: str, name: str) -> bool:
    return re.match(rf"""\s*name\s*=\s*["']{re.escape(name)}["']\s*(#.*)?$""", line) is not None

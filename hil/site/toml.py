"""Write configuration files as TOML, which Python's own library only reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard


def dump_toml(tables: Mapping[str, object]) -> str:
    """Return nested tables as TOML: strings, numbers, arrays of them, tables, arrays of tables.

    TypeError for a value of any other type.
    """
    return "\n".join(_lines(tables, "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, object], name: str) -> Iterator[str]:
    below: list[tuple[str, Mapping[str, object], str]] = []
    for key, value in table.items():
        path = f"{name}.{key}" if name else key
        if isinstance(value, Mapping):
            below.append((path, value, f"[{path}]"))
        elif _is_tables(value):
            below += [(path, each, f"[[{path}]]") for each in value]
        else:
            yield f"{key} = {_plain(value)}"
    for path, inner, head in below:
        yield ""
        yield head
        yield from _lines(inner, path)


def _is_tables(value: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    return isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value)


def _plain(value: object) -> str:
    if isinstance(value, bool | int | float | str):
        # A JSON string is a basic string of TOML, but for U+007F, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    raise TypeError(f"expected a string, a number, a bool or an array, got {value!r}")

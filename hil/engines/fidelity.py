"""Where the engines' models differ from silicon: the table ``hil/engines/fidelity.toml``.

A test marked ``@pytest.mark.fidelity("qemu-uart-receive")`` is expected to fail on the engine of
that entry, strictly: when the model has learnt it, the test says so. An entry with a ``capability``
is the reason why the engine does not have it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from hil.errors import FidelityError

TABLE: Final = Path(__file__).with_name("fidelity.toml")


class Lie(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry."""

    id: str
    engine: str
    lie: str
    consequence: str
    source: str
    capability: str = ""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    lie: list[Lie] = msgspec.field(default_factory=list)


def read(path: Path) -> Mapping[str, Lie]:
    """Entries by id; empty without a file. FidelityError."""
    if not path.exists():
        return {}
    try:
        table = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise FidelityError(f"{path}: {error}") from error
    return {lie.id: lie for lie in table.lie}


@cache
def table() -> Mapping[str, Lie]:
    """The project's own."""
    return read(TABLE)


def lie_of(id: str) -> Lie:
    """The entry of that id. FidelityError names the known ones."""
    try:
        return table()[id]
    except KeyError:
        known = ", ".join(table()) or "none"
        raise FidelityError(f"no entry {id!r} in {TABLE.name}; it has {known}") from None


def why_not(engine: str, capability: str) -> str:
    """Why an engine has not a capability, as far as the table knows; empty otherwise."""
    return next(
        (x.lie for x in table().values() if (x.engine, x.capability) == (engine, capability)), ""
    )

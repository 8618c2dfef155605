"""Where the engines' models differ from silicon: the table ``hil/engines/fidelity.toml``.

A test marked ``@pytest.mark.fidelity("qemu-uart-receive")`` is expected to fail on the engine of
that entry, strictly: once the model behaves as the chip does, the run fails and names the entry.
An entry with ``capabilities`` is the one place that states why the engine does not have them.
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


class Defect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: a known difference between an engine's model and the chip."""

    id: str
    engine: str
    difference: str
    consequence: str
    source: str
    capabilities: tuple[str, ...] = ()
    symptom: str = ""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    defect: list[Defect] = msgspec.field(default_factory=list)


def read(path: Path) -> Mapping[str, Defect]:
    """Return the entries by id; empty without a file. FidelityError."""
    if not path.exists():
        return {}
    try:
        table = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise FidelityError(f"{path}: {error}") from error
    return {defect.id: defect for defect in table.defect}


@cache
def table() -> Mapping[str, Defect]:
    """Return the project's own table."""
    return read(TABLE)


def known_defect(id: str) -> Defect:
    """Return the entry of that id. FidelityError lists the known ids."""
    try:
        return table()[id]
    except KeyError:
        known = ", ".join(table()) or "none"
        raise FidelityError(f"no entry {id!r} in {TABLE.name}; it has {known}") from None


def has_symptom(engine: str, symptom: str) -> bool:
    """Return whether a known defect of the engine shows itself as ``symptom``."""
    return any(x.engine == engine and x.symptom == symptom for x in table().values())


def why_not(engine: str, capability: str) -> str:
    """Return why an engine lacks a capability; empty where the table has no entry for it."""
    return next(
        (
            defect.difference
            for defect in table().values()
            if defect.engine == engine and capability in defect.capabilities
        ),
        "",
    )

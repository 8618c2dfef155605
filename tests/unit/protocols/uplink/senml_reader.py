"""Reading any SenML pack (RFC 8428), so that what the gateway sends is held against the RFC itself.

The product's own reader takes a closed subset (``decode_record``).
"""

import math
from dataclasses import dataclass
from typing import Final

from protocols.uplink import FormatError, cbor
from protocols.uplink.checks import array, mapping, wrong
from protocols.uplink.senml import number
from protocols.wire.errors import BAD_VALUE, UNKNOWN

# Labels (RFC 8428 section 6, table 4).
BASE_VERSION: Final = -1
BASE_NAME: Final = -2
BASE_TIME: Final = -3
BASE_UNIT: Final = -4
BASE_VALUE: Final = -5
BASE_SUM: Final = -6
NAME: Final = 0
UNIT: Final = 1
VALUE: Final = 2
STRING: Final = 3
BOOLEAN: Final = 4
SUM: Final = 5
TIME: Final = 6
UPDATE_TIME: Final = 7
DATA: Final = 8

VERSION: Final = 10
MAX_PACK_BYTES: Final = 1024 * 1024
_NAME_START: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_NAME_CHARACTERS: Final = _NAME_START | frozenset("-:./_")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A record with nothing left to inherit (RFC 8428 section 4.6).

    ``time``: seconds; below 2**28 it is relative to now. ``value`` is what the record had: a
    number, text, a boolean or bytes; None when it had only a sum.
    """

    name: str
    unit: str
    time: float
    value: int | float | str | bytes | bool | None
    sum: int | float | None
    update_time: float | None


def decode_pack(data: bytes, strict: bool = True) -> list[Resolved]:
    """Read and resolve a pack.

    ``strict``: deterministic CBOR only. FormatError as ``cbor.decode`` and :func:`resolve` have it.
    """
    item = cbor.decode(data, MAX_PACK_BYTES, "SenML pack", strict)
    return resolve(array(item, "SenML pack", 0, 1, MAX_PACK_BYTES))


def resolve(pack: list[cbor.Item]) -> list[Resolved]:
    """Resolve the maps of a pack.

    FormatError(BAD_VALUE) names the record and its field: a wrong type, an impossible name, no
    value or two. FormatError(UNKNOWN): a label ending in "_", which must be understood (section
    4.4), or a version above 10.
    """
    base: dict[int | str, cbor.Item] = {}
    resolved = []
    for index, item in enumerate(pack):
        entry = mapping(item, f"record {index}", -1)
        for label in entry:
            if isinstance(label, str) and label.endswith("_"):
                raise FormatError(UNKNOWN, f"record {index}", -1, "labels known here", label)
            if isinstance(label, int) and BASE_SUM <= label < 0:
                base[label] = entry[label]
        # A map of base fields alone sets them for those after it (section 5.1.7 has one).
        if any(isinstance(label, str) or label >= 0 for label in entry):
            resolved.append(_resolve(entry, base, f"record {index}: "))
    return resolved


def _resolve(
    entry: dict[int | str, cbor.Item], base: dict[int | str, cbor.Item], where: str
) -> Resolved:
    version = base.get(BASE_VERSION, VERSION)
    if type(version) is not int or not 0 < version <= VERSION:
        raise FormatError(UNKNOWN, where + "bver", -1, f"at most {VERSION}", version)
    name = _text(base, BASE_NAME, where + "bn") + _text(entry, NAME, where + "n")
    if not name or name[0] not in _NAME_START or not _NAME_CHARACTERS.issuperset(name):
        raise wrong(where + "name", -1, "A-Za-z0-9-:./_, letter or digit first", repr(name[:80]))
    unit = _text(entry, UNIT, where + "u") or _text(base, BASE_UNIT, where + "bu")
    time = _sum(base, entry, (BASE_TIME, TIME), where + "t")
    held = [label for label in (VALUE, STRING, BOOLEAN, DATA) if label in entry]
    if len(held) > 1:
        raise wrong(where + "value", -1, "one of v, vs, vb, vd", f"labels {held}")
    value: int | float | str | bytes | bool | None = None
    if held == [VALUE] or (not held and BASE_VALUE in base):
        value = _sum(base, entry, (BASE_VALUE, VALUE), where + "v")
    elif held:
        value = _typed(entry[held[0]], held[0], where)
    total = None
    if SUM in entry or BASE_SUM in base:
        total = _sum(base, entry, (BASE_SUM, SUM), where + "s")
    if value is None and total is None:
        raise wrong(where + "value", -1, "v, vs, vb, vd or s", "none of them")
    update = _number(entry, UPDATE_TIME, where + "ut") if UPDATE_TIME in entry else None
    return Resolved(name, unit, time, value, total, update)


def _typed(value: cbor.Item, label: int, where: str) -> str | bytes | bool:
    if label == STRING and type(value) is str:
        return value
    if label == BOOLEAN and type(value) is bool:
        return value
    if label == DATA and type(value) is bytes:
        return value
    expected = {STRING: "text", BOOLEAN: "boolean", DATA: "bytes"}[label]
    raise FormatError(BAD_VALUE, where + f"label {label}", -1, expected, cbor.kind_of(value))


def _text(entry: dict[int | str, cbor.Item], label: int, what: str) -> str:
    value = entry.get(label, "")
    if type(value) is not str:
        raise wrong(what, -1, "text", cbor.kind_of(value))
    return value


def _number(entry: dict[int | str, cbor.Item], label: int, what: str) -> int | float:
    return number(entry.get(label, 0), what, -1)


def _sum(
    base: dict[int | str, cbor.Item],
    entry: dict[int | str, cbor.Item],
    labels: tuple[int, int],
    what: str,
) -> int | float:
    total = _number(base, labels[0], what + " (base)") + _number(entry, labels[1], what)
    if isinstance(total, float) and not math.isfinite(total):
        raise wrong(what, -1, "a sum within a double", total)
    return total

"""Write docs/profiles.md from the profile language: ``python -m tests.tools.profiles_page``.

With ``--write`` the page is written, without an option its text goes to standard output.
``--check`` compares it with the file and ends with 1 if they differ. The examples are the vectors
of ``protocols/vectors/profile.json``, which the tests of the decoder run.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypedDict

import msgspec

from gateway_agent.field.profile import load_profile, shipped
from gateway_agent.field.profile.language import (
    GroupSpec,
    PointSpec,
    ProfileHead,
    StatusSpec,
    WriteSpec,
)
from tests.paths import ROOT
from tests.tools import page

PATH: Final = ROOT / "docs" / "profiles.md"
VECTORS: Final = ROOT / "protocols" / "vectors" / "profile.json"

_COMMAND: Final = "python -m tests.tools.profiles_page --write"


class Case(TypedDict):
    """One vector."""

    what: str
    profile: str
    point: str
    data: list[str]
    value: int | float | str | None
    text: str


class Section(TypedDict):
    """Vectors of one kind."""

    section: str
    cases: list[Case]


_HEAD_KEYS: Final = {
    "name": "lower-case letters, digits and `-`; required",
    "title": "the device as its maker calls it; required",
    "source": "the document and the section that the registers are taken from; required",
    "tried": "who read which device with it, and when; without it: from the manual, not tried",
    "example": "`true`: an illustration rather than a device to rely on",
    "base": "1 where the manual counts registers from one; every register is then one less",
    "table": "`holding` (03), `input` (04), `coil` (01) or `discrete` (02), for all points",
    "order": "order of words and bytes for all points: `ABCD`, `CDAB`, `BADC` or `DCBA`",
    "word_order": "`big` or `little`: the same as two keys",
    "byte_order": "`big` or `little`",
    "max_words": "registers that one request may read, 1 to 125",
    "gap_words": "unwanted registers that may be read along; without it the bus's own",
    "never_join": "`true`: every point with a request of its own",
    "extends": "the profile that this one changes: a shipped one, or a file beside this one",
    "remove": "names of inherited points that this device lacks",
}
_GROUP_KEYS: Final = {
    "name": "what points write as `group`",
    "period_ms": "how often its points are read, whatever the period of the device",
}
_POINT_KEYS: Final = {
    "name": "a SenML name: letters, digits and `-:._`; required",
    "register": "the number in the request, from 0 (from 1 with `base = 1`); required",
    "type": "see the tables below; required",
    "table": "another table than the profile's",
    "unit": "a SenML unit (RFC 8428, RFC 8798)",
    "order": "another order than the profile's: `ABCD`, `CDAB`, `BADC`, `DCBA`",
    "word_order": "`big` or `little`: the same as two keys",
    "byte_order": "`big` or `little`",
    "half": "of `u8` and `i8`: `low` or `high`",
    "words": "length of a `string` in registers",
    "encoding": "of a `string`: `ascii`, `utf-8` or `gb18030`",
    "bit": "one bit of an integer, 0 the lowest",
    "mask": "bits of an integer",
    "shift": "how far the masked bits are shifted to the right; by default to the mask's lowest",
    "scale": "any decimal: value = raw * `scale` * 10^`exp10` + `offset`",
    "exp10": "a power of ten, -9 to 9",
    "offset": "any decimal",
    "scale_register": "a register (i16, same table) with the power of ten to scale by",
    "low": "lowest value after scaling; below it the point is `out-of-range`",
    "high": "highest value after scaling",
    "invalid": "values, or bits, that stand for no value: the point is `no-value`",
    "status": "a register that holds how good the value is, see below",
    "values": "words for codes, for people; records hold the number",
    "bits": "names of single bits, for people",
    "utc_offset_min": "what the device's clock is ahead of UTC, in minutes",
    "group": "the `[[group]]` with the period of this point",
    "never_join": "`true`: read with a request of its own",
    "what": "what the point is, for people",
    "write": "that it may be written, see below; without it never",
}
_WRITE_KEYS: Final = {
    "low": "the lowest value that may be written, in the point's unit; required of a number",
    "high": "the highest one; required of a number",
    "step": "only `low` and multiples of this above it",
    "confirm": "`true`: each write has to be confirmed (`--confirm`)",
    "by": (
        "the function: `05` or `0F` of a coil; `06`, `10` or `17` of one register, `10` or `17` of"
        " several, `16` of `bit` and `mask`. The first of each, without the key"
    ),
}
_STATUS_KEYS: Final = {
    "register": "the status register, in the point's table; required",
    "ok": "codes of a good value; with it every code that is in no list is a fault",
    "fault": "codes of a fault",
    "out_of_range": "codes of a value beyond the range",
    "warm_up": "codes of a device that warms up",
    "not_fitted": "codes of a value that does not exist",
}

_INTRODUCTION: Final = """\
A profile describes a third-party device: what each register means and how to read it. It is a TOML
file, never code. `tianfu-gateway profile list` shows those that come with the gateway, `profile
show NAME` the points of one, and `profile check FILE` names every mistake of your own.

```toml
[profile]
name = "my-meter"
title = "Meter of the pump house"
source = "manual 4.2, section 7.3"

[[point]]
name = "voltage"
unit = "V"
register = 0
type = "f32"
order = "CDAB"
low = 0
high = 400
```

In the gateway's configuration a device names it: `kind = "profile"`, `profile = "my-meter.toml"`.
Before that, read the device once:

```sh
tianfu-gateway profile try my-meter.toml --port /dev/ttyUSB0 --unit 3
tianfu-gateway profile try my-meter.toml --host 192.168.1.20:502
```

It prints every point with its raw words, its meaning and what looks wrong: a register that the
device does not have, a value beyond its bounds, and another order of the words (or another sign)
that would look right. Bounds make this sharper: give `low` and `high` wherever you know them.

## What manuals write

| in the manual | in the profile |
| --- | --- |
| 40001, 400001 or 4x0001; 40118 | `table = "holding"`, `register = 0`; `register = 117` |
| 30001, 300001 or 3x0001 | `table = "input"`, `register = 0` |
| 10001; 00001 | `table = "discrete"`; `table = "coil"`; `register = 0` |
| function 03, 04, 01, 02 | `table = "holding"`, `"input"`, `"coil"`, `"discrete"` |
| address 0x0012 or 0012H | `register = 0x12` |
| register 1 is the first one | `base = 1` under `[profile]`, and the numbers as they are |
| short, int16, signed; word, uint16 | `type = "i16"`; `type = "u16"` |
| long, int32; dword, uint32; float, real | `type = "i32"`; `type = "u32"`; `type = "f32"` |
| low 16 bits first, swapped, little endian words | `order = "CDAB"` |
| resolution 0.1, divide by 10, "x10" | `scale = 0.1` |
"""

_FAMILY: Final = """\
## A family of devices

A profile that `extends` another one has all its keys and points. A `[[point]]` with the name of an
inherited one changes only the keys it writes; others are added; `remove` takes points away.

```toml
[profile]
name = "my-single-phase-meter"
title = "The small one of the family"
source = "manual 4.2, section 8"
extends = "my-meter.toml"
remove = ["voltage_l2", "voltage_l3"]

[[point]]
name = "voltage_l1"
high = 300
```

## Groups with periods of their own

Points without a `group` are read with the `period_ms` of the device in the gateway's configuration;
those of a `[[group]]` with its own, be it shorter or longer. A record holds the points of one poll.

## What a record holds

A record holds numbers: an integer and a power of ten, or a float ([formats](formats.md)). A value
that has no number is a failed point with its reason. So words for codes and names of bits stay with
the profile, where they can be corrected later, and strings are shown by `status` and `profile try`
only ([decision 0019](decisions/0019-profile-values.md)). A value of more than 63 bits is
`out-of-range`, never another number.
"""


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def _keys(struct: type[msgspec.Struct], words: Mapping[str, str]) -> Iterator[str]:
    """Yield the table of a struct's keys; KeyError if one has no words."""
    names = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert set(words) == set(names), set(words) ^ set(names)
    yield from _table(("key", "meaning"), [(f"`{name}`", words[name]) for name in names])


def sections() -> list[Section]:
    """Return the vectors."""
    return msgspec.convert(
        json.loads(VECTORS.read_text(encoding="utf-8"))["sections"], list[Section]
    )


def _words(data: str) -> str:
    return " ".join(data[at : at + 4] for at in range(0, len(data), 4))


def _code(lines: str) -> str:
    return "<br>".join(f"`{line}`" for line in lines.splitlines())


def _value(case: Case) -> str:
    value = case["value"]
    if value is None:
        return f'"{case["text"]}"'
    shown = value if isinstance(value, str) else repr(value)
    return f'{shown} "{case["text"]}"' if case["text"] else shown


def _vectors() -> Iterator[str]:
    for section in sections():
        yield f"## {section['section']}"
        yield ""
        rows = []
        for case in section["cases"]:
            head = (
                f"`[profile]`<br>{_code(case['profile'])}<br>`[[point]]`<br>"
                if case["profile"]
                else ""
            )
            raw = "<br>".join(f"`{_words(data)}`" for data in case["data"])
            rows.append((case["what"], head + _code(case["point"]), raw, _value(case)))
        yield from _table(("construct", "keys", "registers", "value"), rows)


def _shipped() -> Iterator[str]:
    yield "## Profiles that come with the gateway"
    yield ""
    rows = []
    for name in shipped():
        head = load_profile(name).profile
        tried = head.tried or "from the manual, not tried on the device"
        rows.append((f"`{name}`", head.title, head.source, tried))
    yield from _table(("profile", "device", "source", "tried"), rows)


def render() -> str:
    """Return the whole page, Markdown."""
    lines = ["# Device profiles", "", f"<!-- Generated: {_COMMAND} -->", ""]
    lines += [*_INTRODUCTION.splitlines(), ""]
    for title, struct, words in (
        ("Keys of `[profile]`", ProfileHead, _HEAD_KEYS),
        ("Keys of `[[group]]`", GroupSpec, _GROUP_KEYS),
        ("Keys of `[[point]]`", PointSpec, _POINT_KEYS),
        ("Keys of `write`", WriteSpec, _WRITE_KEYS),
        ("Keys of `status`", StatusSpec, _STATUS_KEYS),
    ):
        lines += [f"## {title}", "", *_keys(struct, words)]
    lines.append(
        "Codes (`invalid`, and those of `status`) are numbers of the point's type, or bits as text:"
        ' `"0x8000"`, or `"0x8000&0xC000"` where only the bits of the mask count. A code that can'
        " never match is refused."
    )
    lines.append("")
    lines += _vectors()
    lines += [*_FAMILY.splitlines(), ""]
    lines += _shipped()
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

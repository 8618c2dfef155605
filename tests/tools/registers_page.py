"""Write docs/registers.md from the register maps: ``python -m tests.tools.registers_page``.

With ``--write`` the page is written, without an option its text goes to standard output.
``--check`` compares it with the file and ends with 1 if they differ.
"""

import sys
from collections.abc import Iterator, Sequence

from protocols import registers_doc
from protocols.wire import register_names, registers, sample, signed_write
from protocols.wire.registers import MAPS, Point, RegisterMap
from tests.paths import ROOT
from tests.tools import page, site_part, update_part

PATH = ROOT / "docs" / "registers.md"

_COMMAND = "python -m tests.tools.registers_page --write"
_KINDS = {registers.U16: "u16", registers.I16: "i16", registers.U32: "u32"}

_HEADER = (
    (0, "map_id", "u16", "which map this frame follows"),
    (1, "map_version", "u16", "its version; any change of the map raises it"),
    (2, "boot_epoch", "u32", "number of starts of the node, kept over restarts"),
    (4, "seq", "u32", "number of samples (events, in the event frame) since the start"),
    (6, "t_boot_ms", "u32", "time of sampling in ms since the start; wraps after 49.7 days"),
    (8, "status", "u16", "status bits, see below"),
    (9, "event_seq", "u16", "low half of the number of events since the start"),
)

_INTRODUCTION = (
    "Register numbers count from 0, as they stand in a Modbus request; many tools show them one "
    "higher (30001 for input register 0, 40001 for holding register 0). Names and units are those "
    "of the SenML records (RFC 8428); a point without a registered unit has none."
)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def _scaled(raw: int, exp10: int) -> str:
    return f"{raw * 10**exp10:.{-exp10}f}" if exp10 < 0 else str(raw * 10**exp10)


def _point(register: int, index: int, point: Point, what: str) -> tuple[object, ...]:
    low, high = _scaled(point.low, point.exp10), _scaled(point.high, point.exp10)
    step = "1" if point.exp10 == 0 else _scaled(1, point.exp10)
    unit = f"`{point.unit}`" if point.unit else "none"
    kind = _KINDS[point.kind]
    return register, index, f"`{point.name}`", unit, kind, step, f"{low} to {high}", what


def _role(map: RegisterMap) -> Iterator[str]:
    yield f"## {map.role}: {map.product}, map 0x{map.map_id:04X} version {map.version}"
    yield ""
    yield (
        f"{map.words} input registers from 0x{registers.SAMPLE_ADDRESS:04X}, read in one request "
        f"(FC 04, address {registers.SAMPLE_ADDRESS}, quantity {map.words})."
    )
    yield ""
    first = registers.HEADER_WORDS
    last = first + map.quality_words - 1
    span = f"register {first}" if first == last else f"registers {first} to {last}"
    yield f"Quality nibbles of the points: {span}."
    yield ""
    what = registers_doc.POINTS[map.role]
    rows = [
        _point(registers.SAMPLE_ADDRESS + map.offsets[index], index, point, what[point.name])
        for index, point in enumerate(map.points)
    ]
    yield from _table(
        ("register", "point", "SenML name", "unit", "type", "step", "range", "what"), rows
    )
    key = registers.SAMPLE_ADDRESS + map.words - registers.TRAILER_WORDS
    yield f"Key id: register {key}. Tag: registers {key + 1} to {key + 8}."
    yield ""


def _envelope() -> Iterator[str]:
    yield "## The envelope of a frame"
    yield ""
    yield (
        f"Every frame begins with {registers.HEADER_WORDS} registers of header and ends with "
        f"{registers.TRAILER_WORDS} registers of key id and tag. Registers hold big endian words, "
        "the high word of a u32 first. Read in one request, a frame is always one coherent sample."
    )
    yield ""
    yield from _table(("register", "field", "type", "what"), _HEADER)
    yield (
        "The tag is HMAC-SHA256 with the node's key over all bytes of the frame before it, "
        f"followed by the node's 12 byte unique id, cut to {sample.TAG_BYTES} bytes. Without a key "
        "both key id and tag are zero."
    )
    yield ""
    yield "### Status bits"
    yield ""
    rows = [
        (f"0x{1 << bit:04X}", name, registers_doc.STATUS[name])
        for bit, name in enumerate(register_names.STATUS_NAMES)
    ]
    yield from _table(("bit", "name", "meaning"), rows)
    yield "### Quality of a point"
    yield ""
    yield (
        "Four bits for each point, four points to a register, the first in the lowest bits. A "
        "point whose quality is not `ok` carries 0 and is no reading."
    )
    yield ""
    names = list(enumerate(register_names.QUALITY_NAMES))
    yield from _table(
        ("code", "name", "meaning"), [(c, n, registers_doc.QUALITY[n]) for c, n in names]
    )


def _events() -> Iterator[str]:
    first = registers.EVENT_ADDRESS
    yield f"## Events: map 0x{registers.EVENT_MAP_ID:04X} version {registers.EVENT_MAP_VERSION}"
    yield ""
    yield (
        f"{registers.EVENT_WORDS} input registers from 0x{first:04X} (FC 04), in the same "
        f"envelope. The body has {registers.EVENT_SLOTS} slots of {registers.EVENT_SLOT_WORDS} "
        "registers with the newest events, the oldest of them first: code, argument, time in ms "
        "since the start (u32). `seq` counts the events since the start, so the event in slot i "
        f"has the number `seq - min(seq, {registers.EVENT_SLOTS}) + 1 + i`. Empty slots are zero."
    )
    yield ""
    rows = [
        (code, name, registers_doc.EVENT_ARGUMENTS[name])
        for code, name in enumerate(register_names.EVENT_NAMES)
        if code
    ]
    yield from _table(("code", "name", "argument"), rows)


def _image() -> Iterator[str]:
    info, window = registers.IMAGE_INFO_ADDRESS, registers.IMAGE_WINDOW_ADDRESS
    yield "## Image (camera)"
    yield ""
    yield (
        "Input registers (FC 04), exception 02 while `image_export` is 0. The window shows "
        f"{registers.IMAGE_WINDOW_BYTES} bytes of the JPEG from `image_page` * "
        f"{registers.IMAGE_WINDOW_BYTES} on, zero behind its end."
    )
    yield ""
    rows = (
        (f"0x{info:04X}", 2, "number of the image, u32"),
        (f"0x{info + 2:04X}", 2, "length in bytes, u32"),
        (f"0x{info + 4:04X}", 16, "SHA-256 of the image"),
        (f"0x{info + 20:04X}", 2, "offset of the window in the image, u32"),
        (f"0x{window:04X}", registers.IMAGE_WINDOW_WORDS, "window"),
    )
    yield from _table(("register", "registers", "what"), rows)


def _settings() -> Iterator[str]:
    yield "## Configuration"
    yield ""
    yield (
        "Holding registers (FC 03, 06, 10, 17), kept over restarts. A value outside its range is "
        "refused with exception 03 and nothing of the request is written. Every change is an event "
        "with the value before and after it. A node that has a key takes only signed writes, see "
        "below."
    )
    yield ""
    rows: list[tuple[object, ...]] = [
        (
            registers.CONFIG_ADDRESS + index,
            f"`{setting.name}`",
            setting.default,
            f"{setting.low} to {setting.high}",
            registers_doc.SETTINGS[setting.name],
        )
        for index, setting in enumerate(registers.SETTINGS)
    ]
    yield from _table(("register", "name", "default", "range", "what"), rows)
    yield (
        f"Register 0x{registers.COMMAND_ADDRESS:04X} takes commands and reads as 0: "
        f"0x{registers.COMMAND_RESTART:04X} restarts the node after its answer, "
        f"0x{registers.COMMAND_MEMORY:04X} prints its heap figures on the console. Register "
        f"0x{registers.IMAGE_PAGE_ADDRESS:04X} is `image_page`, 0 at every start."
    )
    yield ""


def _signed() -> Iterator[str]:
    first, signed = registers.WRITE_COUNTER_ADDRESS, registers.SIGNED_ADDRESS
    yield "## Signed writes"
    yield ""
    yield (
        "Holding registers to be read (FC 03). A plain write of a setting or of the restart command"
        " to a node that has a key is refused with exception 01 and counted; the image page and the"
        f" command 0x{registers.COMMAND_MEMORY:04X} change nothing that lasts and need no tag."
    )
    yield ""
    rows: tuple[tuple[str, str, str, str], ...] = (
        (
            f"0x{registers.COMMISSIONED_ADDRESS:04X}",
            "commissioned",
            "u16",
            "1: the node has a key and takes signed writes only; 0: plain writes only",
        ),
        (f"0x{first:04X}", "boot_epoch", "u32", "counter of the next signed write, first half"),
        (
            f"0x{first + 2:04X}",
            "number",
            "u32",
            "second half: from 0 (a random number while the store is volatile), +1 each write",
        ),
        (
            f"0x{registers.WRITES_REFUSED_ADDRESS:04X}",
            "writes_refused",
            "u16",
            "writes without the right tag and counter since the start, at most 65535",
        ),
    )
    yield from _table(("register", "field", "type", "what"), rows)
    yield (
        f"A signed write is one request (FC 10) to 0x{signed:04X} with "
        f"{signed_write.MIN_WORDS} to {signed_write.MAX_WORDS} registers:"
    )
    yield ""
    rows = (
        ("0", "boot_epoch", "u32", f"as read from 0x{first:04X}"),
        ("2", "number", "u32", f"as read from 0x{first + 2:04X}"),
        ("4", "register", "u16", "the first setting to write, or the command register"),
        ("5", "values", f"1 to {signed_write.MAX_VALUES} u16", "for it and the registers after it"),
        ("behind them", "tag", f"{sample.TAG_BYTES} bytes", "see below"),
    )
    yield from _table(("offset", "field", "type", "what"), rows)
    yield (
        f"The tag is HMAC-SHA256 with the node's key over the words 0x{signed_write.WRITE_ID:04X}, "
        f"0x{signed_write.WRITE_VERSION:04X} and the Modbus address, all bytes of the block before "
        f"the tag, and the node's 12 byte unique id, cut to {sample.TAG_BYTES} bytes. A wrong tag "
        "or counter is refused with exception 07 and counted; exceptions 02 and 03 mean what they "
        "mean to a plain write, and the counter is used up. After an answer that was lost, read "
        "the counter: it has moved if the write was taken. `protocols/vectors/signed_write.json` "
        "has whole requests; `tianfu-node set` sends them."
    )
    yield ""


def _raw() -> Iterator[str]:
    yield "## Raw readings"
    yield ""
    yield (
        f"Input registers (FC 04) from 0x{registers.RAW_ADDRESS:04X}, one for each point of the "
        "role in the order of its table: what the part itself gave at the last sample, also where "
        "the value is out of range. It is the part's own number for the point, and 0 where the "
        "part gave none and for all points of a camera. They carry no tag: for calibration, not "
        "for records."
    )
    yield ""
    rows = (
        ("pH, turbidity", "reading of the converter, 65535 at its reference voltage"),
        ("SHT3x", "the part's word, 65535 at full scale"),
        ("DS18B20", "temperature in 1/16 Cel, i16"),
        ("others", "the value itself, as the part sends it"),
    )
    yield from _table(("part", "raw reading"), rows)


def render() -> str:
    """Return the whole page, Markdown."""
    lines = [
        "# Registers of a node",
        "",
        f"<!-- Generated from protocols/wire/registers.py: {_COMMAND} -->",
        "",
        _INTRODUCTION,
        "",
    ]
    lines += _envelope()
    for map in MAPS:
        lines += _role(map)
    for part in (
        _events(),
        _image(),
        _raw(),
        _settings(),
        _signed(),
        site_part.lines(),
        update_part.lines(),
    ):
        lines += part
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

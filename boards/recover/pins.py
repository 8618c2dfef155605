"""The pins that a technician needs, as text and as a drawing, both from board.toml's tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from boards.spec import Spec

_ROW: Final = 26  # pixels
_TOP: Final = 56
_LEFT: Final = 250  # where the board's right edge is
_WIDE: Final = 640


@dataclass(frozen=True, slots=True)
class PinUse:
    """A pin, what it is on the board, and what is connected to it."""

    pin: str
    what: str
    partner: str
    arrow: str  # "->" the board drives it, "<-" the partner does, "--" neither


def pin_uses(spec: Spec) -> list[PinUse]:
    """Return the pins of console, line and recovery, in the order in which they are connected."""
    return [*_serial(spec), *_recovery(spec)]


def text(spec: Spec) -> str:
    """Return the picture in characters, without a colour."""
    uses = pin_uses(spec)
    title = spec.board.name
    width = max(map(len, [title, *(f"{use.what}  {use.pin}" for use in uses)])) + 2
    lines = [f"+{'-' * (width + 2)}+", f"| {title:<{width}} |", f"|{' ' * (width + 2)}|"]
    for use in uses:
        gap = " " * (width - len(use.what) - len(use.pin))
        wire = {"->": "---->", "<-": "<----", "--": "-----"}[use.arrow]
        lines.append(f"| {use.what}{gap}{use.pin} o{wire} {use.partner}")
    lines.append(f"+{'-' * (width + 2)}+")
    return "\n".join([*lines, *([f"bootloader: {spec.flash.enter}"] if spec.flash.enter else [])])


def svg(spec: Spec) -> str:
    """Return the picture as a drawing that stands by itself."""
    uses = pin_uses(spec)
    height = _TOP + _ROW * len(uses) + 44
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height}" '
            f'width="{_WIDE}" height="{height}" font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="{_WIDE}" height="{height}" fill="#fff"/>',
        (
            f'<rect x="10" y="10" width="{_LEFT - 10}" height="{height - 48}" rx="8" '
            'fill="#e9f3ec" stroke="#2c6e49"/>'
        ),
        f'<text x="24" y="34" font-weight="bold">{escape(spec.board.name)}</text>',
    ]
    for row, use in enumerate(uses):
        y = _TOP + _ROW * row + 8
        start, end = _LEFT + 6, _LEFT + 76
        parts += [
            f'<text x="24" y="{y + 5}">{escape(use.what)}</text>',
            (
                f'<text x="{_LEFT - 14}" y="{y + 5}" text-anchor="end" font-family="monospace">'
                f"{escape(use.pin)}</text>"
            ),
            f'<circle cx="{_LEFT}" cy="{y}" r="6" fill="#fff" stroke="#2c6e49"/>',
            f'<path d="M{start} {y}H{end}" stroke="#333"/>',
            _head(use.arrow, start, end, y),
            f'<text x="{end + 10}" y="{y + 5}">{escape(use.partner)}</text>',
        ]
    parts.append(f'<text x="10" y="{height - 12}" fill="#444">{escape(spec.flash.enter)}</text>')
    return "\n".join([*(part for part in parts if part), "</svg>", ""])


def _head(arrow: str, start: int, end: int, y: int) -> str:
    if arrow == "->":
        return f'<path d="M{end} {y}l-8 -4v8z" fill="#333"/>'
    if arrow == "<-":
        return f'<path d="M{start} {y}l8 -4v8z" fill="#333"/>'
    return ""


def _serial(spec: Spec) -> Iterator[PinUse]:
    uarts = spec.tables.get("uart")
    if not isinstance(uarts, dict):
        return
    for name, partner in (("console", "console adapter"), ("line", "RS-485 converter")):
        entry = uarts.get(name)
        if not isinstance(entry, dict):
            continue
        for key, what, end, arrow in (
            ("tx", "TX", "RX (DI)" if name == "line" else "RX", "->"),
            ("rx", "RX", "TX (RO)" if name == "line" else "TX", "<-"),
            ("de", "direction", "DE and /RE", "->"),
        ):
            if key in entry:
                yield PinUse(str(entry[key]), f"{name} {what}", f"{end} of the {partner}", arrow)


def _recovery(spec: Spec) -> Iterator[PinUse]:
    pins = spec.tables.get("recover")
    if not isinstance(pins, dict):
        return
    for key, what, partner, arrow in (
        ("ground", "ground", "GND of both, always connected", "--"),
        ("boot0", "boot mode", "3.3 V for the bootloader, GND to run", "<-"),
        ("reset", "reset", "GND for a moment", "<-"),
    ):
        if key in pins:
            yield PinUse(str(pins[key]), what, partner, arrow)

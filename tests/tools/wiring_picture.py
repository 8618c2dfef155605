"""The drawing of an RS-485 line for the technician's guide, with words in both languages."""

from typing import Final

_WIDE: Final = 720
_HIGH: Final = 250
_A: Final = 96  # height of the wires
_B: Final = 126
_GND: Final = 156
_STATIONS: Final = (
    (60, "gateway", "网关"),
    (270, "node 2", "节点 2"),
    (440, "node 7", "节点 7"),
    (630, "last node", "末端节点"),
)
_CHINESE: Final = "120 Ω 只接在总线两端；偏置电阻只接一处（网关）；不要分支接线"  # noqa: RUF001


def svg() -> str:
    """Return the drawing: one line from end to end, resistors at both ends, bias at one place."""
    left, right = _STATIONS[0][0], _STATIONS[-1][0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}"',
        f'width="{_WIDE}" height="{_HIGH}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="#fff"/>',
    ]
    for y, name, colour in ((_A, "A", "#c62828"), (_B, "B", "#1565c0"), (_GND, "GND", "#555")):
        parts.append(f'<path d="M{left} {y}H{right}" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{right + 46}" y="{y + 5}" fill="{colour}">{name}</text>')
    for x, english, chinese in _STATIONS:
        parts += [
            f'<rect x="{x - 42}" y="14" width="84" height="42" rx="6"',
            'fill="#e9f3ec" stroke="#2c6e49"/>',
            _text(x, 32, english),
            _text(x, 49, chinese),
        ]
        for shift, y, colour in ((-12, _A, "#c62828"), (0, _B, "#1565c0"), (12, _GND, "#555")):
            parts.append(f'<path d="M{x + shift} 56V{y}" stroke="{colour}" stroke-width="1.5"/>')
            parts.append(f'<circle cx="{x + shift}" cy="{y}" r="3" fill="{colour}"/>')
    for x in (left - 30, right + 30):
        inner = left if x < left else right
        parts += [
            f'<path d="M{inner} {_A}H{x}V{_A + 5}M{x} {_B - 5}V{_B}H{inner}"',
            'fill="none" stroke="#333" stroke-width="1.5"/>',
            f'<rect x="{x - 5}" y="{_A + 5}" width="10" height="20" fill="#fff" stroke="#333"/>',
            _text(x, _A - 8, "120 Ω"),
        ]
    bias = 160
    for start, end, y, words in ((_A, 70, 66, "+5 V, 680 Ω"), (_B, _GND, 178, "680 Ω")):
        middle = (start + end) // 2
        parts += [
            f'<path d="M{bias} {start}V{end}" stroke="#333" stroke-width="1.5"/>',
            f'<rect x="{bias - 5}" y="{middle - 7}" width="10" height="14"',
            'fill="#fff" stroke="#333"/>',
            _text(bias, y, words),
        ]
    parts.append(f'<circle cx="{bias}" cy="{_GND}" r="3" fill="#555"/>')
    parts += [
        _text(_WIDE // 2, 216, "120 Ω at both ends only; bias once, at the gateway; no branches"),
        _text(_WIDE // 2, 236, _CHINESE),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: int, y: int, words: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{words}</text>'

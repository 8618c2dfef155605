"""The trace as a picture for a report: one SVG without script and without anything to load.

Each endpoint has a lane and each frame a box; rows wrap like text. Time runs to the right. A
silence longer than a box is cut short and labelled with its length. A box under the pointer shows
its frame in words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from string import Template
from typing import Final

from hil.bus.decode import BusFrame, FrameKind, frames
from hil.bus.trace import Burst

#: Frames drawn; of a longer trace these are the newest.
FRAMES: Final = 400
_LABELS = 92.0  # room for the lanes' names
_LANE = 26.0
_BOX = 18.0
_AXIS = 20.0
_ROW_GAP = 16.0
_HEAD = 52.0
_MIN_BOX, _MAX_BOX = 30.0, 220.0
_MIN_IDLE, _MAX_IDLE = 5.0, 46.0
_TICK_PX = 88.0
_CHAR_PX = 6.3
# Frames of an unpaced line take no time: they are drawn as if at 115200 baud.
_NOMINAL_BYTE_NS = 86_806
_LEGEND: Final = (
    ("request", "request"),
    ("answer", "answer"),
    ("exception", "exception"),
    ("damaged", "damaged"),
    ("unheard", "not heard"),
)

# Plain colours, no CSS variables: viewers of pictures that are no browsers do not know those.
_RULES: Final = Template("""
.bus .paper{fill:$paper}.bus text{fill:$ink;font-size:11px}
.bus .dim{fill:$dim;font-size:10px}.bus .title{font-size:13px;font-weight:600}
.bus .lane{stroke:$line;stroke-width:1}.bus .tick{stroke:$line;stroke-width:1}
.bus .idle{stroke:$dim;stroke-width:1;stroke-dasharray:1 3}
.bus .box text{fill:$paper;font:10px ui-monospace,monospace}
.bus .request rect{fill:$request}.bus .answer rect{fill:$answer}
.bus .exception rect{fill:$exception}.bus .damaged rect{fill:$damaged}
.bus .unheard rect{fill:none;stroke:$damaged;stroke-dasharray:3 2}
.bus .unheard text{fill:$damaged}
.bus .fault{fill:$fault;stroke:$paper;stroke-width:1}
.bus .clash rect{stroke:$damaged;stroke-width:2.5}
.bus .box:hover rect{stroke:$ink;stroke-width:1.5;stroke-dasharray:none}
""")
_LIGHT: Final = {
    "ink": "#1f2933", "dim": "#6b7785", "line": "#d8dee6", "paper": "#fff",
    "request": "#3b6fb5", "answer": "#2f8f5b", "exception": "#c77d0a", "damaged": "#c8373c",
    "fault": "#8a3ffc",
}  # fmt: skip
_DARK: Final = {
    "ink": "#e4e9ef", "dim": "#97a3b1", "line": "#35404c", "paper": "#171c22",
    "request": "#6ea3e8", "answer": "#55b985", "exception": "#e3a33c", "damaged": "#ef6a6e",
    "fault": "#b794ff",
}  # fmt: skip
_STYLE: Final = (
    ".bus{font-family:ui-sans-serif,system-ui,sans-serif}"
    + _RULES.substitute(_LIGHT)
    + "@media (prefers-color-scheme:dark){"
    + _RULES.substitute(_DARK)
    + "}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    frame: BusFrame
    start: int
    end: int


class _Scale:
    """Time to pixels: in proportion where the line is busy, silences cut short, rows by x."""

    def __init__(self, boxes: Sequence[_Box], width: float) -> None:
        spans = sorted(box.end - box.start for box in boxes)
        self._px_per_ns = 64.0 / spans[len(spans) // 2]
        times = sorted({edge for box in boxes for edge in (box.start, box.end)})
        reach = 0
        starts = iter(sorted((box.start, box.end) for box in boxes))
        pending = next(starts, None)
        self.times = times
        self.x = [0.0]
        self.row = [0]
        self.idle: list[tuple[int, int]] = []
        for begin, end in pairwise(times):
            while pending is not None and pending[0] <= begin:
                reach = max(reach, pending[1])
                pending = next(starts, None)
            busy = reach >= end
            size = (end - begin) * self._px_per_ns
            low, high = (_MIN_BOX, _MAX_BOX) if busy else (_MIN_IDLE, _MAX_IDLE)
            if not busy and size > _MAX_IDLE:
                self.idle.append((begin, end))
            x, row = self.x[-1], self.row[-1]
            if not busy and x + max(low, min(high, size)) + _MAX_BOX > width:
                # What follows a silence may begin a new row.
                x, row, size = 0.0, row + 1, 0.0
                low = 0.0
            self.x.append(x + max(low, min(high, size)))
            self.row.append(row)
        self.rows = self.row[-1] + 1
        self.width = max(self.x)

    def place(self, at: int) -> tuple[int, float]:
        """Return row and x of an edge of a box."""
        index = bisect_right(self.times, at) - 1
        return self.row[index], self.x[index]


def timeline_svg(
    bursts: Iterable[Burst],
    *,
    lanes: Sequence[str] = (),
    master: str = "gateway",
    title: str = "RS-485 line",
    width: int = 1180,
    last: int = FRAMES,
) -> str:
    """Return an ``<svg>`` of the newest ``last`` frames, about ``width`` pixels wide.

    ``lanes`` are the endpoints from top to bottom; endpoints missing there come after them.
    """
    every = list(frames(bursts, master))
    shown = every[-last:]
    if not shown:
        return _document(width, _HEAD, title, "nothing was sent on the line", [])
    names = list(dict.fromkeys([*lanes, *([] if lanes else [master]), *(f.origin for f in shown)]))
    boxes = _boxes(shown)
    scale = _Scale(boxes, width - _LABELS - 12)
    row_height = _AXIS + len(names) * _LANE + _ROW_GAP
    origin = every[0].start_ns
    out: list[str] = []
    for row in range(scale.rows):
        top = _HEAD + row * row_height
        for index, name in enumerate(names):
            y = top + _AXIS + index * _LANE + _LANE / 2
            out.append(f'<text x="12" y="{y + 4:g}">{escape(name)}</text>')
            out.append(_line("lane", _LABELS, y, _LABELS + scale.width + 8, y))
    out += _ticks(boxes, scale, origin, row_height, len(names))
    out += _silences(scale, row_height, len(names))
    for box in boxes:
        out += _draw(box, scale, row_height, names.index(box.frame.origin), origin)
    bad = sum(not frame.crc_ok for frame in shown)
    faults = sum(len(frame.faults) for frame in shown)
    note = (
        f"{len(shown)} of {len(every)} frames, {bad} damaged or not heard, {faults} faults applied"
    )
    return _document(width, _HEAD + scale.rows * row_height, title, note, out)


def _boxes(shown: Sequence[BusFrame]) -> list[_Box]:
    starts = sorted({frame.start_ns for frame in shown})
    boxes = []
    for frame in shown:
        end = frame.end_ns
        if end <= frame.start_ns:
            index = bisect_right(starts, frame.start_ns)
            end = frame.start_ns + max(1, len(frame.data)) * _NOMINAL_BYTE_NS
            if index < len(starts):
                end = max(frame.start_ns + 1, min(end, starts[index] - 1))
        boxes.append(_Box(frame, frame.start_ns, end))
    return boxes


def _draw(box: _Box, scale: _Scale, row_height: float, lane: int, origin: int) -> list[str]:
    frame = box.frame
    row, left = scale.place(box.start)
    # A box never spans rows: rows break only in a silence. Its end may stand in the next.
    size = scale.x[bisect_right(scale.times, box.end) - 1] - left
    x = _LABELS + left
    y = _HEAD + row * row_height + _AXIS + lane * _LANE + (_LANE - _BOX) / 2
    classes = f"box {frame.kind}" + (" clash" if frame.collided else "")
    out = [f'<g class="{classes}"><title>{escape(_hover(frame, origin))}</title>']
    out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{_BOX:g}" rx="3"/>')
    label = next((text for text in _labels(frame) if len(text) * _CHAR_PX < size - 4), "")
    if label:
        middle = x + size / 2
        out.append(
            f'<text x="{middle:.1f}" y="{y + 12.5:.1f}" text-anchor="middle">{escape(label)}</text>'
        )
    if frame.faults:
        out.append(f'<path class="fault" d="M{x - 1:.1f} {y - 4:.1f}h11l-5.5 9z"/>')
    out.append("</g>")
    return out


def _labels(frame: BusFrame) -> list[str]:
    """Return the labels that a box may have, the longest first."""
    if frame.kind is FrameKind.UNHEARD:
        return ["not heard", "lost"]
    if frame.kind is FrameKind.DAMAGED:
        return [f"{len(frame.data)} bytes, bad", "bad"]
    content = frame.content
    assert content is not None
    code = f"{content.function:02X}"
    if frame.kind is FrameKind.EXCEPTION:
        return [f"{code} {content.exception}", f"!{frame.data[2]:02X}"]
    if frame.kind is FrameKind.ANSWER:
        count = len(content.values) if content.values else 0
        return [f"{code} {count} registers", f"{code} x{count}", code] if count else [code]
    span = "" if content.address is None else f" {content.address}+{content.count}"
    return [
        f"unit {content.unit}: {code}{span}",
        f"{content.unit}: {code}{span}",
        f"{content.unit}: {code}",
    ]


def _hover(frame: BusFrame, origin: int) -> str:
    gap = "" if frame.gap_us is None else f", {frame.gap_us / 1000:.3f} ms after the last"
    lines = [
        f"{frame.origin}: {frame.describe()}",
        f"{frame.kind} at {(frame.start_ns - origin) / 1e9:.6f} s{gap}",
        f"{len(frame.data)} bytes: {frame.data[:40].hex(' ')}{' ...' * (len(frame.data) > 40)}",
    ]
    lines += [f"fault {fault}" for fault in frame.faults]
    if frame.collided:
        lines.append("collision")
    return "\n".join(lines)


def _ticks(
    boxes: Sequence[_Box], scale: _Scale, origin: int, row_height: float, lanes: int
) -> list[str]:
    out = []
    last: tuple[int, float] = (-1, 0.0)
    for box in boxes:
        row, x = scale.place(box.start)
        if row == last[0] and x - last[1] < _TICK_PX:
            continue
        last = (row, x)
        top = _HEAD + row * row_height
        at = _LABELS + x
        out.append(_line("tick", at, top + 2, at, top + _AXIS + lanes * _LANE))
        seconds = (box.start - origin) / 1e9
        out.append(f'<text class="dim" x="{at + 3:.1f}" y="{top + 12:g}">{seconds:.4f} s</text>')
    return out


def _silences(scale: _Scale, row_height: float, lanes: int) -> list[str]:
    out = []
    for begin, end in scale.idle:
        row, x = scale.place(begin)
        size = scale.place(end)[1] - x if scale.place(end)[0] == row else _MAX_IDLE
        top = _HEAD + row * row_height + _AXIS + lanes * _LANE
        middle = _LABELS + x + min(size, _MAX_IDLE) / 2
        out.append(_line("idle", middle, top - lanes * _LANE + 2, middle, top - 2))
        ms = (end - begin) / 1e6
        text = (
            f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
        )
        out.append(
            f'<text class="dim" x="{middle:.1f}" y="{top + 9:g}" text-anchor="middle">{text}</text>'
        )
    return out


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _document(width: float, height: float, title: str, note: str, body: Sequence[str]) -> str:
    legend = []
    x = width - 12.0 - len(_LEGEND) * 92 - 74
    for kind, name in (*_LEGEND, ("", "fault")):
        if kind:
            legend.append(
                f'<g class="box {kind}"><rect x="{x:g}" y="11" width="13" height="11" rx="2"/></g>'
            )
        else:
            legend.append(f'<path class="fault" d="M{x + 1:g} 12h11l-5.5 9z"/>')
        legend.append(f'<text class="dim" x="{x + 18:g}" y="20">{name}</text>')
        x += 92
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="bus" role="img"',
            f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
            f'<text class="title" x="12" y="21">{escape(title)}</text>',
            f'<text class="dim" x="12" y="38">{escape(note)}</text>',
            *legend,
            *body,
            "</svg>",
        ]
    )

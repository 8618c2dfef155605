"""Draw the pictures of the technician's guide: ``python -m tests.tools.guide_pictures --write``.

Each is made by the program that a technician sees, from the same inputs every time: the flash
against the model of the bootloader, the monitor from sample frames, the label from a line of the
station log, the pins from board.toml. With ``--check`` nothing is written; the exit status is 1 if
a picture is not current.
"""

import io
import os
import re
import shlex
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Final
from unittest.mock import patch

from rich.console import Console, RenderableType
from rich.text import Text
from typer.testing import CliRunner

from boards import spec as specs
from boards.cli import app
from boards.flash.prove import NodeProof, NodeProver
from boards.folder import default_name
from boards.label.code import dark_runs
from boards.label.label import HEIGHT_MM, QR_MM, WIDTH_MM, Label
from boards.monitor.chart import screen
from boards.monitor.watch import WatchedNode, reading_of
from boards.node_line import NodeIdentity
from boards.recover.pins import svg as pins_svg
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom
from protocols.wire.registers import RegisterMap, map_of_role
from protocols.wire.sample import decode
from tests.paths import ROOT
from tests.tools import page, wiring_picture

FOLDER: Final = ROOT / "docs" / "guide"
_COMMAND: Final = "python -m tests.tools.guide_pictures --write"
#: The command as the guide has it.
FLASH: Final = "tianfu-node flash --port /dev/ttyUSB0 --bus-port /dev/ttyUSB1 --role air --unit 7"
_UID: Final = bytes.fromhex("3a0021000f51303735313632")
#: It begins as an image of the chip does: where its stack and its first instruction are.
_IMAGE: Final = struct.pack("<II", 0x20004000, 0x08000101) + bytes(range(256)) * 80
_WIDTH: Final = 88
_KEY_ID: Final = 1


def pictures() -> Mapping[str, Callable[[], str]]:
    """Return what draws each picture, by the name of its file."""
    return {
        "pins.svg": lambda: pins_svg(specs.load(default_name())),
        "flash.svg": _flash,
        "label.svg": _label,
        "wiring.svg": wiring_picture.svg,
        "monitor.svg": _monitor,
    }


def _flash() -> str:
    """Flash a model of the board; only the node's key and its proof are put in."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        folder = Path(name)
        (folder / "image.bin").write_bytes(_IMAGE)

        def shown(prover: NodeProver, *arguments: object) -> NodeProof:
            boot = 1 if len(arguments) == 1 else 2
            return NodeProof(prover.uid, prover.role, prover.image, _KEY_ID, boot, 1)

        with (
            BootRomBoard(BootRom(_UID), folder) as board,
            patch("secrets.token_hex", lambda size: "5a" * size),
            patch.object(NodeProver, "prove", shown),
            patch.object(NodeProver, "prove_again", shown),
        ):
            words = shlex.split(FLASH.replace("/dev/ttyUSB0", str(board.port)))[1:]
            words += ["--image", "image.bin"]
            done = CliRunner().invoke(app, words, env={"COLUMNS": "400", "NO_COLOR": "1"})
    if done.exit_code:
        raise SystemExit(f"the flash for the picture failed: {done.output}")
    text = done.stderr + done.stdout
    text = text.replace(str(board.port), "/dev/ttyUSB0")
    text = re.sub(r"\bin \d+ s\b", "in 96 s", text)
    command = (
        "$ tianfu-node flash --port /dev/ttyUSB0 --bus-port /dev/ttyUSB1 --role air --unit 7\n"
    )
    return terminal(Text(command + text.strip()), "tianfu-node flash")


def _monitor() -> str:
    map = map_of_role("air")
    node = WatchedNode(NodeIdentity(_UID, map, "TF-AIR", ""), "/dev/ttyUSB1", 7)
    for frame in _frames(map):
        node.take(reading_of(decode(frame)))
    return terminal(screen(node), "tianfu-node monitor 7 --port /dev/ttyUSB1")


def _frames(map: RegisterMap) -> Iterator[bytes]:
    """Yield the frames of a node's first half minute: values of a street in the morning."""
    for seq in range(1, 31):
        rise = seq * seq // 30
        values = (18 + rise // 3, 31 + rise, 44 + rise, 2900 + 40 * rise, 431 + 3 * rise)
        climate = (812 + seq, 7140 - 9 * seq)
        head = struct.pack(">HHIIIHH", map.map_id, map.version, 1, seq, 5000 * seq, 0, 1)
        body = bytes(2 * map.quality_words) + struct.pack(">5HhH", *values, *climate)
        yield head + body + struct.pack(">H", _KEY_ID) + bytes(16)


def _label() -> str:
    """Draw a label from a line of the station log, in millimetres as it is printed."""
    label = Label.of_line(
        {
            "event": "proven",
            "board": default_name(),
            "role": "air",
            "unit": 7,
            "uid": _UID.hex(),
            "image": "5f" * 32,
            "key_id": _KEY_ID,
            "sample": "1/1",
            "sample_after_power_cycle": "2/1",
        }
    )
    side, runs = dark_runs(label)
    module = QR_MM / side
    top = (HEIGHT_MM - QR_MM) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_MM:g} {HEIGHT_MM:g}"',
        f'width="{WIDTH_MM:g}mm" height="{HEIGHT_MM:g}mm" font-family="sans-serif">',
        f'<rect width="{WIDTH_MM:g}" height="{HEIGHT_MM:g}" rx="2" fill="#fff"',
        'stroke="#999" stroke-width="0.3"/>',
    ]
    parts += [
        f'<rect x="{column * module:.3f}" y="{top + row * module:.3f}" '
        f'width="{length * module:.3f}" height="{module:.3f}"/>'
        for column, row, length in runs
    ]
    parts += [
        f'<text x="{QR_MM:g}" y="{9 + 4.6 * number:.1f}" font-size="{5 if not number else 3}">'
        f"{line}</text>"
        for number, line in enumerate(label.lines)
    ]
    return "\n".join([*parts, "</svg>", ""])


def terminal(shown: RenderableType, title: str) -> str:
    """Return what a terminal shows as a drawing that fetches nothing."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    drawn = console.export_svg(title=title, unique_id="guide")
    return re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", drawn, flags=re.DOTALL) + "\n"


def main(arguments: list[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    os.environ.pop("NO_COLOR", None)
    FOLDER.mkdir(exist_ok=True)
    results = [
        page.run(arguments, FOLDER / name, draw(), _COMMAND) for name, draw in pictures().items()
    ]
    return max(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

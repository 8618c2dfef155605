# ruff: noqa: N999 - a library of Robot Framework is called as its class
"""What the suites need besides Renode's keywords; only Python's own library, as renode-test has.

Without `tianfu-node` an image is built in this process, which takes what this project depends on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "protocols" / "host"):  # renode-test has a Python of its own
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from boards.folder import default_name, store_area  # noqa: E402
from boards.records import commission_of, store_of  # noqa: E402 - after the path it is found by
from hil.engines.images import image_of  # noqa: E402
from hil.errors import ImageError  # noqa: E402
from hil.renode import commands  # noqa: E402

#: Modbus addresses; the unique id ends in the address.
UNITS: Final = {"air": 1, "water": 2, "camera": 3}
BOARD: Final = default_name()
#: Of the record store's sectors.
STORE_ADDRESS: Final = store_area(BOARD)[0]
_BUILD_S: Final = 1200


def modbus_crc(data: bytes) -> bytes:
    """Return the CRC-16 of Modbus RTU, low byte first (serial line 1.02, section 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


def unique_id(role: str) -> str:
    """Return 24 hex digits."""
    return f"7f{UNITS[role]:022x}"


def provisioned(role: str, link_baud: int = 0) -> bytes:
    """Return what the store's sectors of a new node hold: quick samples, its own address.

    ``link_baud`` is the speed of its serial link, 0: it has none.
    """
    settings = {"unit_id": UNITS[role], "sample_period_ds": 10, "warmup_limit_s": 2}
    if link_baud:
        settings["link_baud_div_100"] = link_baud // 100
    return store_of(commission_of(role, settings, unique_id(role)), None)


@cache
def find_image() -> str:
    """Return the image's ELF file: TIANFU_ELF, or what `tianfu-node build` has or makes."""
    named = os.environ.get("TIANFU_ELF")
    if named:
        if not Path(named).is_file():
            raise AssertionError(f"TIANFU_ELF={named}: expected an ELF file, it is not there")
        return str(Path(named).resolve())
    ours = ROOT / ".venv" / "bin" / "tianfu-node"
    program = str(ours) if ours.is_file() else shutil.which("tianfu-node")
    if program is None:
        try:
            return str(image_of(BOARD))
        except ImageError as error:
            raise AssertionError(
                f"no image: expected TIANFU_ELF=firmware.elf, or tianfu-node in {ours.parent} "
                f"(`make install` in {ROOT}) or PATH, or what a build needs in this Python: {error}"
            ) from error
    done = subprocess.run(
        [program, "build", BOARD, "--json"],
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{program} build {BOARD}: {done.stderr.strip()}")
    return str(json.loads(done.stdout)["elf"])


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tianfu-robot-")


class TianfuNode:
    """The image, Monitor commands that make a node of it, and Modbus requests."""

    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    def image(self) -> str:
        """Return the path of the image, built if it has to be."""
        return find_image()

    def commands_for_node(self, name: str, role: str, link_baud: str = "0") -> list[str]:
        """Return the Monitor's commands that make a provisioned node, ready to start."""
        flash = Path(_folder().name) / f"{role}-{link_baud}.bin"
        if not flash.is_file():
            flash.write_bytes(provisioned(role, int(link_baud)))
        macro = commands.reset_macro(
            commands.reset_lines(Path(find_image()), unique_id(role), {}),
        )
        return [
            commands.include(commands.SHT3X_MODEL),
            *commands.create(name, macro, flash, STORE_ADDRESS),
            commands.plug_sht3x(),
            commands.SERIAL,
            commands.quantum(commands.QUANTUM_S),
        ]

    def read_request(self, unit: str, function: str, address: str, count: str) -> list[str]:
        """Return a read request as a list of bytes, each a number that Renode takes."""
        body = bytes((int(unit), int(function))) + int(address, 0).to_bytes(2, "big")
        body += int(count).to_bytes(2, "big")
        return [f"0x{byte:02X}" for byte in body + modbus_crc(body)]

    def identification_request(self, unit: str) -> list[str]:
        """Read Device Identification (function 43, MEI type 14), basic, from object 0."""
        body = bytes((int(unit), 0x2B, 0x0E, 0x01, 0x00))
        return [f"0x{byte:02X}" for byte in body + modbus_crc(body)]

"""Programs that the bench works with besides its engines: where they are, what installs them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.site.processes import find_mosquitto


@dataclass(frozen=True, slots=True)
class Tool:
    """A program. ``purpose`` is what of the bench needs it, ``remedy`` the command to type."""

    name: str
    purpose: str
    remedy: str

    def find(self) -> Path | None:
        """Its path: in PATH, beside this Python, or where its kind is usually put."""
        return find_mosquitto() if self.name == "mosquitto" else find_program(self.name)


def find_program(name: str) -> Path | None:
    """A program beside this Python or in PATH."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which(name, path=path)
    return Path(found) if found else None


TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool
    for tool in (
        Tool("mosquitto", "the full stack", "sudo apt-get install --yes mosquitto"),
        Tool("mbpoll", "the client suite", "sudo apt-get install --yes mbpoll"),
        Tool("mpremote", "the console suite", f"{sys.executable} -m pip install mpremote"),
        Tool("tshark", "reading bus traces", "sudo apt-get install --yes tshark"),
    )
}
#: What an image is built with.
BUILD_TOOLS: Final = (
    Tool(
        "arm-none-eabi-gcc",
        "building the image",
        "sudo apt-get install --yes gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ),
    Tool("make", "building the image", "sudo apt-get install --yes make"),
)

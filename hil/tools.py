"""The one table of the programs that Debian or pip provides: purpose, packages, where they are.

The bench, its command line, the tests and ``tests/tools/debian.sh`` all go by this table.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

APT_INSTALL: Final = "sudo apt-get install --yes --no-install-recommends"
#: tests/tools/debian.sh unpacks packages here of which an installation would start a service.
_CACHE: Final = Path(__file__).resolve().parents[1] / ".cache"
_UNPACKED: Final = tuple(
    _CACHE / folder for folder in ("mosquitto/usr/sbin", "prometheus/usr/bin", "influxdb/usr/bin")
)


@dataclass(frozen=True, slots=True)
class Tool:
    """Describe one program.

    ``purpose`` names what needs it, ``remedy`` is the command that installs it, ``packages`` are
    its packages of Debian and Ubuntu, and the variable ``variable`` of the environment, if it is
    set, names the file to take instead.
    """

    name: str
    purpose: str
    remedy: str
    packages: tuple[str, ...] = ()
    variable: str = ""

    def find(self) -> Path | None:
        """Return the program's path, or None if it is not there.

        Looks beside this Python, in PATH, where Debian puts daemons, and in ``.cache``.
        """
        if self.variable and (named := os.environ.get(self.variable)):
            return Path(named)
        folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        folders += ["/usr/sbin", "/usr/local/sbin", *map(str, _UNPACKED)]
        found = shutil.which(self.name, path=os.pathsep.join(folders))
        return Path(found) if found else None


def _debian(name: str, purpose: str, *packages: str, variable: str = "") -> Tool:
    """Return a program that the system's packages provide."""
    return Tool(name, purpose, f"{APT_INSTALL} {' '.join(packages)}", packages, variable)


TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool
    for tool in (
        _debian(
            "arm-none-eabi-gcc",
            "building the image",
            *("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
        ),
        _debian("chromedriver", "driving the console's browser", "chromium-driver"),
        _debian("chromium", "the console in a browser", "chromium"),
        _debian("dfu-suffix", "judging the files of the DFU way", "dfu-util"),
        _debian("gcc", "compiling for this machine", "gcc", "libc6-dev"),
        _debian("influxd", "the uplink to InfluxDB", "influxdb"),
        _debian("make", "building the image", "make"),
        _debian("mbpoll", "the client suite", "mbpoll"),
        _debian("mcs", "compiling the models of Renode", "mono-mcs"),
        _debian("mono", "running a model of Renode without it", "mono-runtime"),
        _debian("mosquitto", "the full stack", "mosquitto", variable="MOSQUITTO"),
        Tool("mpremote", "the console suite", f"{sys.executable} -m pip install mpremote"),
        _debian("mcopy", "files on a FAT volume", "mtools"),
        _debian("pdftoppm", "looking at a PDF", "poppler-utils"),
        _debian("openocd", "the commands of the SWD way", "openocd"),
        _debian("qemu-system-arm", "the engine qemu", "qemu-system-arm", variable="QEMU"),
        _debian("promtool", "the alert rules of Prometheus", "prometheus"),
        _debian("stm32flash", "another flash job than ours", "stm32flash"),
        _debian("debootstrap", "a fresh Debian for the packages", "debootstrap"),
        _debian("lintian", "judging the Debian packages", "lintian"),
        _debian("strace", "errors at single system calls", "strace"),
        _debian("stunnel", "TLS for nodes that call in", "stunnel4"),
        _debian("systemd-analyze", "how closed the services are", "systemd"),
        _debian("systemd-nspawn", "the services under a real systemd", "systemd-container"),
        _debian("tshark", "reading bus traces", "tshark"),
    )
}
#: What the suites use besides the engines.
SUITE_TOOLS: Final = tuple(TOOLS[name] for name in ("mosquitto", "mbpoll", "mpremote", "tshark"))
#: What builds an image.
BUILD_TOOLS: Final = tuple(TOOLS[name] for name in ("arm-none-eabi-gcc", "make"))

"""The one command that flashes a board, run as a technician runs it, with its power cycle."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hil.boot_rom.started import StartedBoard


def run_flash(
    folder: Path, node: StartedBoard, words: Sequence[str], env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Run it in a station's folder; its temporary files go into ``tmp`` there."""
    command = [str(Path(sys.executable).parent / "tianfu-node"), "flash", *words]
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), **env},
    ) as process:
        assert process.stderr is not None
        shown = ""
        for line in process.stderr:
            shown += line
            if "take the board's power away" in line and line.startswith("[you]"):
                node.power_cycle()
        out, _ = process.communicate(timeout=200)
    return subprocess.CompletedProcess(command, process.returncode, out, shown)

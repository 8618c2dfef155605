"""One command from blank flash to a PDF label, against the board that anybody can emulate."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent


@pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc")
@pytest.mark.timeout(150)
def test_from_blank_flash_to_a_pdf_label(tmp_path: Path) -> None:
    command = f"{PROGRAMS}/tianfu-hil board bench --power-cycle-every 10 -- {PROGRAMS}/tianfu-node"
    words = "flash --port bench/port --bus-port bench/bus --role water --unit 9 --json"
    done = subprocess.run(
        [*command.split(), *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=140,
    )
    assert done.returncode == 0, done.stderr
    (label,) = (tmp_path / "labels").glob("*.pdf")
    assert label.read_bytes().startswith(b"%PDF-")
    assert label.stem in done.stdout
    left = {path.name for path in (tmp_path / "bench").iterdir()}
    assert left == {"console.log"}, "no key stays behind"

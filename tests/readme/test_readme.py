"""A new user clones the project and types what the README shows, block by block, in its order.

Of the environment that runs this test only its downloads are used: the clone makes its own
``.venv``, and the commands see a bare PATH and an empty home. What has no serial port or site here
is listed with the reason, so every block of the README is either run or accounted for.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from boards.cache import cache_root
from tests.conftest import IMAGE_TOOLS, need_tools
from tests.paths import ROOT

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a line would need that the machine of the tests lacks, by how the line begins.
NOT_HERE = {
    "make test": "it runs this test",
    ".venv/bin/tianfu-gateway discover": "a serial port",
    ".venv/bin/tianfu-node flash": "a board on a serial port",
    ".venv/bin/tianfu-node show": "a node on a serial port",
    ".venv/bin/tianfu-node set": "a node on a serial port",
    ".venv/bin/tianfu-node calibrate": "a node on a serial port",
    ".venv/bin/tianfu-gateway run": "a serial port; it ends by a signal only",
    ".venv/bin/tianfu-gateway status": "a running agent",
    "sudo ": "a machine on site: `make deb-test` does it in a fresh Debian",
}
PASSED_ON = ("PIP_", "MICROPYTHON_SRC", "TIANFU_CACHE", "CI")
LIMIT_S = 600


def blocks() -> list[str]:
    """Return the blocks of commands without the lines that cannot be run here."""
    found = []
    for block in BLOCK.findall((ROOT / "README.md").read_text("utf-8")):
        lines = [line for line in block.splitlines() if not line.startswith(tuple(NOT_HERE))]
        if lines:
            found.append("\n".join(lines) + "\n")
    return found


def bare_environment(home: Path) -> dict[str, str]:
    """Return what a new user's shell has, with this Python in PATH and pip's own settings."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).parent
    passed = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
    path = f"{python}:/usr/local/bin:/usr/bin:/bin"
    # MicroPython's source and the built image are not made twice.
    cache = {"TIANFU_CACHE": str(cache_root())}
    return {**cache, **passed, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}


def type_in(clone: Path, home: Path, commands: str) -> str:
    """Return what a block of commands prints; AssertionError if a line of it fails."""
    done = subprocess.run(
        ["sh", "-eux"],
        input=commands,
        cwd=clone,
        env=bare_environment(home),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.timeout(4 * LIMIT_S)
def test_a_new_user_follows_the_readme(tmp_path: Path) -> None:
    need_tools((*IMAGE_TOOLS, "qemu-system-arm"))
    clone, home = tmp_path / "tianfu-edge", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    shown = [type_in(clone, home, commands) for commands in blocks()]
    printed = "\n".join(shown)
    # The last line of the demo, the page of the suites and what check prints, as the README has it.
    assert '"readings_verified"' in printed
    assert "gateway.toml: good" in printed
    page = (clone / "report.html").read_text("utf-8")
    assert "<title>Emulated boards: no failure</title>" in page
    assert (clone / "junit.xml").read_text("utf-8").count("<testcase") > 0
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    secret = [line for line in status.stdout.splitlines() if re.search(r"keys|\.pem|store", line)]
    assert not secret, "git would take secrets"


def test_every_line_that_is_not_run_is_still_in_the_readme() -> None:
    lines = "".join(BLOCK.findall((ROOT / "README.md").read_text("utf-8"))).splitlines()
    unused = [start for start in NOT_HERE if not any(line.startswith(start) for line in lines)]
    assert not unused

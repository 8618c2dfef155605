"""Two releases of the gateway's package, built once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

VERSIONS = ("0.1.0-1", "0.1.1-1")


def build(out: Path, work: Path, *words: object) -> list[Path]:
    """Build packages from this tree; return their files."""
    command = [sys.executable, "-m", "gateway_agent.packaging.deb", "--out", out, "--work", work]
    done = subprocess.run(
        [str(word) for word in (*command, *words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [Path(line) for line in done.stdout.split()]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All packages of this tree."""
    folder = tmp_path_factory.mktemp("packages")
    return build(folder, folder / "work")


@pytest.fixture(scope="session")
def releases(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The gateway's package of this release and of the next."""
    folder = tmp_path_factory.mktemp("next")
    wheels = packages[0].parent / "work/wheels"
    words = ("gateway", "--wheels", wheels, "--version", VERSIONS[1])
    return [packages[0], *build(folder, folder / "work", *words)]

"""The bench in an environment that has what `make install` takes, and nothing else.

The environment is a real one; its packages are links to files of the packages that the extra `hil`
asks for, so no network is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.paths import ROOT


def wanted() -> set[str]:
    """Return the names of the packages that `pip install '.[hil]'` would install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["hil"]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asked = Requirement(waiting.pop())
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        for extra in ("", *asked.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in distribution(name).requires or []:
                marker = Requirement(line).marker
                if marker is None or marker.evaluate({"extra": extra}):
                    waiting.append(line)
    return {name for name, _ in seen}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the environment; return its interpreter."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in wanted():
        for file in distribution(name).files or []:
            link = Path(os.path.normpath(site / file))
            if link.suffix != ".pyc":
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(file.locate())).resolve())
    (site / "project.pth").write_text(f"{ROOT}\n{ROOT / 'protocols/host'}\n")
    return home / "bin/python"


def run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in that environment."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    return subprocess.run(
        [str(python), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.timeout(150)
def test_a_suite_runs_with_what_make_install_takes(python: Path, tmp_path: Path) -> None:
    code = "from hil.cli import app; app()"
    words = ("--engine", "unix", "--only", "first_valid", "-j", "2", "--html", "r.html")
    done = run(python, tmp_path, "-c", code, "run", "boot", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Emulated boards: no failure" in (tmp_path / "r.html").read_text()


@pytest.mark.timeout(150)
def test_pytest_collects_the_bench_with_what_make_install_takes(
    python: Path, tmp_path: Path
) -> None:
    words = ("--collect-only", "-q", "-p", "no:cacheprovider", "--engine", "unix")
    done = run(python, ROOT, "-m", "pytest", "hil/", "--hil-out", str(tmp_path), *words)
    assert done.returncode == 0, done.stdout + done.stderr

"""What is installed is what is in the repository, and it works outside of it."""

import fnmatch
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.paths import ROOT

PACKAGES = ("boards", "firmware", "gateway_agent", "hil", "protocols")
STAND_IN = "protocols/host/"
IGNORED = ("__pycache__", "*.pyc", "*.egg-info", "*.mpy")

with (ROOT / "pyproject.toml").open("rb") as _file:
    PROJECT = tomllib.load(_file)


def shipped_files() -> set[str]:
    """Return every file below the packages, by the name it should have in the wheel."""
    names: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            skip = any(fnmatch.fnmatch(name, f"*{pattern}*") for pattern in IGNORED)
            if path.is_file() and not skip:
                names.add(name.removeprefix(STAND_IN))
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy, so that no build folder is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        copytree(ROOT / package, source / package, ignore=ignore_patterns(*IGNORED))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    code = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    target = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl")
    return built


def test_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = shipped_files()
    assert packed == expected, (
        f"missing (no __init__.py, or no pattern in package-data): {sorted(expected - packed)}; "
        f"too many: {sorted(packed - expected)}"
    )


def test_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/licenses/LICENSE")]
        assert "Apache License" in archive.read(name).decode()


def test_unpacked_wheel_runs_on_both_runtimes(wheel: Path, tmp_path: Path) -> None:
    """From another folder: CPython finds the stand-in, MicroPython finds the shared half."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = "from protocols.wire.crc import crc16; print(crc16(b'123456789'))"
    host = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"]
    node = [str(Path(sys.executable).parent / "micropython"), "-c", code]
    for command, environment in ((host, {}), (node, {"MICROPYPATH": f"{site}:.frozen"})):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stdout.strip() == str(0x4B37), done.stdout + done.stderr


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_every_folder_with_code_is_a_package(folder: str) -> None:
    folders = {
        path.parent for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts
    }
    bare = [
        str(path.relative_to(ROOT))
        for path in sorted(folders)
        if not (path / "__init__.py").exists()
    ]
    assert not bare, f"add an __init__.py to {bare}"


def test_constraints_agree_with_the_pins() -> None:
    pins = [
        requirement
        for requirement in PROJECT["project"]["optional-dependencies"]["test"]
        if "==" in requirement
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = {line.replace("_", "-").lower() for line in lines}
    assert pins
    assert not [pin for pin in pins if pin not in locked]


def test_version_is_in_the_changelog() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['project']['version']}]" in changes


def test_git_ignores_secrets_where_the_readme_makes_them(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    secrets = re.findall(r"--out (\S+)", page)
    assert len(secrets) >= 4
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    done = subprocess.run(
        ["git", "check-ignore", *secrets], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == secrets

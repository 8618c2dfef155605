"""Write the hashes of everything a Debian package contains, so that its build takes nothing else.

``python -m gateway_agent.packaging.lock`` asks the package index, which the build of a package
does not need to trust: pip refuses any file whose hash is not in ``lock/NAME.txt``. The versions
are those of constraints.txt. Run it after a change there or in packages.toml.
"""

import hashlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
LOCKS: Final = HERE / "lock"
PYTHON: Final = "3.11"  # of Debian 12
#: Machines that packages are built for, by Debian's name.
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
#: The C libraries that wheels ask for, up to that of Debian 12.
_LIBC: Final = ("_2_35", "_2_34", "_2_31", "_2_28", "_2_17", "2014", "2010", "_2_12", "_2_5", "1")
_HEAD: Final = (
    "# Written by `python -m gateway_agent.packaging.lock` for CPython {python} on {machines}.\n"
)


def packages() -> dict[str, dict[str, object]]:
    """Return the tables of packages.toml."""
    with (HERE / "packages.toml").open("rb") as file:
        tables = tomllib.load(file)
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def required(table: dict[str, object]) -> list[str]:
    """Return the names of the packages of Python that a table of packages.toml asks for."""
    names = table["requires"]
    assert isinstance(names, list)
    return [str(name) for name in names]


def _download(names: list[str], machine: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    command += ["--abi", "cp" + PYTHON.replace(".", ""), "--abi", "abi3", "--abi", "none"]
    for libc in _LIBC:
        command += ["--platform", f"manylinux{libc}_{MACHINES[machine]}"]
    command += ["-c", str(ROOT / "constraints.txt"), "-d", str(folder), *names]
    subprocess.run(command, check=True)


def lock(names: list[str]) -> str:
    """Return the lock of these packages and all that they need, on every machine."""
    found: dict[str, set[str]] = {}
    for machine in MACHINES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            _download(names, machine, folder)
            for wheel in folder.iterdir():
                name, version = wheel.name.split("-")[:2]
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                found.setdefault(f"{name.lower().replace('_', '-')}=={version}", set()).add(digest)
    lines = [_HEAD.format(python=PYTHON, machines=" and ".join(MACHINES))]
    for requirement, digests in sorted(found.items()):
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(digests))
        lines.append(f"{requirement} \\\n{hashes}\n")
    return "".join(lines)


def main() -> None:
    """Write every lock."""
    for name, table in packages().items():
        (LOCKS / f"{name}.txt").write_text(lock(required(table)), encoding="utf-8")


if __name__ == "__main__":
    main()

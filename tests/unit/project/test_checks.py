"""The list of checks stands in tox.ini alone: what else names checks is compared with it."""

import configparser
import re
import subprocess
from pathlib import Path

from tests.paths import ROOT

#: Environments of tox that are no checks: what they do has a command of make.
MADE_BY_MAKE = {"bench", "demo", "format", "hil-renode"}


def tox() -> configparser.ConfigParser:
    """Return tox.ini as it is parsed."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def env_list() -> list[str]:
    """Return the checks of ``make test`` in their order."""
    return [name.strip() for name in tox()["tox"]["env_list"].split(",")]


def environments() -> set[str]:
    """Return the names of all environments that tox.ini describes."""
    return {name.removeprefix("testenv:") for name in tox().sections() if ":" in name}


def test_every_check_is_an_environment() -> None:
    assert set(env_list()) <= environments()
    assert len(env_list()) == len(set(env_list()))


def test_make_test_runs_the_checks_of_tox() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    parts = re.findall(r"\.venv-tools/bin/tox run\S*(?: --\S+(?: \d+)?)* -m (\w+)", done.stdout)
    labels = dict(re.findall(r"^(\w+) = (.*)$", tox()["tox"]["labels"], re.MULTILINE))
    assert parts == list(labels)
    assert ", ".join(labels[name] for name in parts).split(", ") == env_list()


def test_contributing_has_one_row_per_check_in_the_same_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\S*tox run -e (\w+)", text, re.MULTILINE)
    assert [name for name in rows if name in env_list()] == env_list()
    assert set(rows) == environments() - MADE_BY_MAKE


def test_no_check_leaves_out_tests_by_name() -> None:
    """A test's folder and marks decide which check runs it."""
    ignored = [
        word
        for section in tox().sections()
        for word in re.findall(
            r"--(?:ignore|deselect)[= ](\S+)", tox()[section].get("commands", "")
        )
    ]
    assert ignored == []


def test_every_test_is_run_by_one_check() -> None:
    commands = " ".join(tox()[f"testenv:{name}"].get("commands", "") for name in env_list())
    named = set(re.findall(r"(?<=\s)tests/[\w/.]+", commands))
    runs = {
        path.relative_to(ROOT).as_posix(): sum(path.is_relative_to(ROOT / place) for place in named)
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    assert runs
    assert not [path for path, count in runs.items() if count != 1]


def test_a_public_forge_runs_what_everybody_runs() -> None:
    for file in (Path(".ci/run"), Path(".github/workflows/test.yml")):
        assert re.search(r"\bmake test\b", (ROOT / file).read_text(encoding="utf-8")), file

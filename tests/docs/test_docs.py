"""The documents are right: marked commands run, links lead somewhere, commands exist.

A block of commands is run when the line before it is a comment that names it::

    <!-- test: node-key -->
    ```sh
    .venv/bin/tianfu-gateway keygen node --uid 0102030405060708090a0b0c --out keys/air-01.json
    ```

Each block runs by itself, as after a fresh clone and ``make install``; every line must succeed.
The README has a test of its own (tests/readme). Blocks without a mark need something the test
machine lacks (a serial port, a site); of them the names of commands and options are checked.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app as node
from gateway_agent.cli import app as gateway
from hil.cli import app as bench
from tests.paths import ROOT

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".tox", ".venv*", ".cache", ".*_cache", ".hypothesis", "__pycache__", "build"
)
MARK = re.compile(r"<!-- test: ([\w-]+) -->\s*\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OURS = {"tianfu-gateway": gateway, "tianfu-hil": bench, "tianfu-node": node}
IMAGE_OR_WEB = ("http://", "https://", "mailto:", "#")


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path.relative_to(ROOT) for path in found)


def marked_blocks() -> list[tuple[str, str, str]]:
    """Return document, name and commands of every block to run."""
    return [
        (str(path), name, commands)
        for path in documents()
        for name, commands in MARK.findall((ROOT / path).read_text(encoding="utf-8"))
    ]


def commands_in(path: Path) -> list[list[str]]:
    """Return the words of every command of ours that a document shows, marked or not."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    prose = BLOCK.sub("", text)
    lines += [code for code in CODE.findall(prose) if " " in code]
    found: list[list[str]] = []
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words and Path(words[0]).name in {"make", *OURS}:
            found.append([Path(words[0]).name, *words[1:]])
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository as a reader has it after cloning."""
    copy = tmp_path_factory.mktemp("clone") / "tianfu-edge"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    return copy


def installed_copy(checkout: Path, target: Path) -> Path:
    """Return the copy after ``make install``, with the environment that runs this."""
    shutil.copytree(checkout, target)
    (target / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return target


# doctor may build an image; everything else stays far below.
@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("document", "name", "commands"),
    marked_blocks(),
    ids=[f"{document}:{name}" for document, name, _ in marked_blocks()],
)
def test_marked_commands_succeed(
    document: str, name: str, commands: str, checkout: Path, tmp_path: Path
) -> None:
    place = installed_copy(checkout, tmp_path / "copy")
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    environment |= {"PYTHON": sys.executable, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-eux"],
        input=commands,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{document}, {name}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", documents(), ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    text = BLOCK.sub("", (ROOT / path).read_text(encoding="utf-8"))
    dead = [
        link
        for link in LINK.findall(text)
        if not link.startswith(IMAGE_OR_WEB)
        and not (ROOT / path.parent / link.split("#")[0]).exists()
    ]
    assert not dead, f"{path} links to what does not exist: {dead}"


@cache
def help_of(tool: str, *words: str) -> str:
    """Return what ``TOOL WORDS --help`` prints; empty if there is no such command."""
    environment = {"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"}
    done = CliRunner().invoke(OURS[tool], [*words, "--help"], env=environment)
    return done.stdout if done.exit_code == 0 else ""


def problem_of(tool: str, words: list[str]) -> str:
    """Return what is wrong with a shown command of ours; empty if nothing is."""
    command: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", word) or not help_of(tool, *command, word):
            break
        command.append(word)
    if not command and words and not words[0].startswith("-"):
        return f"no command {words[0]!r}"
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    text = help_of(tool, *command)
    missing = [option for option in options if not re.search(rf"{option}\b(?!-)", text)]
    return f"{' '.join(command)} has no {missing}" if missing else ""


def make_problem(words: list[str]) -> str:
    """Return what is wrong with a shown ``make`` command; empty if nothing is."""
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    wrong = [word for word in words if "=" not in word and word not in targets]
    return f"no target {wrong}" if wrong else ""


@pytest.mark.parametrize("path", documents(), ids=str)
def test_shown_commands_exist(path: Path) -> None:
    problems = {}
    for tool, *words in commands_in(path):
        problem = make_problem(words) if tool == "make" else problem_of(tool, words)
        if problem:
            problems[" ".join([tool, *words])] = problem
    assert not problems, f"{path}: {problems}"

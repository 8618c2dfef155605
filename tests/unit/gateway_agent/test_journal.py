"""Where lines go to journald, each has its priority; elsewhere none has."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_agent.journal import for_journal
from gateway_agent.process import JournalFormatter
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (17, 5)],
)
def test_every_line_has_the_priority_of_its_level(level: int, priority: int) -> None:
    assert for_journal("one\n  two", level) == f"<{priority}>one\n<{priority}>  two"


def test_lines_of_a_traceback_have_it_too_and_no_second_time() -> None:
    try:
        raise ValueError("of others:\n<0>a line of their own")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "went wrong", (), sys.exc_info())
    lines = JournalFormatter().format(record).split("\n")
    assert lines[0] == "<3>x: went wrong"
    assert all(line.startswith("<3>  ") for line in lines[1:])
    assert lines[-1].endswith("<0>a line of their own")


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_service_notices_where_its_errors_go(is_stream: bool, tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as file:
        state = os.fstat(file.fileno())
        stream = f"{state.st_dev}:{state.st_ino if is_stream else state.st_ino + 1}"
        subprocess.run(
            [sys.executable, "-m", "gateway_agent", "run", "--config", "absent.toml"],
            cwd=ROOT,
            env={**os.environ, "JOURNAL_STREAM": stream},
            stderr=file,
            timeout=30,
            check=False,
        )
    text = (tmp_path / "journal").read_text()
    assert "absent.toml" in text
    assert text.startswith("<2>") == is_stream

"""The rules of tests/conftest.py hold: each is broken once, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent / "conftest.py"
NO_BROKER = "\n\ndef find_mosquitto():\n    return None\n"
NEEDS_BROKER = "import pytest\n\n@pytest.mark.mosquitto\ndef test_it():\n    pass\n"
BAD_LOG = "import logging\n\ndef test_it():\n    logging.getLogger('x').info('%d of %d', 1)\n"
GOOD_LOG = "import logging\n\ndef test_it():\n    logging.getLogger('x').info('%d of %d', 1, 2)\n"


def run(folder: Path, test: str, extra: str = "", ci: str = "") -> tuple[int, str]:
    """Exit code and output of pytest over one test file under our conftest (plus ``extra``)."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8") + extra, "utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers = mosquitto\nlog_level = DEBUG\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-rs"],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_without_broker_tests_are_skipped_loudly_and_counted(tmp_path: Path) -> None:
    code, output = run(tmp_path, NEEDS_BROKER, NO_BROKER)
    assert code == 0, output
    assert "1 skipped" in output
    assert "1 tests against a real broker were skipped" in output
    assert "sudo apt-get install --yes mosquitto" in output


def test_without_broker_ci_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, NEEDS_BROKER, NO_BROKER, ci="true")
    assert code == 1, output
    assert "1 error" in output or "1 failed" in output
    assert "sudo apt-get install --yes mosquitto" in output


@pytest.mark.mosquitto
def test_with_broker_tests_run(tmp_path: Path, mosquitto_path: Path) -> None:
    found = f"\n\ndef find_mosquitto():\n    return Path({str(mosquitto_path)!r})\n"
    code, output = run(tmp_path, NEEDS_BROKER, found, ci="true")
    assert code == 0, output
    assert "1 passed" in output


@pytest.mark.parametrize(("test", "expected"), [(GOOD_LOG, 0), (BAD_LOG, 1)])
def test_log_record_that_cannot_be_formatted_fails(
    tmp_path: Path, test: str, expected: int
) -> None:
    code, output = run(tmp_path, test)
    assert code == expected, output
    assert ("test_it.py:4" in output) == bool(expected)

"""Where lines go to journald, each has its priority; elsewhere none has."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_agent.journal import JournalHandler, about, for_journal
from gateway_agent.process import JournalFormatter, LineFormatter
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


class Journal:
    """A socket in the place of journald's."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(5)

    def next(self) -> dict[str, str]:
        """Read a datagram as systemd's Native Journal Protocol has it."""
        rest, found = self._socket.recv(1 << 20), {}
        while rest:
            line, _, rest = rest.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                size = int.from_bytes(rest[:8], "little")
                value, rest = rest[8 : 8 + size], rest[9 + size :]
            found[name.decode()] = value.decode()
        return found

    def close(self) -> None:
        self._socket.close()


def test_records_go_to_the_journal_with_fields_and_to_standard_error_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal")
    plain = LineFormatter("%(name)s: %(message)s")
    handler = JournalHandler(JournalFormatter(), plain, journal.path)
    log = logging.getLogger("of.test")
    log.addHandler(handler)
    monkeypatch.setattr(log, "propagate", False)
    log.warning("lost\nMESSAGE=%s", "x", extra=about(bus="roof", device="air-1"))
    found = journal.next()
    assert found["MESSAGE"] == r"of.test: lost\nMESSAGE=x"
    assert (found["PRIORITY"], found["TIANFU_BUS"]) == ("4", "roof")
    assert (found["TIANFU_DEVICE"], found["LOGGER"]) == ("air-1", "of.test")
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("failed")
    found = journal.next()
    assert found["MESSAGE"].startswith("of.test: failed\n  Traceback")
    assert found["PRIORITY"] == "3"
    assert capsys.readouterr().err == ""
    log.error("x" * 200_000)  # no datagram holds it
    journal.close()
    Path(journal.path).unlink()
    log.error("nobody listens")
    log.removeHandler(handler)
    handler.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("<3>of.test: xxx")
    assert lines[1] == "<3>of.test: nobody listens"


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

"""``tianfu-hil bench`` that cannot start: exit status and message for each reason."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hil.benchfile import EXAMPLE, read_bench
from hil.cli import app
from hil.engines import registry
from hil.engines.registry import Probe
from hil.errors import EngineError

RUNNER = CliRunner()


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit status and all output."""
    result = RUNNER.invoke(app, ["bench", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "bench.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return str(path)


def test_without_a_file_the_example_is_named() -> None:
    status, text = run()
    assert status == 2
    assert "--example" in text


def test_an_engine_that_is_none(file: str) -> None:
    status, text = run(file, "--engine", "simulator")
    assert status == 2
    assert "--engine: expected one of" in text
    assert "got simulator" in text


def test_a_program_that_is_missing_is_named_with_its_remedy(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Probe(None, problem="no such program", remedy="install it")
    monkeypatch.setattr(registry, "available", lambda kind: absent)
    status, text = run(file, "--engine", "unix")
    assert status == 1
    assert "engine unix: no such program. install it" in text


def test_a_bench_that_does_not_come_up(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(*_: object) -> None:
        raise EngineError("the interpreter does not start")

    monkeypatch.setattr("hil.cli.bench._serve", serve)
    status, text = run(file, "--engine", "unix")
    assert status == 1
    assert "the bench did not come up: the interpreter does not start" in text


def test_a_file_that_an_editor_on_windows_has_written(tmp_path: Path) -> None:
    """Notepad begins UTF-8 with a byte order mark."""
    path = tmp_path / "bench.toml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.encode())
    assert [place.name for place in read_bench(path).places] == ["hall", "basin"]

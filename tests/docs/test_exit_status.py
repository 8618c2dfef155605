"""docs/exit-status.md has the statuses there are; one wrong file ends every command alike."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app as gateway
from hil.cli import app as bench
from protocols import exit_status
from tests.paths import ROOT


def test_the_page_has_every_status_in_the_words_of_the_module() -> None:
    text = (ROOT / "docs" / "exit-status.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    assert rows == {str(status): words for status, words in exit_status.MEANINGS.items()}


def test_commands_name_statuses_and_write_no_numbers() -> None:
    for folder in ("gateway_agent/cli", "boards/cli", "hil/cli", "hil/demo"):
        for path in (ROOT / folder).glob("*.py"):
            assert not re.search(r"typer\.Exit\(.*\b\d", path.read_text("utf-8")), path


@pytest.mark.parametrize("words", [["run", "-c"], ["check", "-c"], ["check", "--json", "-c"]])
def test_one_wrong_configuration_ends_every_command_alike(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "gateway.toml"
    for content in ("", "[gateway]\nid = 5\n", "not toml"):
        path.write_text(content)
        assert CliRunner().invoke(gateway, [*words, str(path)]).exit_code == exit_status.UNUSABLE


def test_a_wrong_bench_file_and_a_wrong_profile_end_alike(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text("not toml")
    assert CliRunner().invoke(bench, ["bench", str(path)]).exit_code == exit_status.UNUSABLE
    done = CliRunner().invoke(gateway, ["profile", "check", str(path)])
    assert done.exit_code == exit_status.UNUSABLE

"""docs/registers.md has all that the register maps have, with words for each."""

from pathlib import Path

import pytest

from protocols.wire import register_names, registers
from tests.tools import registers_page as docs


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_names_everything() -> None:
    text = docs.render()
    for map in registers.MAPS:
        assert f"map 0x{map.map_id:04X} version {map.version}" in text
        for index, point in enumerate(map.points):
            assert f"| {map.offsets[index]} | {index} | `{point.name}` |" in text
    for address, setting in enumerate(registers.SETTINGS):
        assert f"| {address} | `{setting.name}` | {setting.default} |" in text
    for name in (*register_names.QUALITY_NAMES, *register_names.STATUS_NAMES):
        assert f"| {name} |" in text
    for code, name in enumerate(register_names.EVENT_NAMES[1:], 1):
        assert f"| {code} | {name} |" in text


def test_scaled_values() -> None:
    # -40.00 to 125.00 degrees in steps of 0.01, as the SHT3x's datasheet has them
    assert "| 17 | 5 | `temperature` | `Cel` | i16 | 0.01 | -40.00 to 125.00 |" in docs.render()
    assert "| 14 | 3 | `turbidity_ntu` | none | u16 | 0.1 | 0.0 to 4000.0 |" in docs.render()


def test_a_stale_page_is_noticed_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "registers.md"
    monkeypatch.setattr(docs, "PATH", page)
    assert docs.main(["--check"]) == 1
    page.write_text("old", encoding="utf-8")
    assert docs.main(["--check"]) == 1
    assert "python -m tests.tools.registers_page --write" in capsys.readouterr().err
    assert docs.main(["--write"]) == 0
    assert docs.main(["--check"]) == 0
    assert docs.main([]) == 0
    assert capsys.readouterr().out == page.read_text(encoding="utf-8") == docs.render()
    assert docs.main(["--wrong"]) == 2

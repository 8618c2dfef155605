"""docs/profiles.md has every construct of the profile language, with a vector."""

import typing
from pathlib import Path

import pytest

from gateway_agent.field.profile.language import ORDERS, PointSpec
from gateway_agent.field.profile.raw_types import RAW_TYPES, TypeName
from tests.tools import profiles_page as docs


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


def test_every_type_and_every_order_has_a_vector() -> None:
    keys = [case["point"] for section in docs.sections() for case in section["cases"]]
    assert set(typing.get_args(TypeName)) == set(RAW_TYPES)
    for name in RAW_TYPES:
        assert any(f'type = "{name}"' in point for point in keys), name
    for letters in ORDERS:
        assert any(f'order = "{letters}"' in point for point in keys), letters


def test_every_key_that_changes_a_value_has_a_vector() -> None:
    text = "\n".join(
        f"{case['point']}\n{case['profile']}\n"
        for section in docs.sections()
        for case in section["cases"]
    )
    for_people = {"name", "register", "unit", "what", "low", "group", "write"}
    for key in PointSpec.__struct_fields__:
        assert key in for_people or f"{key} = " in text, key


def test_a_row_as_a_reader_sees_it() -> None:
    row = (
        '| 32 bits: low word first | `type = "u32"`<br>`order = "CDAB"` | `5678 1234` | 305419896 |'
    )
    assert row in docs.render().splitlines()


def test_a_stale_page_is_noticed_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "profiles.md"
    monkeypatch.setattr(docs, "PATH", page)
    assert docs.main(["--check"]) == 1
    page.write_text("old", encoding="utf-8")
    assert docs.main(["--check"]) == 1
    assert "python -m tests.tools.profiles_page --write" in capsys.readouterr().err
    assert docs.main(["--write"]) == 0
    assert docs.main(["--check"]) == 0
    assert docs.main([]) == 0
    assert capsys.readouterr().out == page.read_text(encoding="utf-8") == docs.render()
    assert docs.main(["--wrong"]) == 2

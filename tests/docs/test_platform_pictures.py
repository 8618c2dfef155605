"""The pictures of docs/integrators.md show what arrives at each platform now."""

import pytest

from tests.tools import platform_pictures


def test_the_pictures_are_what_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    assert platform_pictures.main(["--check"]) == 0, capsys.readouterr().err


def test_each_picture_is_on_the_page() -> None:
    drawn = {path.name for path in platform_pictures.FOLDER.iterdir()}
    assert drawn == {f"{kind}.svg" for kind in platform_pictures.TITLES}
    page = (platform_pictures.FOLDER.parent / "integrators.md").read_text(encoding="utf-8")
    for name in drawn:
        assert f"](platforms/{name})" in page

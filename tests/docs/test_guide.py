"""The technician's guide: its pictures are current, and each language fits two printed pages.

No program here prints; so lines and pictures are counted in millimetres, as a browser prints them
on A4 with margins of 20 mm.
"""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tools import guide_pictures

PAGES_MM = 2 * 257
WIDTH_MM = 170
LINE_MM = 4.4  # text of 10 points, a quarter of it between the lines
COLUMNS = 98  # of such text; a Chinese character takes two
MM_OF_A_PIXEL = 25.4 / 96
GUIDES = ("guide.md", "guide.zh.md")
IMAGE = re.compile(r'<img src="([^"]+)" width="(\d+)" alt="([^"]+)">')


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


def height_mm(picture: Path, width_px: int) -> float:
    """How high a picture is that is printed so wide."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.read_text(encoding="utf-8"))
    assert box is not None
    return width_px * MM_OF_A_PIXEL * float(box[2]) / float(box[1])


def test_the_pictures_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert guide_pictures.main(["--check"]) == 0, capsys.readouterr().err
    drawn = {path.name for path in guide_pictures.FOLDER.iterdir()}
    assert drawn == set(guide_pictures.pictures())


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_fits_two_pages(name: str) -> None:
    text = text_of(name)
    high = 0.0
    for paragraph in re.split(r"\n\n+", IMAGE.sub("", text)):
        lines = [line for line in paragraph.splitlines() if not line.startswith(("```", "<!--"))]
        if not lines:
            continue
        if lines[0].startswith(("* ", "1. ", "2. ", "3. ", "|", ".venv", "tianfu-")):
            printed = sum(-(-max(1, columns(line)) // COLUMNS) for line in lines)
        else:
            printed = -(-sum(map(columns, lines)) // COLUMNS)
        high += printed * LINE_MM + (5 if lines[0].startswith("#") else 2)
    for source, width, _ in IMAGE.findall(text):
        assert int(width) * MM_OF_A_PIXEL <= WIDTH_MM
        high += height_mm(ROOT / "docs" / source, int(width)) + 3
    assert high <= PAGES_MM, f"{name}: {high:.0f} of {PAGES_MM} mm"


def test_both_languages_show_the_same() -> None:
    english, chinese = map(text_of, GUIDES)
    for pattern in (r"^## \d", r'<img src="([^"]+)"', r"^(?:\.venv/bin/)?tianfu-.*$"):
        found = [re.findall(pattern, text, re.MULTILINE) for text in (english, chinese)]
        assert found[0] == found[1]
        assert found[0]
    assert len(re.findall(r"^[|*] ", english, re.MULTILINE)) == len(
        re.findall(r"^[|*] ", chinese, re.MULTILINE)
    )


@pytest.mark.parametrize("name", GUIDES)
def test_the_picture_of_a_flash_is_that_of_the_command_that_is_shown(name: str) -> None:
    assert f"```sh\n{guide_pictures.FLASH}\n```" in text_of(name)


@pytest.mark.parametrize("name", GUIDES)
def test_every_picture_is_shown(name: str) -> None:
    shown = {source.removeprefix("guide/") for source, _, _ in IMAGE.findall(text_of(name))}
    assert shown == set(guide_pictures.pictures())


def test_a_picture_fetches_nothing() -> None:
    for path in guide_pictures.FOLDER.glob("*.svg"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, path.name

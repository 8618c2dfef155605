"""Pages that list the causes of gaps list all of them."""

import re

import pytest

from protocols.uplink import CAUSES
from tests.paths import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", ["way-of-a-reading.svg", "formats.md"])
def test_every_cause_is_listed(page: str) -> None:
    words = set(re.findall(r"\w+", (DOCS / page).read_text(encoding="utf-8")))
    assert set(CAUSES) - words == set()


def test_the_picture_lists_no_cause_that_does_not_exist() -> None:
    text = (DOCS / "way-of-a-reading.svg").read_text(encoding="utf-8")
    box = text[text.index("GAP {") :]
    listed = re.findall(r">([a-z_]+(?:, [a-z_]+)+)[,:]</text>", box)
    assert sorted(word for line in listed for word in line.split(", ")) == sorted(CAUSES)

"""Every shipped profile is usable and says where it comes from; a wrong one is named."""

from pathlib import Path

import pytest

from gateway_agent.uplink.hj212.profile import Hj212ProfileError, load_hj212_profile, shipped
from protocols.uplink.hj212 import QnForm

_MN = "010000A8900016F000169DC0"


def test_the_shipped_ones() -> None:
    assert shipped() == ["fuzhou-dust", "hj212-2017", "hj212-2025", "water-station-9015"]
    for name in shipped():
        profile = load_hj212_profile(name)
        assert profile.title
        assert profile.title_zh
        assert profile.sources
        key = b"0" * 16 if profile.encryption == "sm4" else b""
        assert profile.settings("123456", key).over_time_s == 10
        assert profile.options(_MN[:14]).version == profile.version


def test_fuzhou_waits_for_no_answer() -> None:
    options = load_hj212_profile("fuzhou-dust").options("12345678901234")
    assert (options.st, options.sets_ack_flag, options.awaits_ack) == ("22", True, False)
    with pytest.raises(Hj212ProfileError, match="expects"):
        load_hj212_profile("fuzhou-dust").options(_MN)


def test_2025() -> None:
    profile = load_hj212_profile("hj212-2025")
    options = profile.options(_MN, "21")
    assert (options.version, options.marks_backfill, options.st) == (2, True, "21")
    with pytest.raises(Hj212ProfileError, match="SM4"):
        profile.settings("123456")


def test_the_water_station() -> None:
    options = load_hj212_profile("water-station-9015").options("A110000_0001")
    assert (options.dialect.qn, options.login_cn) == (QnForm.UNIX_MS, "9021")
    assert options.answer_st == ""


_GOOD = 'title = "x"\ntitle_zh = "y"\nsources = ["z"]\n'


def test_a_file_changes_codes(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(_GOOD + '[codes.a01006]\nunit = "hPa"\ndigits = 1\nname = "a01006x"\n')
    profile = load_hj212_profile(str(path))
    assert (profile.code("a01006").unit, profile.code("a01006").digits) == ("hPa", 1)
    assert profile.wire_name("a01006") == "a01006x"
    assert (profile.code("a34004").unit, profile.wire_name("a34004")) == ("ug/m3", "a34004")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title = 3", "title"),
        (_GOOD + "colour = 1\n", "colour"),
        (_GOOD + 'qn = "often"\n', "often"),
        (_GOOD + 'sends = ["2099"]\n', "unknown 2099"),
        (_GOOD + '[codes.a99999]\nunit = "m"\n', "unknown a99999"),
        (_GOOD + 'mn = "["\n', "p.toml"),
        ("= nothing", "p.toml"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(Hj212ProfileError, match=problem):
        load_hj212_profile(str(path))


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(Hj212ProfileError, match="one of fuzhou-dust"):
        load_hj212_profile("atlantis")
    with pytest.raises(Hj212ProfileError, match="No such file"):
        load_hj212_profile(str(tmp_path / "none.toml"))

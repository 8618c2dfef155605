"""The hours of Chengdu, as they are in the extract and as they are replayed."""

from __future__ import annotations

import pytest

from hil.sim.chengdu import Chengdu, load


def test_chengdu_extract_has_what_its_readme_lists() -> None:
    hours = load()
    assert len(hours) == 336
    assert (hours[0].time, hours[-1].time) == ("2015-01-18T00:00", "2015-01-31T23:00")
    missing = [hour.time for hour in hours if hour.pm2_5 is None]
    assert missing == [f"2015-01-29T{hour}:00" for hour in (13, 14, 15)]
    # Three rows read by hand from the source file.
    assert hours[0][1:] == (164.0, 76.01, 9.0)
    assert hours[1][1:] == (166.0, 76.01, 9.0)


def test_chengdu_replays_one_hour_per_second_in_a_loop() -> None:
    now = [100.0]
    source = Chengdu("2015-01-29T12:00", clock=lambda: now[0])
    assert source.air().pm2_5 is not None
    now[0] += 1.5
    assert source.hour.time == "2015-01-29T13:00"
    assert source.air().pm2_5 is None
    assert source.air().temperature is not None
    now[0] += 336
    assert source.hour.time == "2015-01-29T13:00"
    water = source.water()
    assert 30 < water.distance < 4500
    assert 0 < water.ph < 14
    with pytest.raises(LookupError, match="runs from 2015-01-18T00:00"):
        Chengdu("2016-01-01T00:00")

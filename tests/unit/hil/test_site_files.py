"""The files of a site: what the writer of TOML writes, TOML's own reader reads back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hil.errors import ProcessError, SiteError
from hil.site.files import SiteFiles
from hil.site.processes import CollectorProcess
from hil.site.toml import dump_toml


def test_tables_come_back_as_they_were() -> None:
    tables = {
        "gateway": {"id": 'a "quoted" \\ name\n\x7f\u00e9', "live": True, "tls": {"ca": "ca.pem"}},
        "bus": [
            {
                "name": "one",
                "unit": 7,
                "high": 6553.5,
                "device": [{"name": "a"}, {"tags": ["x", "y"]}],
            },
            {"name": "two", "device": []},
        ],
        "keys": ["a", "b"],
    }
    assert tomllib.loads(dump_toml(tables)) == tables


def test_a_value_that_no_configuration_has_is_refused() -> None:
    with pytest.raises(TypeError, match="got None"):
        dump_toml({"limit": None})


def test_a_site_wants_a_folder_of_its_own(tmp_path: Path) -> None:
    SiteFiles(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(SiteError, match="expected an empty folder"):
        SiteFiles(tmp_path)


async def test_a_collector_that_does_not_come_up_shows_its_output(tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path / "missing.toml")
    with pytest.raises(ProcessError, match=r"(?s)collector ended with.*missing\.toml"):
        await collector.start()
    await collector.stop()

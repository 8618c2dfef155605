"""A damaged file of the agent's own state is set aside and named once; it stops nothing."""

from pathlib import Path

import pytest

from gateway_agent.state_file import read_state, write_state


# What a power cut or a worn medium leaves: nothing, a part, another byte in a text, zeros.
@pytest.mark.parametrize("damaged", [b"", b'["on', b'["on\xffe"]', bytes(20), b"[1]"])
def test_what_is_damaged_is_set_aside_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(damaged)
    for _ in range(2):
        assert read_state(path, list[str], "names are forgotten") is None
    (line,) = caplog.messages
    assert f"{path} is damaged, see names.json.damaged: " in line
    assert line.endswith("; names are forgotten")
    assert (tmp_path / "names.json.damaged").read_bytes() == damaged
    write_state(path, ["one"])
    assert read_state(path, list[str], "") == ["one"]


def test_what_cannot_be_read_now_stays_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "names.json"
    path.mkdir()
    assert read_state(path, list[str], "names are forgotten") is None
    assert "cannot be read: Is a directory; names are forgotten" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["names.json"]

"""The notices that wait are kept durably, and a damaged file of them stops no start."""

import os
from pathlib import Path

import pytest

from gateway_agent.notify.kept import FILE_NAME, KeptNotices, keep_notices, kept_notices

from .test_queue import notice


def test_what_waits_is_durable_before_the_old_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    sync = os.fsync

    def seen(descriptor: int) -> None:
        synced.append((b"n1" in Path(f"/proc/self/fd/{descriptor}").read_bytes(), path.exists()))
        sync(descriptor)

    path = tmp_path / FILE_NAME
    monkeypatch.setattr("gateway_agent.directories.sync_directory", lambda _: None)
    monkeypatch.setattr(os, "fsync", seen)
    keep_notices(tmp_path, {"ops": KeptNotices([notice(1)], 2)})
    assert synced == [(True, False)]
    assert kept_notices(tmp_path) == {"ops": KeptNotices([notice(1)], 2)}
    keep_notices(tmp_path, {})
    assert (list(tmp_path.iterdir()), kept_notices(tmp_path)) == ([], {})


def test_a_damaged_file_is_set_aside_and_what_it_had_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"ops\xff": {"waiting": []}}')
    assert kept_notices(tmp_path) == {}
    assert "the notices that waited are lost" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == [f"{FILE_NAME}.damaged"]

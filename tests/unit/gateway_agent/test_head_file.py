"""The head file on a medium that refuses it: a full one is tolerated, a failed fsync is not."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.store import head_file
from gateway_agent.store.errors import StoreDamaged, StoreFailed
from gateway_agent.store.head_file import ChainHead, HeadFile

from .store_help import StillClock, contents, numbers, open_box, records

HEAD = bytes(range(32))


def refusing(code: int) -> Callable[[int], None]:
    """An fsync that fails with ``code``."""

    def fsync(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


def test_the_file_is_one_line_with_its_check(tmp_path: Path) -> None:
    path = tmp_path / "outbox.head"
    head_file.write(path, ChainHead(4294967297, 3, HEAD))
    # printf '4294967297 3 <head>' | sha256sum | cut -c 1-16
    assert path.read_text() == f"4294967297 3 {HEAD.hex()} a1bf8e7d323c742a\n"
    assert head_file.read(path) == ChainHead(4294967297, 3, HEAD)


@pytest.mark.parametrize("content", ["", "1 2", f"1 2 {HEAD.hex()} 0000000000000000\n", "\xff"])
def test_another_content_is_damage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "outbox.head"
    path.write_text(content)
    with pytest.raises(StoreDamaged, match="expected"):
        head_file.read(path)


def test_it_lags_no_longer_than_it_may(tmp_path: Path) -> None:
    clock = StillClock()
    file = HeadFile(tmp_path / "outbox.head", 100, clock)
    for last, now, written in ((1, 1000, 1), (2, 1099, 1), (3, 1100, 3), (4, 1150, 3)):
        clock.now = now
        file.follow(ChainHead(1, last, HEAD))
        found = head_file.read(file.path)
        assert found is not None
        assert found.last == written
        assert file.behind == (written != last)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_medium_leaves_it_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    box = open_box(tmp_path)
    box.append(records(1, 1), {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refusing(code))
        assert box.append(records(2, 1), {}) == 2
    assert box.head_file_behind
    seen = head_file.read(tmp_path / "outbox.head")
    assert seen is not None
    assert seen.last == 1
    box.close()
    seen = head_file.read(tmp_path / "outbox.head")
    assert seen is not None
    assert seen.last == 2


def test_a_failed_fsync_ends_the_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = open_box(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refusing(errno.EIO))
        with pytest.raises(StoreFailed, match=r"outbox\.head"):
            box.append(records(1, 1), {})
    with pytest.raises(StoreFailed, match="may not write again"):
        box.append(records(2, 1), {})
    box.close()
    box = open_box(tmp_path)
    assert numbers(contents(box)) == [1]  # its commit was durable, only nothing acknowledged it
    box.close()

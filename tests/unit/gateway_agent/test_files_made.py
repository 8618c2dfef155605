"""What is made on the host's file system: durable names, and nothing that others may change."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.collector.database import Database
from gateway_agent.directories import replace_file
from gateway_agent.keys import generate_node_key
from gateway_agent.store.lock import Lock

from .test_cli import a_site, flat, run


def database(path: Path) -> None:
    Database(path / "collector.db").close()


def lock(path: Path) -> None:
    Lock(path).release()


def keys(path: Path) -> None:
    generate_node_key(path / "node.json")


@pytest.mark.parametrize("make", [database, lock, keys])
def test_each_new_directory_is_synced_into_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    synced = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    make(tmp_path / "a" / "b" / "c")
    for above in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert above in synced
    synced.clear()
    make(tmp_path / "a" / "b" / "d")
    assert tmp_path / "a" not in synced


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """A stick may be prepared by anybody."""
    other = tmp_path / "shadow"
    other.write_text("not yours")
    (tmp_path / "gw-1.tmp").symlink_to(other)
    replace_file(tmp_path / "gw-1.receipt", b"receipt")
    assert (tmp_path / "gw-1.receipt").read_bytes() == b"receipt"
    assert not (tmp_path / "gw-1.receipt").is_symlink()
    assert other.read_text() == "not yours"


def test_nobody_else_can_write_what_a_command_makes_whatever_the_umask(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("tianfu-gateway")
    for kind in ("gateway", "node"):
        subprocess.run(
            ["sh", "-c", f'umask 000; "{command}" keygen {kind} --out deep/{kind}/key'],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "deep": 0o700,
        "deep/gateway": 0o700,
        "deep/gateway/key": 0o600,
        "deep/gateway/key.pub": 0o644,
        "deep/node": 0o700,
        "deep/node/key": 0o600,
    }


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("password_file", 'username = "u"\npassword_file = "secret"\n'),
        ("tls.key", 'tls = { ca = "g.pem.pub", cert = "g.pem.pub", key = "secret" }\n'),
    ],
)
@pytest.mark.parametrize(("mode", "refused"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_secret_that_everybody_may_read_is_refused(
    tmp_path: Path, key: str, lines: str, mode: int, refused: bool
) -> None:
    site = a_site(tmp_path, "state")
    text = site.read_text().replace('host = "127.0.0.1"\nreceipt', lines + 'host = "h"\nreceipt')
    site.write_text(text)
    (tmp_path / "secret").write_text("what only we know")
    (tmp_path / "secret").chmod(mode)
    status, shown = run("check", "--config", site)
    assert status == (2 if refused else 0), shown
    assert (f"uplink.{key}" in flat(shown)) is refused
    if refused:
        assert "chmod 600" in shown
        assert "what only we know" not in shown
        status, shown = run("run", "--config", site)
        assert status == 2
        assert "chmod 600" in shown

"""A connection to Renode that is idle ends Renode: the bench has none, whatever it waits for."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path

import pytest

from hil.engines.base import NodeSpec
from hil.engines.renode import RenodeEngine
from hil.errors import RenodeEnded, RenodeError
from hil.renode import rpc
from tests.integration.hil.renode.stand_in import make_image, use_stand_in

SPEC = NodeSpec("air", "air", "7f" + "0" * 21 + "1", key="11" * 32)
#: The stand-in closes a connection after this long (a busy host must have sent its request by
#: then), and the moment in which a request ends it lasts as long as the test.
IDLE_S = 1.0


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, and a stand-in with little patience."""
    use_stand_in(tmp_path, monkeypatch, f"server.IDLE_S, server.MOMENT_S = {IDLE_S}, 60")
    return make_image(tmp_path)


async def wait_between_requests(image: Path, folder: Path) -> None:
    async with asyncio.timeout(30), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, folder)
        await board.start()
        for _ in range(2):
            await asyncio.sleep(1.2 * IDLE_S)  # the time without a request is what is tested
            await board.flash_operations()


async def test_the_bench_leaves_no_connection_idle(image: Path, tmp_path: Path) -> None:
    await wait_between_requests(image, tmp_path / "air")


async def test_one_connection_for_all_requests_ends_renode(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[rpc._Transport] = []
    close = rpc._Transport.close

    def keep(transport: rpc._Transport) -> None:
        """Leave the connection open, as the base class does after an answer."""
        kept.append(transport)

    monkeypatch.setattr(rpc._Transport, "close", keep)
    with pytest.raises(RenodeEnded, match="invalid Control characters"):
        await wait_between_requests(image, tmp_path / "air")
    assert kept
    for transport in kept:
        close(transport)


async def test_a_command_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def lose(transport: rpc._Transport, *_: object) -> None:
        sent.append("request")
        raise http.client.RemoteDisconnected("it was done, and the answer was lost")

    monkeypatch.setattr(rpc._Transport, "single_request", lose)
    with pytest.raises(RenodeError, match="the answer was lost"):
        await rpc.Renode(1).acommand("start")
    assert sent == ["request"]

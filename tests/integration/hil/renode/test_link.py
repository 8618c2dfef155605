"""A serial link of a board on Renode: a line of its own on the bench, with faults.

The stand-in's node sends back what comes on its link.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hil.bench import FAST, GATEWAY, Bench, Place
from hil.bus import Fault, FaultKind
from hil.engines.deadline import Deadline
from hil.engines.renode import RenodeEngine
from hil.sim.part import Steady
from tests.integration.hil.renode.stand_in import make_image, use_stand_in

LIMIT_S = 40
BYTES = bytes(range(256))


async def test_bytes_go_both_ways_and_faults_hit_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stand_in(tmp_path, monkeypatch)
    places = [Place("hall", "air", 1, {"link_baud_div_100": 1152}), Place("basin", "water", 2)]
    bench = Bench(
        tmp_path / "nodes",
        Steady(),
        engine=RenodeEngine(make_image(tmp_path)),
        places=places,
        settings=FAST,
    )
    async with asyncio.timeout(LIMIT_S), bench:
        assert list(bench.links) == ["hall"]
        with pytest.raises(LookupError, match=r"'basin' has no link: expected one of \['hall'\]"):
            bench.link_port("basin")
        await bench.power_on()
        link = bench.links["hall"]
        port = os.open(bench.link_port("hall"), os.O_RDWR | os.O_NOCTTY)
        heard = bytearray()

        def all_there() -> bool:
            heard.extend(os.read(port, 4096))
            return len(heard) >= len(BYTES)

        try:
            os.write(port, BYTES)
            await Deadline(LIMIT_S).until(all_there, "the bytes back")
            assert heard == BYTES
            assert (link.sent(GATEWAY), link.sent("hall")) == (256, 256)
            flips = link.inject(Fault(FaultKind.BYTE_FLIP, origin="hall", times=5))
            heard.clear()
            os.write(port, BYTES)
            await Deadline(LIMIT_S).until(all_there, "the bytes back")
            assert sum(a != b for a, b in zip(heard, BYTES, strict=True)) == 5 == flips.applied
        finally:
            os.close(port)

"""Nodes on serial links of their own: what they push, and what they send on request."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from gateway_agent.field.master import Master
from hil.bench import Bench, Place
from hil.bus.fault import Fault, FaultKind
from hil.engines.abilities import Lags
from hil.engines.base import Board
from hil.engines.clock_reading import LEAST_S
from hil.errors import HostTooSlow
from hil.sim.part import PartFault
from hil.sim.vc0706 import Vc0706
from hil.site.link_client import Happened, LinkClient
from hil.site.polls import PollCounts, Target, poll
from hil.testing.fixtures import MakeBench, MakeDeadline
from hil.testing.session import Session
from protocols.wire.link.messages import PICTURE
from protocols.wire.registers import EVENT_MOTION, EVENT_SENSOR, map_of_role

pytestmark = pytest.mark.asyncio
MakeMaster = Callable[..., Master]

#: 115,200 baud, and samples as fast as parts are read.
FAST_LINK: Final = {"link_baud_div_100": 1152, "sample_period_ds": 2, "warmup_limit_s": 2}
LIMIT_S: Final = 30
#: From the event at the node to its frame at the gateway.
LATENCY_MS: Final = 100
BYTE_RATE: Final = 0.01


async def linked(make_bench: MakeBench, role: str, **settings: int) -> Bench:
    """Bring up one node with a link."""
    return await make_bench(places=(Place(role, role, 1),), settings={**FAST_LINK, **settings})


async def until(
    deadline: MakeDeadline, board: Board, condition: Callable[[], bool], what: str
) -> None:
    """Wait for a condition for at most LIMIT_S of the board's time."""
    limit = deadline(LIMIT_S, board)
    await limit.until(condition, what)


def gaps(numbers: list[int]) -> list[tuple[int, int]]:
    """Return what does not follow what came before it."""
    return [(before, after) for before, after in pairwise(numbers) if after != before + 1]


async def counted(client: LinkClient, bench: Bench, master: Master, deadline: MakeDeadline) -> None:
    """Compare what came over the link with the sample that the node shows on its bus."""
    (board,) = bench.nodes.values()
    shown = await poll(master, Target.of(board.spec), counts := PollCounts())
    assert shown is not None, counts
    header = shown.header

    def came() -> bool:
        return max(client.numbers(header.boot_epoch), default=0) >= header.seq

    await until(deadline, board, came, "that sample")
    assert gaps(client.numbers(header.boot_epoch)) == []
    assert client.wrong == []


async def test_a_session_opens_and_every_sample_is_pushed_once_and_in_order(
    make_bench: MakeBench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    bench = await linked(make_bench, "air")
    board = bench.nodes["air"]
    async with LinkClient(bench, "air") as client:
        await until(deadline, board, lambda: len(client.samples) >= 6, "six samples")
        await counted(client, bench, make_master(bench), deadline)
        assert client.sessions == 1
        assert client.counts["samples again"] == 0
        assert client.numbers(client.samples[0].sample.header.boot_epoch)[0] <= 2


async def test_a_setting_is_read_and_a_plain_write_refused_as_on_the_bus(
    make_bench: MakeBench, deadline: MakeDeadline
) -> None:
    bench = await linked(make_bench, "air")
    board = bench.nodes["air"]
    async with LinkClient(bench, "air") as client:
        await until(deadline, board, lambda: client.is_open, "a session")
        client.ask(1, b"\x03\x00\x02\x00\x01")
        client.ask(2, b"\x06\x00\x02\x00\x07")
        await until(deadline, board, lambda: len(client.answers) == 2, "both answers")
        assert client.answers == [b"\x00\x01\x03\x02\x00\x02", b"\x00\x02\x86\x01"]


def up_s(client: LinkClient) -> float:
    """Return how long the node had been up when it took the newest sample, by its own count."""
    return client.samples[-1].sample.header.t_boot_ms / 1000


async def test_an_event_is_at_the_gateway_within_a_tenth_of_a_second(
    make_bench: MakeBench, deadline: MakeDeadline
) -> None:
    bench = await linked(make_bench, "air")
    board = bench.nodes["air"]
    async with LinkClient(bench, "air") as client:

        def of_sensor() -> list[Happened]:
            return [happened for happened in client.events if happened.event.code == EVENT_SENSOR]

        await until(deadline, board, lambda: len(client.samples) >= 3, "samples")
        await until(deadline, board, lambda: client.end.clock.delay_ms >= 0, "the node's clock")
        # The first one may find a host that has no time for an emulator.
        for fault in (PartFault.SILENT, PartFault.NONE, PartFault.SILENT):
            seen = len(of_sensor())
            bench.mhz.fault = fault
            await until(deadline, board, lambda: len(of_sensor()) > seen, "an event of the part")  # noqa: B023
            late = [client.latency_ms(happened) for happened in of_sensor()[seen:]]
            # Both clocks count whole milliseconds, and the offset is half a delay wrong at most.
            slack = 2 + client.end.clock.delay_ms / 2
            assert min(late) >= -slack
            if max(late) <= LATENCY_MS + slack:
                break
        else:
            what = f"events came {late} ms after they had happened"
            # Clocks are compared over a time that is long enough only.
            await until(deadline, board, lambda: up_s(client) > LEAST_S, "more samples")
            if isinstance(board, Lags) and (lag_s := await board.lag_s()):
                raise HostTooSlow(f"{what}; the node's own clock lost {lag_s:.2f} s")
            raise AssertionError(what)


async def test_a_picture_comes_on_request_only_if_its_switch_is_on(
    make_bench: MakeBench, deadline: MakeDeadline
) -> None:
    bench = await linked(make_bench, "camera", image_export=1, sample_period_ds=20)
    board = bench.nodes["camera"]
    async with LinkClient(bench, "camera") as client:
        await until(deadline, board, lambda: client.is_open, "a session")
        bench.camera.moving = True

        def motion() -> bool:
            return any(happened.event.code == EVENT_MOTION for happened in client.events)

        await until(deadline, board, motion, "the event of the motion")
        bench.camera.moving = False
        await until(deadline, board, lambda: has_picture(client), "a picture")
        picture = await client.fetch(PICTURE, LIMIT_S)
        assert picture in images(bench.camera)
        assert client.wrong == []


def has_picture(client: LinkClient) -> bool:
    """Return whether the node has taken a picture: its last sample shows how long that is."""
    at = [point.name for point in map_of_role("camera").points].index("image_bytes")
    return bool(client.samples) and client.samples[-1].sample.raw[at] > 0


def images(camera: Vc0706) -> list[bytes]:
    """Return what this camera can have sent: the frames as they are on disk."""
    frames = Path(__file__).parent.parent / "sim" / "frames"
    assert camera.snapshots > 0
    return [path.read_bytes() for path in sorted(frames.glob("*.jpg"))]


async def test_a_node_whose_image_switch_is_off_sends_no_picture(
    make_bench: MakeBench, deadline: MakeDeadline
) -> None:
    bench = await linked(make_bench, "camera")
    board = bench.nodes["camera"]
    async with LinkClient(bench, "camera") as client:
        await until(deadline, board, lambda: client.is_open, "a session")
        with pytest.raises(PermissionError, match="reason 2"):
            await client.fetch(PICTURE, LIMIT_S)


async def test_samples_come_once_and_in_order_over_damage_cuts_and_a_gateway_that_restarts(
    make_bench: MakeBench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    # A node holds eight samples: more than are taken while the line is cut.
    bench = await linked(make_bench, "air", sample_period_ds=10)
    board, link = bench.nodes["air"], bench.links["air"]
    async with LinkClient(bench, "air") as client:
        await until(deadline, board, lambda: len(client.samples) >= 2, "samples")
        for kind in (FaultKind.BYTE_FLIP, FaultKind.BYTE_DROP, FaultKind.BYTE_INSERT):
            link.inject(Fault(kind, times=None, rate=BYTE_RATE / 3))
        for origin in link.names:
            link.inject(Fault(FaultKind.SPLIT, origin=origin, times=2, delay_s=0.03))
            link.inject(Fault(FaultKind.CUT, origin=origin, times=2, size=20))
            link.inject(Fault(FaultKind.DUPLICATE, origin=origin, times=2))
        unplugged = link.inject(Fault(FaultKind.UNPLUG, origin="air", lasts_s=1.0))
        client.restart()
        before = len(client.samples)
        await until(deadline, board, lambda: len(client.samples) >= before + 4, "samples after it")
        assert unplugged.applied
        assert client.sessions >= 2
        assert link.applied[FaultKind.BYTE_FLIP]
        await counted(client, bench, make_master(bench), deadline)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_picture_arrives_whole_over_faults_and_restarts_of_the_gateway(
    make_bench: MakeBench, deadline: MakeDeadline, hil_session: Session
) -> None:
    bench = await linked(make_bench, "camera", image_export=1, sample_period_ds=20)
    board, link = bench.nodes["camera"], bench.links["camera"]
    async with LinkClient(bench, "camera") as client:
        await until(deadline, board, lambda: client.is_open, "a session")
        await until(deadline, board, lambda: has_picture(client), "a picture")
        link.inject(Fault(FaultKind.BYTE_FLIP, times=None, rate=BYTE_RATE))
        for _ in range(3):
            client.restart()
            assert await client.fetch(PICTURE, 120) in images(bench.camera)

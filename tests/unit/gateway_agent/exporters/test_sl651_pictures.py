"""Pictures of a camera node at a centre: whole, once, and only where the station may send them."""

from hashlib import sha256
from pathlib import Path
from random import Random

from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from gateway_agent.uplink.sl651.pictures import Pictures
from gateway_agent.uplink.trace_log import find_seq
from hil.platform.sl651_centre import CentreFaults, Sl651Centre
from protocols.export_record import export_record
from protocols.uplink import FilePart, Record, Stamp, decode_record, file_record
from tests.unit.gateway_agent.store_help import WALL_MS

from .export_world import DEVICE, exporting, sample, until, writer
from .test_sl651 import RunningClock, a_centre

ADDRESS = "0012345678"
PICTURE = b"\xff\xd8" + Random(3).randbytes(20_000) + b"\xff\xd9"
# F1F1, station, class H, F0F0, 16:53:22 in Beijing, F3F3 (SL 651-2014 table 40).
HEAD = bytes.fromhex(f"f1f1{ADDRESS}48f0f02510091653f3f3")


def parts(data: bytes, size: int = 8192, kind: str = "picture", number: int = 1) -> list[Record]:
    """The records of a file, 2 s after WALL_MS."""
    stamp = Stamp(2, 3, WALL_MS + 2000, 5, 3)
    digest = sha256(data).digest()
    return [
        file_record(
            DEVICE.id,
            FilePart(kind, 7, number, digest, len(data), at, data[at : at + size]),
            stamp,
        )
        for at in range(0, len(data), size)
    ]


def uplink(centre: Sl651Centre, pictures: bool = True) -> Sl651Uplink:
    element = StationElement(code="02", point="temperature")
    station = StationOfDevice(device="hall", address=ADDRESS, element=(element,), pictures=pictures)
    return Sl651Uplink(
        host="127.0.0.1", port=centre.port, report_min=1, latency_ms=0, station=(station,)
    )


async def test_a_picture_arrives_once(tmp_path: Path) -> None:
    """In five packets of which one is refused; a break and a restart send no second one."""
    clock = RunningClock()
    async with a_centre(CentreFaults(refuse_packet=3)) as centre, writer(tmp_path, clock) as outbox:
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            await outbox.put([sample(0), *parts(PICTURE)], {})
            await until(lambda: find_seq(tmp_path, 3, None, 9))
            assert centre.whole(0x36) == HEAD + PICTURE
            centre.close_connections()
            await until(lambda: centre.connections == 2)
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            # The next minute is reported: what stands before it has been read again.
            await outbox.put([sample(45), sample(100)], {})
            await until(lambda: any(heard.function == 0x32 for heard in centre.heard))
            centre.heard.clear()
            centre.ask(ADDRESS, 0x36)
            await until(lambda: any(heard.packet[1] == 5 for heard in centre.heard))
            assert centre.whole(0x36) == HEAD + PICTURE
            await until(lambda: exporters.tasks[0].feed.delivered_to >= 4)
    traces = [one for one in find_seq(tmp_path, 3, None, 9) if one.text.startswith("36 of")]
    assert [(one.seqs, one.ack) for one in traces] == [("2-4", "confirmed")]


async def test_a_picture_that_lacks_parts_is_named_once(tmp_path: Path) -> None:
    """Three pictures, one whole; a restart reads the parts again, and a late part comes."""
    clock = RunningClock()
    whole, halved, headless = (
        parts(PICTURE),
        parts(PICTURE[::-1], number=2),
        parts(b"x" * 9000, number=3),
    )
    lacking = [*halved[:2], headless[1]]
    async with a_centre() as centre, writer(tmp_path, clock) as outbox:
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            status = exporters.tasks[0].feed.status
            await outbox.put([sample(0), *whole, *lacking, sample(700)], {})
            await until(lambda: sum(gap.count for gap in status.gaps) == 2)
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            status = exporters.tasks[0].feed.status
            await outbox.put([halved[2], sample(1400), sample(1500)], {})
            await until(lambda: exporters.tasks[0].feed.delivered_to >= 10)
            pictures = [one for one in centre.heard if one.function == 0x36 and one.packet[1] == 1]
            assert len(pictures) + status.gaps[0].count == 3
            assert [(one.kind, one.cause) for one in status.gaps] == [("picture", "incomplete")]
    (trace,) = [one for one in find_seq(tmp_path, 5, None, 9) if one.ack == "given up"]
    assert (trace.message, trace.seqs) == (f"{ADDRESS} picture 2", "5-6")


async def test_a_station_without_pictures_sends_none(tmp_path: Path) -> None:
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre, pictures=False), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        await outbox.put([*parts(PICTURE), sample(0), sample(100)], {})
        await until(lambda: exporters.tasks[0].feed.delivered_to >= 4)
        assert {heard.function for heard in centre.heard} == {0x32}


def _taken(pictures: Pictures, records: list[Record], first: int = 1) -> list[bytes]:
    found = []
    for seq, record in enumerate(records, first):
        decoded = decode_record(record.data)
        whole = pictures.take(export_record(seq, decoded, (WALL_MS, 5), DEVICE))
        if whole is not None:
            found.append(whole.data)
    return found


def test_what_is_not_whole_holds_nothing_up_for_long() -> None:
    pictures = Pictures(frozenset(("hall",)))
    one, other = parts(PICTURE), parts(PICTURE[::-1])
    assert _taken(pictures, one[:2]) == []
    assert pictures.done_to(9) == 0
    pictures.give_up_at(WALL_MS + 600_000)
    assert pictures.done_to(9) == 0
    pictures.give_up_at(WALL_MS + 600_001)
    assert pictures.done_to(9) == 9
    assert _taken(pictures, [one[0], one[2], *other]) == [PICTURE[::-1]]  # a part was lost
    assert _taken(pictures, parts(b"a log", kind="log")) == []
    assert pictures.done_to(9) == 9


def test_a_picture_dated_ahead_of_the_clock_holds_nothing_up() -> None:
    pictures = Pictures(frozenset(("hall",)))
    assert _taken(pictures, parts(PICTURE)[:2]) == []
    pictures.give_up_at(WALL_MS - 600_000)
    assert pictures.done_to(9) == 0
    pictures.give_up_at(WALL_MS - 600_001)
    assert pictures.done_to(9) == 9
    (one,) = pictures.take_given_up()
    assert one.seqs == (1, 2)


async def test_a_station_answers_that_it_has_no_picture_with_silence(tmp_path: Path) -> None:
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock),
    ):
        await until(lambda: centre.connections)
        centre.ask(ADDRESS, 0x36)
        centre.ask(ADDRESS, 0x51)
        await until(lambda: centre.heard)
        assert [heard.function for heard in centre.heard] == [0x51]

"""The link server: what it pushes, in which order, what it answers, and what ends nothing."""

import asyncio

from firmware.node.app import RESTART
from protocols.wire.hmac import HmacSha256
from protocols.wire.link.end import CLOSED
from protocols.wire.link.messages import (
    CONFIG,
    EVENTS,
    LOG,
    RESTARTING,
    SAMPLES,
    parse_log,
)
from protocols.wire.registers import EVENT_ALARM, EVENT_BOOT, EVENT_CONFIG
from protocols.wire.sample import decode, decode_events, verify
from tests.unit.firmware.fakes import growth, heap_locked
from tests.unit.firmware.link_bench import LinkBench, LinkBoard
from tests.unit.firmware.node_fakes import KEY_BYTES, UID, Board, make_node

MAC = HmacSha256(KEY_BYTES)


def sample(bench: LinkBench) -> bytes:
    """Take a sample; the frame that the bus shows."""
    asyncio.run(bench.node.sample_once())
    return bytes(bench.node.sample_frame.shown())


def test_a_node_without_a_link_has_none() -> None:
    board = LinkBoard()
    assert make_node(board, "air", {})[0].link is None
    assert make_node(board, "air", {"link_baud_div_100": 11})[0].link is None
    assert make_node(Board("nowhere"), "air", {"link_baud_div_100": 1152})[0].link is None


def test_samples_are_the_frames_of_the_bus() -> None:
    bench = LinkBench()
    bench.open()
    taken = []
    for _ in range(5):
        taken.append(sample(bench))
        assert bench.messages_of(SAMPLES, len(taken)) == taken
    verify(taken[4], MAC, UID)
    assert decode(taken[4]).header.seq == 5


def test_the_last_samples_wait_while_the_link_is_down() -> None:
    bench = LinkBench()
    taken = [sample(bench) for _ in range(11)]
    assert bench.link.dropped == 3
    bench.open()
    assert bench.messages_of(SAMPLES, 8) == taken[3:]
    bench.steps(100)
    # A session that ends: what was not acknowledged is sent again in the next one.
    last = bench.messages(SAMPLES)[-1:]
    waited = [sample(bench), sample(bench)]
    bench.silence(16_000)
    assert not bench.link.end.is_open
    bench.connect()
    bench.until(lambda: bench.messages(SAMPLES)[-2:] == waited)
    assert bench.messages(SAMPLES)[:-2] in ([], last)


def test_events_of_before_the_session_come_first() -> None:
    bench = LinkBench()
    for index in range(4):
        sample(bench)
        bench.node.events.push(EVENT_ALARM, index, 0)
        bench.step()
    newest = bytes(bench.node.event_frame.shown())
    bench.until(lambda: newest in bench.messages(EVENTS))
    assert bench.got[0][0] == EVENTS
    frames = bench.messages(EVENTS)
    verify(frames[-1], MAC, UID)
    assert len(frames) <= 3, "one frame has the last 16 events"
    codes = [(event.code, event.arg) for event in decode_events(frames[-1])[1]]
    assert codes == [(EVENT_BOOT, 0)] + [(EVENT_ALARM, index) for index in range(4)]


def test_an_event_leaves_in_the_next_turn() -> None:
    bench = LinkBench()
    bench.open()
    bench.steps(100)
    bench.got = []
    bench.node.events.push(EVENT_ALARM, 7, 0)
    bench.step()
    assert bench.messages(EVENTS) == [bytes(bench.node.event_frame.shown())]


def test_settings_are_read_and_written_as_on_the_bus() -> None:
    bench = LinkBench(keyed=False)
    bench.open()
    assert bench.config(b"\x03\x00\x02\x00\x01") == b"\x03\x02\x00\x32"
    assert bench.config(b"\x06\x00\x02\x00\x07") == b"\x06\x00\x02\x00\x07"
    assert bench.node.config.get("sample_period_ds") == 7
    changed = bytes(bench.node.event_frame.shown())
    assert [event.code for event in decode_events(changed)[1]][1] == EVENT_CONFIG
    bench.until(lambda: changed in bench.messages(EVENTS))
    assert bench.config(b"\x06\x00\x02\x00\x00") == b"\x86\x03"
    assert bench.config(b"\x03\x40\x00\x00\x01") == b"\x83\x02"
    assert bench.config(b"\x2b\x0e\x04\x05")[7:] == b"\x05\x03air"
    words = bench.node.sample_frame.map.words
    shown = bytes(bench.node.sample_frame.shown())
    assert bench.config(b"\x04\x00\x00\x00" + bytes((words,))) == (
        b"\x04" + bytes((2 * words,)) + shown
    )
    assert bench.config(b"\x08\x00\x00\x12\x34") == b"\x88\x01"
    assert bench.config(b"\x41") == b"\xc1\x01"
    assert bench.node.rtu.counters.bus_exception == 0


def test_a_node_with_a_key_takes_signed_writes_only() -> None:
    bench = LinkBench()
    bench.open()
    assert bench.config(b"\x06\x00\x02\x00\x07") == b"\x86\x01"
    counter = bench.config(b"\x03\x00\xf3\x00\x04")[2:]
    signed = counter + b"\x00\x02\x00\x07"
    tag = MAC.digest(b"\x01\xfe\x00\x01\x00\x01" + signed, UID)[:16]
    data = signed + tag
    pdu = b"\x10\x01\x00" + (len(data) // 2).to_bytes(2, "big") + bytes((len(data),)) + data
    assert bench.config(pdu) == b"\x10\x01\x00\x00\x0e"
    assert bench.node.config.get("sample_period_ds") == 7
    assert bench.config(pdu) == b"\x90\x07", "its counter is used up"


def test_a_restart_is_answered_and_announced() -> None:
    bench = LinkBench(keyed=False)
    bench.open()
    assert bench.config(b"\x06\x00\xf0\x5a\x5a") == b"\x06\x00\xf0\x5a\x5a"
    assert bench.node.outcome == RESTART
    bench.steps(50)
    bench.link.close(True)
    bench.events = []
    bench.step()
    assert bench.events == [(CLOSED, RESTARTING)]


def test_answers_wait_for_room_and_keep_their_order() -> None:
    bench = LinkBench(keyed=False)
    bench.open()
    for number in range(6):
        assert bench.gateway.send(CONFIG, bytes((0, number)) + b"\x03\x00\x00\x00\x10")
    bench.board.port.room = 40
    bench.got = []
    assert [answer[:3] for answer in bench.messages_of(CONFIG, 6)] == [
        bytes((0, number, 3)) for number in range(6)
    ]


def test_log_lines_come_with_level_and_time() -> None:
    board = LinkBoard(keyed=False)
    board.fault = ("watchdog", "app.py:12", 1, 2, 3, 4, 5)
    bench = LinkBench(board=board, keyed=False)
    bench.messages_of(LOG, 4)
    bench.role.error = ValueError("no such thing")
    sample(bench)
    at = bench.node.uptime.ms()
    lines = [parse_log(message) for message in bench.messages_of(LOG, 5)]
    assert [level for level, _, _ in lines] == [3, 2, 1, 3, 1]
    assert lines[0][2] == b"boot 1, reset cause 0"
    assert b"node.key is missing" in lines[1][2]
    assert lines[2][2] == b"last fault: watchdog, app.py:12"
    assert lines[3][2] == b"link: open"
    assert lines[4][2] == b"sampling: ValueError: no such thing"
    assert lines[4][1] == at


def test_many_log_lines_are_bounded() -> None:
    bench = LinkBench()
    for number in range(100):
        bench.link.note(3, "line %d " % number + "x" * 200)
    bench.until(lambda: any(line[5:] == b"link: open" for line in bench.messages(LOG)))
    lines = [parse_log(message)[2] for message in bench.messages(LOG)]
    assert lines[-2].startswith(b"line 99 x")
    assert len(lines[-2]) == 120
    assert len(lines) <= 15


def test_the_nodes_clock_is_known() -> None:
    bench = LinkBench()
    bench.open()
    for _ in range(2500):
        bench.step()
    assert abs(bench.now + bench.gateway.clock.offset_ms - bench.node.uptime.ms()) <= 2


def test_a_dead_port_ends_nothing() -> None:
    board = LinkBoard()
    bench = LinkBench(board=board)
    board.port.dead = True

    async def main() -> None:
        bench.role.taken = []
        run = asyncio.create_task(bench.node.run())
        await board.run(11_000)
        assert not bench.node.outcome
        assert len(bench.role.taken) == 3
        assert board.dog.feeds > 90
        assert bench.link.hangups > 90
        run.cancel()

    asyncio.run(main())
    board.port.dead = False
    bench.open()


def test_an_error_of_the_link_ends_its_session_only() -> None:
    bench = LinkBench()
    bench.open()

    def broken(now_ms: int) -> int:
        raise ValueError("broken")

    bench.link.end.poll = broken  # type: ignore[method-assign]  # an error of ours

    async def main() -> None:
        run = asyncio.create_task(bench.node.run())
        await bench.board.run(300)
        assert not bench.node.outcome
        run.cancel()

    asyncio.run(main())
    assert bench.link.failures == 1
    bench.connect()
    broke = b"link: ValueError: broken"
    bench.until(lambda: broke in [parse_log(line)[2] for line in bench.messages(LOG)])


class CtrlC(Exception):
    """Typed at the console."""


def test_ctrl_c_ends_no_session_and_loses_no_sample() -> None:
    bench = LinkBench()
    bench.open()
    bench.steps(100)
    waiting = sample(bench)
    end = bench.link.end

    def typed() -> None:
        raise CtrlC

    bench.board.dog.feed = typed  # type: ignore[method-assign]  # where a process looks for it

    async def main() -> None:
        try:
            run = asyncio.create_task(bench.node.run())
            await bench.board.run(150)
            await run
        except CtrlC:
            return
        raise AssertionError("it went on")

    asyncio.run(main())
    assert bench.link.end is end
    assert end.is_open
    bench.until(lambda: waiting in bench.messages(SAMPLES))


def test_an_end_made_anew_offers_what_is_shown() -> None:
    bench = LinkBench()
    bench.open()
    shown = sample(bench)
    bench.messages_of(SAMPLES, 1)
    bench.link.close(False)  # what was queued is gone
    bench.connect()
    bench.until(lambda: shown in bench.messages(SAMPLES))
    bench.until(lambda: bytes(bench.node.event_frame.shown()) in bench.messages(EVENTS))


def test_noise_is_skipped() -> None:
    bench = LinkBench()
    bench.open()
    bench.board.port.to_node += b"MicroPython v1.25 \r\n>>> \x00\x05garbage" * 40
    bench.steps(10)
    assert bench.config(b"\x03\x00\x02\x00\x01") == b"\x03\x02\x00\x32"
    assert bench.link.end.noise_bytes() > 1000


def test_a_turn_without_anything_to_do_allocates_nothing() -> None:
    bench = LinkBench()
    bench.open()
    bench.steps(200)
    turn = bench.link.turn
    pauses = bytearray(1)

    def once() -> None:
        pauses[0] = turn()

    heap_locked(once)
    assert pauses[0] == 5
    heap_locked(bench.link.sample_taken)
    heap_locked(bench.link.kick)


def test_pushing_leaves_the_heap_as_it_was() -> None:
    bench = LinkBench()
    bench.open()

    def push() -> None:
        bench.got = []
        for index in range(20):
            asyncio.run(bench.node.sample_once())
            bench.node.events.push(EVENT_ALARM, index, 0)
            bench.messages_of(SAMPLES, index + 1)
        bench.got = []
        bench.role.taken = []  # the stub's own records
        bench.role.grades = []

    for _ in range(4):  # until the log and what the gateway's end remembers of the clock are full
        push()
    assert growth(push) <= 0

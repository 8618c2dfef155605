"""The server task: when it answers, and what late and torn bytes do to it."""

import asyncio

from firmware.node.bank import Bank
from firmware.node.serve import Server
from protocols.wire.modbus.server import RtuServer
from tests.unit.firmware.node_fakes import Board, framed, make_bank

READ = b"\x04\x00\x00\x00\x02"
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Bench:
    """A server task on a board whose time the test moves."""

    def __init__(self, baud: int = 9600) -> None:
        self.board = Board("nowhere")
        self.bank: Bank = make_bank()
        self.beats = 0
        self.after = 0
        rtu = RtuServer(1, self.bank, {}, baud, False, self.board.ticks_diff)
        self.line = self.board.rs485
        self.server = Server(self.board, self.line, rtu, self._beat, self._after)

    def _beat(self) -> None:
        self.beats += 1

    def _after(self) -> None:
        self.after += 1

    def run(self, scene: "Callable[[], Coroutine[object, object, None]]") -> None:
        """Play ``scene`` beside the task."""

        async def main() -> None:
            task = asyncio.create_task(self.server.run())
            await self.board.run(1)
            await scene()
            task.cancel()

        asyncio.run(main())


def test_answers_after_silence_and_not_before() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.line.inbox.append(framed(READ))
        await bench.board.run(4)
        assert bench.line.outbox == []
        await bench.board.run(4)
        assert len(bench.line.outbox) == 1
        frame = bytes(bench.bank.sample.shown())
        assert bench.line.outbox[0] == framed(b"\x04\x04" + frame[:4])
        await bench.board.run(50)
        assert len(bench.line.outbox) == 1

    bench.run(scene)
    assert bench.server.polls == 1
    assert bench.after == 1


def test_a_request_byte_by_byte() -> None:
    bench = Bench()

    async def scene() -> None:
        for byte in framed(READ):
            bench.line.inbox.append(bytes((byte,)))
            await bench.board.run(1)
        await bench.board.run(8)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_a_pause_of_the_task_does_not_tear_a_frame() -> None:
    bench = Bench()

    async def scene() -> None:
        request = framed(READ)
        bench.line.inbox.append(request[:5])
        await bench.board.run(2)
        # The rest comes in time, but the task gets no turn for 30 ms.
        bench.line.inbox.append(request[5:])
        bench.board.jump(30)
        await bench.board.run(10)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_bytes_found_late_are_not_taken_for_the_last_ones() -> None:
    bench = Bench()

    async def scene() -> None:
        request = framed(READ)
        bench.line.inbox.append(request[:3])
        await bench.board.run(2)
        bench.line.inbox.append(request[3:6])
        bench.board.jump(30)  # no turn, and the frame is still on its way afterwards
        await bench.board.run(3)
        bench.line.inbox.append(request[6:])
        await bench.board.run(10)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_a_pause_behind_a_look_is_no_silence() -> None:
    bench = Bench()
    look = bench.line.readinto
    rest = [framed(READ)[5:]]

    def pausing(buf: bytearray, nbytes: int) -> "int | None":
        found = look(buf, nbytes)
        if not found and rest:
            bench.line.inbox.append(rest.pop())  # it comes while the task stands still
            bench.board.jump(30)
        return found

    bench.line.readinto = pausing  # type: ignore[method-assign]  # the task is paused in there

    async def scene() -> None:
        bench.line.inbox.append(framed(READ)[:5])
        await bench.board.run(12)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_a_pause_before_a_look_makes_its_bytes_no_older() -> None:
    bench = Bench()
    look = bench.line.readinto
    rest = [framed(READ)[5:7]]

    def pausing(buf: bytearray, nbytes: int) -> "int | None":
        if rest and not bench.line.inbox:  # at the first look, not where the task was woken
            bench.board.jump(30)
            bench.line.inbox.append(rest.pop())
        return look(buf, nbytes)

    bench.line.readinto = pausing  # type: ignore[method-assign]  # the task is paused in there

    async def scene() -> None:
        bench.line.inbox.append(framed(READ)[:5])
        await bench.board.run(3)
        bench.line.inbox.append(framed(READ)[7:])
        await bench.board.run(12)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_half_a_frame_is_forgotten() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.line.inbox.append(framed(READ)[:5])
        await bench.board.run(20)
        assert bench.line.outbox == []
        bench.line.inbox.append(framed(READ))
        await bench.board.run(10)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_others_and_broadcasts_are_not_answered() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.line.inbox.append(framed(READ, 2))
        await bench.board.run(10)
        bench.line.inbox.append(framed(b"\x06\x00\x02\x00\x0a", 0))
        await bench.board.run(10)
        assert bench.line.outbox == []
        assert bench.bank.config.get("sample_period_ds") == 10, "a broadcast is executed"
        bench.line.inbox.append(framed(READ))
        await bench.board.run(10)

    bench.run(scene)
    assert len(bench.line.outbox) == 1
    assert bench.server.polls == 1
    assert bench.after == 3


def test_a_babbling_line_is_progress_and_costs_no_memory() -> None:
    bench = Bench()

    async def scene() -> None:
        for _ in range(100):
            bench.line.inbox.append(b"\x55" * 200)
            await bench.board.run(1)
        assert bench.beats > 90
        for _ in range(700):  # longer than the clock's ticks can be compared over
            bench.line.inbox.append(b"\x55" * 200)
            bench.board.jump(1000)
            await bench.board.run(1)
        await bench.board.run(20)
        bench.line.inbox.append(framed(READ))
        await bench.board.run(10)

    bench.run(scene)
    assert len(bench.line.outbox) == 1


def test_a_dead_line_is_no_progress_and_comes_back() -> None:
    bench = Bench()

    async def scene() -> None:
        bench.line.dead = True
        await bench.board.run(1000)
        assert bench.beats == 0
        assert bench.server.hangups >= 9
        bench.line.dead = False
        bench.line.inbox.append(framed(READ))
        await bench.board.run(120)

    bench.run(scene)
    assert len(bench.line.outbox) == 1

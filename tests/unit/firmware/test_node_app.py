"""The whole node on a board in memory: what a master sees, and how a run ends."""

import asyncio

from firmware.node.app import FAILED, RESTART
from firmware.node.watchdog import SAMPLING_LIMIT_MS, SERVING_LIMIT_MS
from protocols.wire import registers
from protocols.wire.hmac import HmacSha256
from protocols.wire.sample import decode, decode_events, verify
from tests.unit.firmware.node_fakes import (
    KEY,
    KEY_BYTES,
    UID,
    Board,
    Directory,
    MemoryStore,
    framed,
    make_node,
)

MAC = HmacSha256(KEY_BYTES)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from protocols.wire.sample import Event, Sample


class Bench:
    """A node, its board and what a master does with it. One directory through all boots."""

    def __init__(self, key: bytes | None = KEY, settings: "dict[str, int] | None" = None) -> None:
        self.directory = Directory()
        self.settings = settings or {"sample_period_ds": 10}
        self.role_name = "water"
        if key is not None:
            self.directory.put("node.key", key)

    def boot(self, cause: int = 0) -> None:
        self.board = Board(self.directory.path)
        self.board.cause = cause
        self.node, self.role = make_node(self.board, self.role_name, self.settings)

    def run(self, scene: "Callable[[], Coroutine[object, object, None]]") -> int:
        """Play ``scene`` beside the running node; the outcome, 0 if it still ran."""

        async def main() -> None:
            task = asyncio.create_task(self.node.run())
            await self.board.run(1)
            await scene()
            task.cancel()

        asyncio.run(main())
        return self.node.outcome

    async def ask(self, pdu: bytes) -> bytes:
        """What the node answers, without address and CRC; ``b""`` if nothing."""
        line = self.board.rs485
        line.outbox.clear()
        line.inbox.append(framed(pdu))
        await self.board.run(10)
        return line.outbox[0][1:-2] if line.outbox else b""

    async def write(self, register: int, value: int) -> None:
        """Write one register as who has the key does."""
        counter = (await self.ask(b"\x03\x00\xf3\x00\x04"))[2:]
        block = counter + bytes((0, register)) + value.to_bytes(2, "big")
        block += MAC.digest(b"\x01\xfe\x00\x01\x00\x01" + block, UID)[:16]
        answer = await self.ask(b"\x10\x01\x00\x00\x0e\x1c" + block)
        assert answer == b"\x10\x01\x00\x00\x0e", answer

    async def sample(self) -> "Sample":
        answer = await self.ask(b"\x04\x00\x00\x00" + bytes((self.role.map.words,)))
        assert answer[0] == 4, answer
        verify(answer[2:], MAC, UID)
        return decode(answer[2:])

    async def events(self) -> "list[tuple[int, int]]":
        answer = await self.ask(b"\x04\x01\x00\x00" + bytes((registers.EVENT_WORDS,)))
        verify(answer[2:], MAC, UID)
        held: tuple[Event, ...] = decode_events(answer[2:])[1]
        return [(event.code, event.arg) for event in held]

    def done(self) -> None:
        self.directory.remove()


def test_samples_on_the_grid_with_seq_and_time() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(30)
        sample = await bench.sample()
        assert sample.header.boot_epoch == 1
        assert sample.header.seq == 1
        assert sample.raw == (100, 100, 100, 100)
        await bench.board.run(3000)
        sample = await bench.sample()
        assert sample.header.seq == 4
        first = bench.role.taken[0]
        assert [at - first for at in bench.role.taken] == [0, 1000, 2000, 3000]
        assert bench.node.schedule.missed == 0

    assert bench.run(scene) == 0
    bench.done()


def test_slow_samples_are_counted_as_missed_slots_and_keep_the_grid() -> None:
    bench = Bench(settings={"sample_period_ds": 1})
    bench.boot()
    bench.role.takes_ms = 230

    async def scene() -> None:
        await bench.board.run(750)
        assert (await bench.sample()).header.seq
        first = bench.role.taken[0]
        assert [at - first for at in bench.role.taken] == [0, 230, 460, 690]
        # Slots 100 and 200 pass within a sample of 230 ms: 200 is taken late, 100 is missed.
        assert bench.node.schedule.missed >= 3

    bench.run(scene)
    bench.done()


def test_a_changed_period_is_in_force_within_moments() -> None:
    bench = Bench(settings={"sample_period_ds": 36000})
    bench.boot()

    async def scene() -> None:
        await bench.board.run(1500)
        assert len(bench.role.taken) == 1
        await bench.write(2, 5)
        await bench.board.run(2100)
        assert len(bench.role.taken) in (5, 6)
        assert bench.node.schedule.missed == 0
        assert (await bench.events())[-3:] == [
            (registers.EVENT_CONFIG, 2),
            (registers.EVENT_CONFIG_OLD, 36000),
            (registers.EVENT_CONFIG_NEW, 5),
        ]

    bench.run(scene)
    bench.done()


def test_boot_event_status_and_missing_key() -> None:
    bench = Bench(key=None)
    bench.boot(cause=2)

    async def scene() -> None:
        await bench.board.run(50)
        answer = await bench.ask(b"\x04\x00\x00\x00" + bytes((bench.role.map.words,)))
        status = decode(answer[2:]).header.status
        assert status & registers.STATUS_KEY_MISSING
        assert status & registers.STATUS_CONFIG_DEFAULTED
        assert status & registers.STATUS_WATCHDOG_RESET
        assert not status & registers.STATUS_SELFTEST_FAILED
        assert not status & registers.STATUS_STORE_VOLATILE
        assert answer[-16:] == bytes(16)
        assert bench.node.events.slots()[0][:2] == (registers.EVENT_BOOT, 2)

    bench.run(scene)
    bench.done()


def test_a_failed_self_test_is_told_and_the_node_goes_on() -> None:
    bench = Bench()
    bench.boot()
    bench.role.failed = 0b101

    async def scene() -> None:
        await bench.board.run(50)
        sample = await bench.sample()
        assert sample.header.status & registers.STATUS_SELFTEST_FAILED
        assert sample.header.seq == 1
        assert (registers.EVENT_SELFTEST, 0x0500) in await bench.events()

    bench.run(scene)
    bench.done()


def test_the_epoch_rises_over_boots_and_settings_stay() -> None:
    bench = Bench()
    for epoch in (1, 2, 3):
        bench.boot()

        async def scene() -> None:
            await bench.board.run(30)
            sample = await bench.sample()
            assert sample.header.boot_epoch == epoch  # noqa: B023  # used within the turn
            assert await bench.ask(b"\x03\x00\x0f\x00\x01") == (
                b"\x03\x02\x00\x64" if epoch == 1 else b"\x03\x02\x00\x2a"  # noqa: B023
            )
            await bench.write(15, 42)

        bench.run(scene)
    bench.done()


def test_restart_is_answered_first() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.write(0xF0, 0x5A5A)
        await bench.board.run(200)

    assert bench.run(scene) == RESTART
    bench.done()


def test_a_write_without_the_key_changes_nothing_and_is_on_record() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(30)
        assert await bench.ask(b"\x06\x00\xf0\x5a\x5a") == b"\x86\x01"
        assert await bench.ask(b"\x06\x00\x02\x00\x05") == b"\x86\x01"
        await bench.board.run(1500)
        assert len(bench.role.taken) == 2
        assert (await bench.sample()).header.status & registers.STATUS_WRITE_REFUSED
        assert (registers.EVENT_WRITE_REFUSED, 2) in await bench.events()

    assert bench.run(scene) == 0
    bench.done()


def test_the_image_switch_is_an_event_each_way() -> None:
    bench = Bench()
    bench.role_name = "camera"
    bench.boot()

    async def scene() -> None:
        await bench.board.run(30)
        assert await bench.ask(b"\x04\x02\x00\x00\x16") == b"\x84\x02"
        await bench.write(5, 1)
        assert (await bench.ask(b"\x04\x02\x00\x00\x16"))[0] == 4
        assert (await bench.events())[-1] == (registers.EVENT_IMAGE_EXPORT, 1)
        await bench.board.run(1000)
        assert (await bench.sample()).header.status & registers.STATUS_IMAGE_EXPORT
        await bench.write(5, 0)
        assert await bench.ask(b"\x04\x02\x00\x00\x16") == b"\x84\x02"
        assert (await bench.events())[-1] == (registers.EVENT_IMAGE_EXPORT, 0)

    bench.run(scene)
    bench.done()


def test_a_role_that_raises_is_a_fault_and_sampling_goes_on() -> None:
    bench = Bench()
    bench.boot()
    bench.role.error = RuntimeError("driver")

    async def scene() -> None:
        await bench.board.run(30)
        sample = await bench.sample()
        assert sample.quality == (registers.FAULT,) * 4
        bench.role.error = None
        await bench.board.run(1000)
        sample = await bench.sample()
        assert sample.header.seq == 2
        assert sample.quality == (0, 0, 0, 0)
        assert bench.node.role_errors == 1

    assert bench.run(scene) == 0
    bench.done()


def test_stopped_sampling_is_still_served() -> None:
    bench = Bench()
    bench.boot()

    async def first() -> None:
        await bench.board.run(1100)
        assert (await bench.sample()).header.seq == 2

    bench.run(first)
    bench.node.stop_sampling()

    async def second() -> None:
        await bench.board.run(5000)
        assert (await bench.sample()).header.seq == 2

    assert bench.run(second) == 0
    assert len(bench.role.taken) == 2
    assert bench.board.dog.feeds > 50, "resting on purpose is no reason to bite"
    bench.done()


def test_the_watchdog_starves_when_a_sample_never_ends() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(100)
        bench.role.takes_ms = 10 * SAMPLING_LIMIT_MS
        await bench.board.run(1500)
        feeds = bench.board.dog.feeds
        bench.board.jump(SAMPLING_LIMIT_MS)
        await bench.board.run(1000)
        assert bench.board.dog.feeds == feeds
        sample = await bench.sample()
        assert sample.header.seq == 1, "serving goes on until the watchdog bites"

    bench.run(scene)
    bench.done()


def test_the_watchdog_starves_when_the_line_is_dead() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(500)
        assert bench.board.dog.feeds >= 4
        bench.board.rs485.dead = True
        await bench.board.run(SERVING_LIMIT_MS + 200)
        feeds = bench.board.dog.feeds
        await bench.board.run(1000)
        assert bench.board.dog.feeds == feeds

    bench.run(scene)
    bench.done()


def test_a_task_that_breaks_ends_the_run_and_says_why() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(100)

        bench.board.rs485.error = ValueError("line driver")
        bench.board.rs485.inbox.append(b"x")
        await bench.board.run(200)

    assert bench.run(scene) == FAILED
    assert bench.node.failure == "serving: ValueError: line driver"
    bench.done()


def test_a_store_that_comes_back_is_used() -> None:
    bench = Bench()
    bench.boot()
    bench.done()  # the directory goes: nothing can be written
    bench.node.epoch.stored = False

    async def scene() -> None:
        await bench.board.run(30)
        bench.node.config.set_many(0, [1, 96, 20])
        assert bench.node.status() & registers.STATUS_STORE_VOLATILE
        import os

        os.mkdir(bench.directory.path)
        bench.board.jump(60000)
        await bench.board.run(200)
        assert not bench.node.status() & registers.STATUS_STORE_VOLATILE
        assert bench.directory.get("config")

    bench.run(scene)
    bench.done()


def test_a_node_without_a_watchdog_ends_by_itself() -> None:
    bench = Bench()
    bench.boot()

    async def scene() -> None:
        await bench.board.run(500)
        bench.board.rs485.dead = True
        await bench.board.run(SERVING_LIMIT_MS + 8000)
        assert bench.node.outcome == 0, "a watchdog of the board comes first"
        await bench.board.run(1500)

    assert bench.run(scene) == FAILED
    assert bench.node.failure == "watchdog: sampling or serving made no progress"
    bench.done()


class LyingStore(MemoryStore):
    """Says it took everything and keeps nothing new."""

    def write(self, name: str, data: "bytes | bytearray") -> bool:
        return True


def status_with(store: MemoryStore) -> "tuple[int, list[tuple[int, int]]]":
    """Status and events after the first sample of a node with ``store``."""
    board = Board("nowhere")
    board.files = store
    store.files["node.key"] = KEY
    node, _ = make_node(board, "water", {"sample_period_ds": 10})

    async def main() -> None:
        task = asyncio.create_task(node.run())
        await board.run(50)
        task.cancel()

    asyncio.run(main())
    return node.status(), [slot[:2] for slot in node.events.slots()]


def test_a_volatile_store_is_a_status_and_no_failure() -> None:
    store = MemoryStore()
    store.broken = True
    status, events = status_with(store)
    assert status & registers.STATUS_STORE_VOLATILE
    assert not status & registers.STATUS_SELFTEST_FAILED
    assert (registers.EVENT_SELFTEST, 0x0008) not in events


def test_a_store_that_lies_fails_the_self_test() -> None:
    status, events = status_with(LyingStore())
    assert status & registers.STATUS_SELFTEST_FAILED
    assert (registers.EVENT_SELFTEST, 0x0008) in events


def test_the_self_test_writes_nothing_by_itself() -> None:
    store = MemoryStore()
    status_with(store)
    assert store.writes == 2, "the two of the boot epoch"

"""Tasks cancelled while they wait for the outbox's thread: the work is done, the thread goes on."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFailed
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import Receipt

from .slave import until
from .store_help import GATEWAY, StillClock, contents, numbers, open_box, records

Step = Callable[[OutboxWriter], Coroutine[object, object, object]]


class Gate:
    """Holds the outbox's thread at the entry of one of its steps."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.open.wait(20)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that no thread stays behind at, even if the test fails."""
    found = Gate()
    yield found
    found.open.set()


def hold(monkeypatch: pytest.MonkeyPatch, name: str, gate: Gate) -> None:
    step = getattr(Outbox, name)

    def held(self: Outbox, *arguments: object) -> object:
        gate.wait()
        return step(self, *arguments)

    monkeypatch.setattr(Outbox, name, held)


def make(directory: Path, max_bytes: int = 1 << 30) -> tuple[OutboxWriter, Counters]:
    counters = Counters()
    writer = OutboxWriter(open_box(directory, StillClock(), counters, max_bytes))
    writer.start()
    return writer, counters


async def cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


def kept(directory: Path) -> list[int]:
    """What the next process finds."""
    box = open_box(directory)
    found = numbers(contents(box, 500))
    box.close()
    return found


async def test_a_put_cancelled_during_its_commit_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    writer, counters = make(tmp_path)
    hold(monkeypatch, "append", gate)
    put = asyncio.create_task(writer.put(records(1, 3), {"tf-a": Mark(1, 1, 1)}))
    await asyncio.to_thread(gate.reached.wait)
    await cancel(put)
    gate.open.set()
    await writer.put(records(4, 1), {})
    assert writer.stats.last == counters.records_recorded == 4
    await writer.close()
    assert kept(tmp_path) == [1, 2, 3, 4]


async def test_a_put_cancelled_before_the_thread_took_it_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    writer, _ = make(tmp_path)
    hold(monkeypatch, "append", gate)
    first = asyncio.create_task(writer.put(records(1, 1), {}))
    await asyncio.to_thread(gate.reached.wait)
    second = asyncio.create_task(writer.put(records(2, 1), {}))
    third = asyncio.create_task(writer.put(records(3, 1), {}))
    await asyncio.sleep(0)
    await cancel(second)
    gate.open.set()
    await asyncio.gather(first, third)
    await writer.close()
    assert kept(tmp_path) == [1, 2, 3]


async def test_a_put_cancelled_while_there_is_no_space_is_committed_when_there_is(
    tmp_path: Path,
) -> None:
    writer, _ = make(tmp_path, max_bytes=64 * 4096)
    last = 0

    async def fill() -> None:
        nonlocal last
        while True:
            await writer.put(records(last + 1, 50), {})
            last += 50

    filling = asyncio.create_task(fill())
    await until(lambda: writer.full_reason)
    await cancel(filling)
    piece = await writer.slice(0, 10_000, 1 << 20)
    assert piece is not None
    await writer.release(piece.stream, piece.last, piece.head)
    await until(lambda: not writer.full_reason)
    await writer.close()
    box = open_box(tmp_path)
    found = numbers(contents(box, 500))
    box.close()
    assert found == list(range(piece.last + 1, last + 51))


def rebuilt(writer: OutboxWriter) -> Coroutine[object, object, object]:
    return writer.new_stream("operator", "a test")


def sliced(writer: OutboxWriter) -> Coroutine[object, object, object]:
    return writer.slice(0, 10, 1 << 20)


@pytest.mark.parametrize(("step", "name"), [(sliced, "slice"), (rebuilt, "rebuild")])
async def test_a_call_that_is_cancelled_leaves_the_thread_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, step: Step, name: str
) -> None:
    writer, _ = make(tmp_path)
    await writer.put(records(1, 5), {})
    stream = writer.stats.stream
    hold(monkeypatch, name, gate)
    call = asyncio.create_task(step(writer))
    await asyncio.to_thread(gate.reached.wait)
    await cancel(call)
    gate.open.set()
    await writer.put(records(6, 1), {})
    assert (writer.stats.stream != stream) == (name == "rebuild")
    await writer.close()
    assert kept(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("by_receipt", [True, False])
async def test_a_receipt_that_was_submitted_prunes_although_its_task_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, by_receipt: bool
) -> None:
    writer, counters = make(tmp_path)
    await writer.put(records(1, 5), {})
    piece = await writer.slice(0, 3, 1 << 20)
    assert piece is not None
    hold(monkeypatch, "release", gate)
    receipt = Receipt(GATEWAY, piece.stream, piece.last, piece.head, 1)
    call: asyncio.Task[object] = asyncio.create_task(
        writer.apply_receipt(receipt)
        if by_receipt
        else writer.release(piece.stream, piece.last, piece.head)
    )
    await asyncio.to_thread(gate.reached.wait)
    await cancel(call)
    gate.open.set()
    await writer.put(records(6, 1), {})
    assert writer.stats.receipted_to == counters.records_delivered == 3
    await writer.close()
    assert kept(tmp_path) == [4, 5, 6]


async def test_a_close_that_is_cancelled_ends_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    writer, _ = make(tmp_path)
    hold(monkeypatch, "append", gate)
    put = asyncio.create_task(writer.put(records(1, 3), {}))
    await asyncio.to_thread(gate.reached.wait)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(StoreFailed, match="closed"):
        await writer.put(records(4, 1), {})
    assert not closing.done()
    gate.open.set()
    await put
    await asyncio.wait({closing})
    assert closing.cancelled()
    await writer.close()
    with pytest.raises(StoreFailed, match="closed"):
        await writer.watch()
    assert kept(tmp_path) == [1, 2, 3]


async def test_a_watch_that_is_cancelled_changes_nothing(tmp_path: Path) -> None:
    writer, _ = make(tmp_path)
    watch: asyncio.Task[object] = asyncio.create_task(writer.watch())
    await asyncio.sleep(0)
    await cancel(watch)
    await writer.put(records(1, 1), {})
    await writer.close()
    assert kept(tmp_path) == [1]


async def test_a_failure_ends_every_wait_also_of_calls_taken_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """Requests that the thread has taken but not begun when a commit fails are answered too."""

    def broken(self: Outbox, *_: object) -> int:
        gate.wait()
        self.failed = True
        raise StoreFailed("fsync failed")

    writer, _ = make(tmp_path)
    monkeypatch.setattr(Outbox, "append", broken)
    watch = asyncio.create_task(writer.watch())
    puts = [asyncio.create_task(writer.put(records(n, 1), {})) for n in range(1, 4)]
    calls = [asyncio.create_task(writer.slice(0, 10, 1 << 20)) for _ in range(3)]
    await asyncio.to_thread(gate.reached.wait)
    await cancel(puts[0])
    gate.open.set()
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(watch, *puts[1:], *calls, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["fsync failed"] * 6
    await writer.close()
    assert kept(tmp_path) == []


async def test_a_bug_in_a_call_ends_every_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(self: Outbox, *_: object) -> object:
        raise RuntimeError("a bug")

    writer, _ = make(tmp_path)
    await writer.put(records(1, 1), {})
    monkeypatch.setattr(Outbox, "slice", odd)
    async with asyncio.timeout(20):
        with pytest.raises(StoreFailed, match="outbox writer: RuntimeError"):
            await writer.slice(0, 1, 1)
        with pytest.raises(StoreFailed, match="outbox writer: RuntimeError"):
            await writer.watch()
    await writer.close()
    monkeypatch.undo()
    assert kept(tmp_path) == [1]

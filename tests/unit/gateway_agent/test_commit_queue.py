"""The queue between pollers and store: one commit for what came together, and cancelled tasks."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway_agent.field.commit_queue import CommitQueue
from gateway_agent.store.mark import Mark
from protocols.uplink import Record

from .slave import until
from .store_help import record


class GatedSink:
    """Keeps each commit it takes; while ``gate`` is closed commits are under way."""

    def __init__(self) -> None:
        self.commits: list[tuple[list[Record], dict[str, Mark]]] = []
        self.under_way = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        self.under_way += 1
        await self.gate.wait()
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        self.commits.append((list(records), dict(marks)))


async def cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


ONE, TWO, THREE = record(1), record(2), record(3)


async def test_what_came_together_is_committed_together() -> None:
    sink = GatedSink()
    sink.gate.set()
    queue = CommitQueue(sink, linger_ms=500)
    task = asyncio.create_task(queue.run())
    for index in range(5):
        queue.add([], "d", Mark(1, index, 0))
        await asyncio.sleep(0)
    await until(lambda: sink.commits)
    assert sink.commits == [([], {"d": Mark(1, 4, 0)})]
    await cancel(task)


async def test_a_flush_waits_for_the_commit_a_cancelled_run_left_behind() -> None:
    sink = GatedSink()
    queue = CommitQueue(sink, linger_ms=0)
    queue.add([ONE], "d", Mark(1, 1, 0))
    task = asyncio.create_task(queue.run())
    await until(lambda: sink.under_way)
    await cancel(task)
    queue.add([TWO], "d", Mark(1, 2, 0))
    flush = asyncio.create_task(queue.flush())
    await asyncio.sleep(0)
    assert sink.under_way == 1
    sink.gate.set()
    await flush
    assert sink.commits == [([ONE], {"d": Mark(1, 1, 0)}), ([TWO], {"d": Mark(1, 2, 0)})]


@pytest.mark.parametrize("linger_ms", [0, 3_600_000])
async def test_a_run_cancelled_before_its_commit_leaves_everything_to_the_flush(
    linger_ms: int,
) -> None:
    """Cancelled while it waits for a first record, and while it waits for company."""
    sink = GatedSink()
    sink.gate.set()
    queue = CommitQueue(sink, linger_ms)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    if linger_ms:
        queue.add([ONE], "d", Mark(1, 1, 0))
        await asyncio.sleep(0)
        await cancel(task)
    else:
        await cancel(task)
        queue.add([ONE], "d", Mark(1, 1, 0))
    assert queue.waiting == 1
    await queue.flush()
    assert sink.commits == [([ONE], {"d": Mark(1, 1, 0)})]


async def test_flushes_cancelled_in_either_wait_lose_and_repeat_nothing() -> None:
    sink = GatedSink()
    queue = CommitQueue(sink, linger_ms=0)
    queue.add([ONE], "d", None)
    first = asyncio.create_task(queue.flush())  # cancelled in its own commit
    await until(lambda: sink.under_way)
    await cancel(first)
    queue.add([TWO], "d", None)
    second = asyncio.create_task(queue.flush())  # cancelled while it waits for the first one's
    await asyncio.sleep(0)
    await cancel(second)
    queue.add([THREE], "d", None)
    sink.gate.set()
    await queue.flush()
    assert sink.commits == [([ONE], {}), ([TWO, THREE], {})]


async def test_an_error_of_a_commit_left_behind_is_raised_by_the_flush() -> None:
    sink = GatedSink()
    queue = CommitQueue(sink, linger_ms=0)
    queue.add([ONE], "d", None)
    task = asyncio.create_task(queue.run())
    await until(lambda: sink.under_way)
    await cancel(task)
    sink.error = OSError("the medium is gone")
    sink.gate.set()
    with pytest.raises(OSError, match="the medium is gone"):
        await queue.flush()
    assert sink.commits == []


async def test_a_cancelled_wait_for_room_changes_nothing() -> None:
    sink = GatedSink()
    queue = CommitQueue(sink, linger_ms=0, max_bytes=len(ONE.data) + len(TWO.data))
    queue.add([ONE, TWO], "d", None)
    assert queue.full
    waits = asyncio.create_task(queue.room())
    await asyncio.sleep(0)
    await cancel(waits)
    assert queue.full
    assert queue.waiting == 2
    sink.gate.set()
    await queue.flush()
    await queue.room()
    assert sink.commits == [([ONE, TWO], {})]


async def test_without_a_wait_for_others_pollers_wait_for_what_they_added() -> None:
    sink = GatedSink()
    queue = CommitQueue(sink, linger_ms=0)
    assert not queue.is_patient
    assert CommitQueue(sink, linger_ms=1).is_patient
    task = asyncio.create_task(queue.run())
    await asyncio.wait_for(queue.stored(), 5)  # nothing was added
    queue.add([ONE], "d", Mark(1, 1, 0))
    first = asyncio.create_task(queue.stored())
    await until(lambda: sink.under_way)
    queue.add([TWO], "e", Mark(1, 2, 0))
    second = asyncio.create_task(queue.stored())
    await asyncio.sleep(0.01)
    assert not first.done()
    sink.gate.set()
    await asyncio.wait_for(first, 5)
    assert sink.commits[0][0] == [ONE]
    await asyncio.wait_for(second, 5)
    assert [records for records, _ in sink.commits] == [[ONE], [TWO]]
    queue.add([], "d", Mark(1, 3, 0), is_urgent=False)  # no news: it goes with the next commit
    await asyncio.wait_for(queue.stored(), 5)
    await cancel(task)


async def test_who_waits_for_a_commit_hears_of_that_one_and_only_when_it_is_durable() -> None:
    sink, done = GatedSink(), list[int]()
    queue = CommitQueue(sink, linger_ms=0)
    queue.add([ONE], "d", Mark(1, 1, 0), committed=lambda: done.append(1))
    first = asyncio.create_task(queue.flush())
    await until(lambda: sink.under_way)
    queue.add([TWO], "d", Mark(1, 2, 0), committed=lambda: done.append(2))
    assert done == []
    sink.gate.set()
    await first
    await until(lambda: done == [1])
    sink.error = OSError("the medium")
    with pytest.raises(OSError, match="the medium"):
        await queue.flush()
    await asyncio.sleep(0)
    assert done == [1]


async def test_a_cancelled_wait_does_not_hide_that_a_commit_was_made() -> None:
    sink, done = GatedSink(), list[int]()
    queue = CommitQueue(sink, linger_ms=0)
    queue.add([ONE], "d", Mark(1, 1, 0), committed=lambda: done.append(1))
    task = asyncio.create_task(queue.run())
    await until(lambda: sink.under_way)
    await cancel(task)
    sink.gate.set()
    await until(lambda: done == [1])
    assert [records for records, _ in sink.commits] == [[ONE]]

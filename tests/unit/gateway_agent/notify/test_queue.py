"""A queue of notices is bounded, and what it loses is counted in the next notice that arrives."""

import asyncio

from gateway_agent.notify.queue import Notice, NoticeQueue


def notice(number: int) -> Notice:
    return Notice(
        id=f"n{number}", gateway="gw-1", alarm="high", about="basin", severity="urgent",
        state="unacknowledged", before="normal",
    )  # fmt: skip


async def test_the_oldest_give_way_and_the_next_one_delivered_has_their_number() -> None:
    queue = NoticeQueue(3)
    queue.put(*map(notice, range(5)))
    assert (len(queue), queue.lost) == (3, 2)
    (first,) = await queue.take(1)
    assert (first.id, first.lost) == ("n2", 2)
    # It is not delivered: another attempt has the same, and those that were lost meanwhile.
    queue.put(notice(5), notice(6))
    (again,) = await queue.take(1)
    assert (again.id, again.lost) == ("n2", 3)
    queue.done()
    rest = await queue.take(10)
    assert [(item.id, item.lost) for item in rest] == [("n4", 0), ("n5", 0), ("n6", 0)]
    queue.refused()
    assert (len(queue), queue.lost, queue.unnamed) == (0, 6, 3)


async def test_what_waits_is_put_back_after_a_restart_before_anything_newer() -> None:
    before, after = NoticeQueue(3), NoticeQueue(3)
    before.put(*map(notice, range(4)))
    await before.take(1)
    after.restore(before.kept, before.unnamed)
    after.put(notice(4))
    found = await after.take(10)
    assert [item.id for item in found] == ["n2", "n3", "n4"]
    assert (found[0].lost, after.lost) == (2, 1)


async def test_another_queue_goes_on_with_what_waits_and_the_first_gives_nothing_twice() -> None:
    before, after = NoticeQueue(3), NoticeQueue(2)
    before.put(*map(notice, range(4)))  # n0 is lost
    await before.take(1)
    before.hand_over(after)
    assert (len(after), after.lost) == (2, 2), "there is less room"
    before.done()  # whoever was sending there has ended late
    assert len(before) == 0
    found = await after.take(10)
    assert [item.id for item in found] == ["n2", "n3"]
    assert found[0].lost == 2


async def test_who_waits_gets_what_comes() -> None:
    queue = NoticeQueue(3)
    taking = asyncio.create_task(queue.take(2))
    await asyncio.sleep(0)
    queue.put(notice(1))
    assert [item.id for item in await taking] == ["n1"]

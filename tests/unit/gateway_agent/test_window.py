"""Which records the next batch takes: a table of cases, and any groups at all against a list."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_agent.store.errors import StoreDamaged
from gateway_agent.store.group import Group
from gateway_agent.store.window import Limits, Window, take
from protocols.uplink import Record

START = b"\xaa" * 32
BOOT_A, BOOT_B = b"a" * 16, b"b" * 16
ALL = Limits(1000, 1 << 20)


def folded(head: bytes, pieces: Sequence[bytes]) -> bytes:
    """The chain as the documentation has it."""
    for piece in pieces:
        head = hashlib.sha256(head + piece).digest()
    return head


def chain_of(shape: Sequence[tuple[bytes, Sequence[int]]], first: int = 1) -> list[Group]:
    """Groups that follow each other: of each its boot and the sizes of its records."""
    groups: list[Group] = []
    head = START
    for boot_id, sizes in shape:
        number = first
        records = []
        for size in sizes:
            records.append(Record(bytes([number % 251]) * size, 1, 0, 1))
            number += 1
        after = folded(head, [record.data for record in records])
        groups.append(Group(first, boot_id, head, after, tuple(records)))
        first, head = number, after
    return groups


def numbers(window: Window | None) -> list[int]:
    """Which records of :func:`chain_of` these are."""
    return [] if window is None else [record.data[0] for record in window.records]


class Case(NamedTuple):
    name: str
    shape: Sequence[tuple[bytes, Sequence[int]]]
    after: int
    limits: Limits
    taken: list[int]


THREE_GROUPS = ((BOOT_A, (10, 10)), (BOOT_A, (10, 10, 10)), (BOOT_A, (10,)))
CASES = [
    Case("everything there is", THREE_GROUPS, 0, ALL, [1, 2, 3, 4, 5, 6]),
    Case("from the middle of a group", THREE_GROUPS, 1, ALL, [2, 3, 4, 5, 6]),
    Case("the last record of a group alone", ((BOOT_A, (10, 10)),), 1, ALL, [2]),
    Case("records end a window in a group", THREE_GROUPS, 0, Limits(3, 1000), [1, 2, 3]),
    Case("records end a window between groups", THREE_GROUPS, 0, Limits(2, 1000), [1, 2]),
    Case("records end a window that skips", THREE_GROUPS, 3, Limits(1, 1000), [4]),
    Case("bytes end a window in a group", THREE_GROUPS, 0, Limits(100, 39), [1, 2, 3]),
    Case("bytes end a window between groups", THREE_GROUPS, 0, Limits(100, 20), [1, 2]),
    Case("bytes may be used up exactly", THREE_GROUPS, 0, Limits(100, 40), [1, 2, 3, 4]),
    Case("one record at the least", ((BOOT_A, (500, 10)),), 0, Limits(100, 20), [1]),
    Case("one record, and no second", ((BOOT_A, (50,)), (BOOT_A, (1,))), 0, Limits(9, 20), [1]),
    Case("a large record waits for its own window", ((BOOT_A, (10, 500)),), 0, Limits(9, 100), [1]),
    Case("a boot ends", ((BOOT_A, (10,)), (BOOT_B, (10,))), 0, ALL, [1]),
    Case("the next boot", ((BOOT_B, (10,)), (BOOT_B, (10,))), 0, ALL, [1, 2]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_taken(case: Case) -> None:
    groups = chain_of(case.shape)
    begin_with = max(i for i, group in enumerate(groups) if group.first <= case.after + 1)
    window = take(groups[begin_with:], case.after, case.limits)
    assert window is not None
    assert numbers(window) == case.taken
    data = [record.data for group in groups for record in group.records]
    begin, end = case.after, case.after + len(case.taken)
    assert window.prev == folded(START, data[:begin])
    assert window.head == folded(START, data[:end])
    assert window.boot_id == groups[0].boot_id


@pytest.mark.parametrize("after", [0, 3, 9, 10**9])
def test_nothing_is_taken_if_the_record_is_in_no_group(after: int) -> None:
    groups = chain_of([(BOOT_A, (10, 10))], first=2)  # records 2 and 3
    assert take([], after, ALL) is None
    assert take(groups, after, ALL) is None


def test_a_group_of_another_chain_ends_the_window() -> None:
    first, second = chain_of([(BOOT_A, (10,)), (BOOT_A, (10,))])
    assert numbers(take([first, second._replace(prev=bytes(32))], 0, ALL)) == [1]


@pytest.mark.parametrize("limits", [Limits(2, 1000), Limits(1, 1000), Limits(9, 20), Limits(9, 15)])
def test_groups_behind_the_window_are_not_read(limits: Limits) -> None:
    def damaged_from_the_second() -> Iterator[Group]:
        yield from chain_of([(BOOT_A, (10, 10))])
        raise StoreDamaged("group 3")

    assert numbers(take(damaged_from_the_second(), 0, limits)) in ([1], [1, 2])
    with pytest.raises(StoreDamaged):
        take(damaged_from_the_second(), 0, ALL)


SHAPES = st.lists(
    st.tuples(
        st.sampled_from([BOOT_A, BOOT_B]), st.lists(st.integers(1, 40), min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=6,
)


@given(SHAPES, st.data())
def test_windows_of_any_size_partition_the_records(
    shape: list[tuple[bytes, list[int]]], data: st.DataObject
) -> None:
    """One after the other they give every record once, each as long as the limits allow."""
    groups = chain_of(shape)
    flat = [(group.boot_id, record) for group in groups for record in group.records]
    after, head = 0, START
    while after < len(flat):
        limits = Limits(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 120)))
        begin = max(index for index, group in enumerate(groups) if group.first <= after + 1)
        window = take(groups[begin:], after, limits)
        assert window is not None
        count = len(window.records)
        assert list(window.records) == [record for _, record in flat[after : after + count]]
        assert {boot_id for boot_id, _ in flat[after : after + count]} == {window.boot_id}
        assert window.prev == head
        assert window.head == folded(head, [record.data for record in window.records])
        size = sum(len(record.data) for record in window.records)
        assert count == 1 or (count <= limits.records and size <= limits.size)
        if after + count < len(flat):  # the next record did not fit
            boot_id, record = flat[after + count]
            assert (
                boot_id != window.boot_id
                or count == limits.records
                or size + len(record.data) > limits.size
            )
        after, head = after + count, window.head

"""The order of batches in an archive: which follow, which come again, what is missing or forked.

Batches may be cut anew after an outage, so what counts is the records' sequence numbers and the
chain's heads at the ends of the batches seen.
"""

from typing import Final, NamedTuple

from .batch_header import BatchHeader

MAX_PLACES: Final = 1000  # spans and heads remembered of one stream


class OrderRemark(NamedTuple):
    """What is remarkable about the place of a batch; a note only where ``is_error`` is False."""

    message: str
    is_error: bool = True
    expected: object = None
    got: object = None


class StreamOrder:
    """The batches of one stream as they were entered; another stream begins anew.

    ``is_late``: the batch entered last stands behind a younger one.
    """

    def __init__(self) -> None:
        self.is_late = False
        self._before: BatchHeader | None = None
        self._seen: list[tuple[int, int]] = []  # records of the stream, merged, in order
        self._heads: dict[int, bytes] = {}  # its chain's heads at the ends of batches
        self._repeated: list[tuple[int, int]] = []  # records of the last batch that came before

    def is_repeated(self, seq: int) -> bool:
        """Return whether this record of the batch entered last came before."""
        return any(low <= seq <= high for low, high in self._repeated)

    def enter(self, header: BatchHeader) -> list[OrderRemark]:
        """Enter the next batch; return what is remarkable about its place."""
        before = self._before
        self.is_late = False
        if before is None or (header.gateway, header.stream) != (before.gateway, before.stream):
            self._before = header
            self._seen, self._repeated = [(header.first, header.last)], []
            self._heads = {header.first - 1: header.prev, header.last: header.head}
            if before is None:
                return []
            message = (
                f"stream {header.stream} of {header.gateway} after stream {before.stream} of"
                f" {before.gateway}"
            )
            return [OrderRemark(message, False)]
        if header.last > before.last:
            self._before = header
        return self._place(header, before)

    def _place(self, header: BatchHeader, before: BatchHeader) -> list[OrderRemark]:
        remarks = []
        here, begin = self._heads.get(header.last), self._heads.get(header.first - 1)
        again = self._add(header)
        if here is not None and here != header.head:
            message = f"fork: another chain up to record {header.last} was signed before"
            remarks.append(OrderRemark(message, True, here.hex(), header.head.hex()))
        elif again:
            message = (
                f"records {header.first} to {header.last} again: the batch before ends at"
                f" {before.last}"
            )
            remarks.append(OrderRemark(message, False))
        elif header.first > before.last + 1:
            message = (
                f"records {before.last + 1} to {header.first - 1} are missing between this batch"
                " and the one before"
            )
            expected = f"first = {before.last + 1}"
            remarks.append(OrderRemark(message, True, expected, header.first))
        elif header.last < before.last:
            self.is_late = True
            message = (
                f"out of order: records {header.first} to {header.last} come after record"
                f" {before.last}"
            )
            expected = f"first = {before.last + 1}"
            remarks.append(OrderRemark(message, True, expected, header.first))
        if begin is not None and begin != header.prev:
            message = "chain does not go on from the batch before"
            expected = f"prev = {begin.hex()}"
            remarks.append(OrderRemark(message, True, expected, header.prev.hex()))
        return remarks

    def _add(self, header: BatchHeader) -> bool:
        """Remember a batch of the current stream; return whether all of its records came before."""
        first, last = header.first, header.last
        self._repeated = [
            (max(first, low), min(last, high))
            for low, high in self._seen
            if low <= last and high >= first
        ]
        again = self._repeated == [(first, last)]
        if not again:
            before = [span for span in self._seen if span[1] < first - 1]
            after = [span for span in self._seen if span[0] > last + 1]
            touching = self._seen[len(before) : len(self._seen) - len(after)]
            low = min(first, *(span[0] for span in touching)) if touching else first
            high = max(last, *(span[1] for span in touching)) if touching else last
            self._seen = [*before, (low, high), *after]
            if len(self._seen) > MAX_PLACES:
                # What lies between the two oldest counts as seen from now on.
                self._seen[:2] = [(self._seen[0][0], self._seen[1][1])]
        self._heads.setdefault(first - 1, header.prev)
        self._heads.setdefault(last, header.head)
        while len(self._heads) > MAX_PLACES:
            del self._heads[next(iter(self._heads))]
        return again

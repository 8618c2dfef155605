"""State that records of a stream are missing for good, in the place of the batches that had them.

A gateway that goes by the broker's word has forgotten them, or the batches that this database kept
are damaged. The statement is the collector's own and not signed; it stands among the batches, in
their chain, and has one gap of the gateway, so what is missing is named and the stream goes on.
"""

import re
from typing import Final, NamedTuple

from protocols.uplink import GAP, KIND_NAMES

from .rows import Row, digest_of

CAUSE: Final = "db_truncated"
AUTH: Final = "collector"  # ``auth`` of its record: no gateway has signed it
NO_BOOT: Final = bytes(16)
_PATTERN: Final = re.compile(
    rb"(missing|named) (\S+) (\d{1,19}) (\d{1,19}) (\d{1,19}) ([0-9a-f]{64})"
)


class MissingRecords(NamedTuple):
    """Records ``first`` to ``last`` of a stream; ``head`` is the chain's head after them.

    ``is_named``: a gap of the gateway has them, so this end makes none.
    """

    gateway: str
    stream: int
    first: int
    last: int
    head: bytes
    is_named: bool = False

    def __str__(self) -> str:
        return f"{self.gateway}: records {self.first} to {self.last} of stream {self.stream}"

    def pack(self) -> bytes:
        """Return the statement as it stands in ``batches.data``."""
        numbers = f"{self.stream} {self.first} {self.last} {self.head.hex()}"
        return f"{'named' if self.is_named else 'missing'} {self.gateway} {numbers}".encode()

    @classmethod
    def unpack(cls, data: bytes) -> "MissingRecords | None":
        """Read ``batches.data``; None if it is a batch, or damaged."""
        found = _PATTERN.fullmatch(data)
        if found is None:
            return None
        word, gateway, stream, first, last, head = found.groups()
        return cls(
            gateway.decode("utf-8", "replace"), int(stream), int(first), int(last),
            bytes.fromhex(head.decode()), word == b"named",
        )  # fmt: skip

    def batch_row(self, number: int, stream_id: int, chain: object) -> Row:
        """Return the row of ``batches``."""
        return (
            number, stream_id, self.first, self.last, self.head, NO_BOOT, None, 0, "none", chain,
            self.pack(),
        )  # fmt: skip

    def record_rows(self, stream_id: int) -> list[Row]:
        """Return the row of ``records``, of the gateway, without a time; none if it is named."""
        digest = digest_of(self.gateway, NO_BOOT, self.pack())
        row = (
            stream_id, self.first, self.gateway, KIND_NAMES[GAP], None, 0, "none", AUTH, 0, None,
            None, NO_BOOT, 0, digest, None,
        )  # fmt: skip
        return [] if self.is_named else [row]

    def gap_rows(self, stream_id: int) -> list[Row]:
        """Return the row of ``gaps``; none if it is named."""
        detail = (
            f"stream {self.stream} records {self.first} to {self.last}: the collector keeps no"
            " batch that has them"
        )
        row = (
            stream_id, self.first, self.gateway, CAUSE, None, self.first, self.last, detail, None,
            None, None,
        )  # fmt: skip
        return [] if self.is_named else [row]

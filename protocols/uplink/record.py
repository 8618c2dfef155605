"""Records: the unit of the outbox, of the chain and of the batch.

A record is what one poll of one device gave (or the fact that it gave nothing), as SenML maps in
deterministic CBOR, concatenated without an array around them: a batch's pack is an array head and
the stored bytes of its records. The layout, byte by byte, is in ``docs/formats.md``.
"""

from .fast_points import ProfileTemplate
from .record_read import decode_record
from .record_types import (
    CAUSES,
    CLOCK_HOLDOVER,
    CLOCK_NAMES,
    CLOCK_NONE,
    CLOCK_SERVER,
    CLOCK_SYNCHRONISED,
    EVENTS,
    GAP,
    KIND_NAMES,
    MAX_DETAIL_LENGTH,
    MAX_RECORD_BYTES,
    PROFILE,
    SAMPLE,
    Decoded,
    Failure,
    Gap,
    NodeEvent,
    Record,
    Stamp,
    Value,
)
from .record_write import event_record, gap_record, sample_record

__all__ = [
    "CAUSES",
    "CLOCK_HOLDOVER",
    "CLOCK_NAMES",
    "CLOCK_NONE",
    "CLOCK_SERVER",
    "CLOCK_SYNCHRONISED",
    "EVENTS",
    "GAP",
    "KIND_NAMES",
    "MAX_DETAIL_LENGTH",
    "MAX_RECORD_BYTES",
    "PROFILE",
    "SAMPLE",
    "Decoded",
    "Failure",
    "Gap",
    "NodeEvent",
    "ProfileTemplate",
    "Record",
    "Stamp",
    "Value",
    "decode_record",
    "event_record",
    "gap_record",
    "sample_record",
]

"""A record of kind 5: a part of a file, byte for byte as another encoder writes it."""

import hashlib
from typing import Any

import cbor2
import pytest

from protocols.uplink import (
    FILE,
    MAX_PART_BYTES,
    FilePart,
    FormatError,
    Stamp,
    decode_record,
    file_record,
)
from protocols.wire.errors import LocalError

from .support import case_name, cases, stamp_of

DATA = b"\xff\xd8picture\xff\xd9"
SHA256 = hashlib.sha256(DATA).digest()
NODE = "tf-0123456789abcdef01234567"
STAMP = Stamp(7000, 7003, 1_765_432_100_123, 20, 3)
PART = FilePart("picture", 5, 9, SHA256, len(DATA), 0, DATA)


def encoded(*tail: object, what: str = "picture", **more: object) -> bytes:
    head = {
        0: "file",
        3: what,
        -2: NODE + "/",
        -3: 1_765_432_100.123,
        "tf": [5, 7000, 3, 3, 20, *tail],
    } | more
    return cbor2.dumps(head, canonical=True)


def test_a_part_of_a_file_is_written_and_read() -> None:
    record = file_record(NODE, PART, STAMP)
    assert record.data == encoded(5, 9, SHA256, len(DATA), 0, DATA)
    assert (record.kind, record.readings, record.maps) == (FILE, 0, 1)
    found = decode_record(record.data)
    assert found.part == PART
    assert (found.kind, found.device_id, found.stamp) == (FILE, NODE, STAMP)
    assert (found.values, found.events, found.gap, found.frame) == ((), (), None, None)


@pytest.mark.parametrize(
    "data",
    [
        encoded(5, 9, SHA256, len(DATA), 1, DATA),  # beyond its end
        encoded(5, 9, SHA256[:-1], len(DATA), 0, DATA),
        encoded(5, 9, SHA256, 0, 0, b""),
        encoded(5, 9, SHA256, (1 << 20) + 1, 0, DATA),
        encoded(5, 9, SHA256, len(DATA), 0, DATA, 1),
        encoded(5, 9, SHA256, len(DATA), 0),
        encoded(5, 9, SHA256, len(DATA), 0, DATA, what="film"),
        encoded(5, 9, SHA256, 1 << 20, 0, bytes(MAX_PART_BYTES + 1)),
        encoded(5, 9, SHA256, len(DATA), 0, DATA) + cbor2.dumps({0: "x", 2: 1}),
    ],
)
def test_what_is_no_part_of_a_file_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_record(data)


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(LocalError):
        file_record(NODE, FilePart("picture", 5, 9, SHA256, 4, 1, b"abcd"), STAMP)


@pytest.mark.parametrize("case", cases("file", "file"), ids=case_name)
def test_the_vectors_are_written_and_read(case: dict[str, Any]) -> None:
    part = FilePart(
        case["file"],
        case["boot_epoch"],
        case["number"],
        bytes.fromhex(case["sha256"]),
        case["size"],
        case["offset"],
        bytes.fromhex(case["data"]),
    )
    stamp = stamp_of(case["stamp"])
    assert file_record(case["device_id"], part, stamp).data.hex() == case["hex"]
    read = decode_record(bytes.fromhex(case["hex"]))
    assert (read.device_id, read.part, read.stamp) == (case["device_id"], part, stamp)


@pytest.mark.parametrize("case", cases("file", "refused"), ids=case_name)
def test_the_wrong_vectors_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        decode_record(bytes.fromhex(case["hex"]))
    assert (caught.value.code, caught.value.offset) == (case["code"], case["offset"])

"""Numbers of SenML: what stands for one, and what is refused."""

import pytest

from protocols.uplink import cbor
from protocols.uplink.senml import number
from protocols.wire.errors import PeerError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (0.5, 0.5),
        (cbor.Tagged(4, [-2, 2135]), 21.35),
        (cbor.Tagged(4, [2, 3]), 300),
    ],
)
def test_a_number(value: cbor.Item, expected: float) -> None:
    assert number(value, "value", 0) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "number"),
        ("7", "number"),
        (cbor.Tagged(5, [0, 1]), "number"),
        (cbor.Tagged(4, [1]), "tag 4 with an array of 2"),
        (cbor.Tagged(4, "12"), "tag 4 with an array of 2"),
        (cbor.Tagged(4, [0, 1.5]), "tag 4 with two integers"),
        (cbor.Tagged(4, [True, 1]), "tag 4 with two integers"),
        (cbor.Tagged(4, [31, 1]), "exponent -30 to 30"),
        (cbor.Tagged(4, [-31, 1]), "exponent -30 to 30"),
    ],
)
def test_no_number(value: cbor.Item, text: str) -> None:
    with pytest.raises(PeerError) as caught:
        number(value, "value", 3)
    assert text in str(caught.value)

"""Write requests: as written down, and their answers found among everything else."""

import json

import pytest

from protocols.modbus_client import (
    MbapClient,
    RtuClient,
    WriteCounter,
    signed_write_request,
    write_request,
)
from protocols.wire.errors import LocalError
from protocols.wire.hmac import HmacSha256
from tests.paths import ROOT

VECTORS = json.loads((ROOT / "protocols/vectors/signed_write.json").read_text())["writes"]
# Modbus Application Protocol V1.1b3, section 6.12: registers 1 and 2 become 000A and 0102.
EXAMPLE = bytes.fromhex("100001000204000A0102")
EXAMPLE_ANSWER = bytes.fromhex("1000010002")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_signed_writes_are_as_written_down(vector: dict[str, object]) -> None:
    def data(name: str) -> bytes:
        return bytes.fromhex(str(vector[name]))

    def number(name: str) -> int:
        return int(str(vector[name]))

    values = vector["values"]
    assert isinstance(values, list)
    request = signed_write_request(
        number("unit"),
        number("register"),
        values,
        HmacSha256(data("key")),
        data("uid"),
        WriteCounter(number("boot_epoch"), number("number")),
    )
    assert request.adu == data("request")
    client = RtuClient()
    client.send(request)
    # An adapter's echo begins like the answer, and is none.
    assert client.feed(request.adu) is None
    assert client.feed(b"\x00\x10" + data("answer")) == data("answer")[1:-2]


def test_the_answer_to_a_write_is_that_of_its_address_and_quantity() -> None:
    request = write_request(1, 1, [0x0A, 0x102])
    assert request.pdu == EXAMPLE
    client = MbapClient()
    for body, expected in (
        (b"\x01" + EXAMPLE_ANSWER, EXAMPLE_ANSWER),
        (b"\x01\x10\x00\x02\x00\x02", None),
        (b"\x01\x10\x00\x01\x00\x03", None),
        (b"\x02" + EXAMPLE_ANSWER, None),
        (b"\x01\x90\x07", b"\x90\x07"),
    ):
        sent = client.send(request)
        assert sent[6:] == b"\x01" + EXAMPLE
        answer = sent[:4] + len(body).to_bytes(2, "big") + body
        assert client.feed(answer) == expected


def test_what_no_write_can_be_is_refused_before_it_is_sent() -> None:
    mac, turn = HmacSha256(bytes(32)), WriteCounter(1, 0)
    for values in ([], [1] * 5, [65536], [-1]):
        with pytest.raises(LocalError):
            signed_write_request(1, 0, values, mac, bytes(12), turn)
    for values in ([], [0] * 124):
        with pytest.raises(LocalError):
            write_request(1, 0, values)

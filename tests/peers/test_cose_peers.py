"""COSE with implementations of others, both ways: cwt and pycose.

cwt has alg -19 (RFC 9864) and takes our messages as they are. pycose 1.1 has Ed25519 as -8
only; to read our messages it gets -19 registered as a subclass of its own EdDSA, for the duration
of a test. What pycose writes has -8, and we read it unchanged.
"""

from collections.abc import Iterator

import cbor2
import pytest
from cwt import COSE, COSEKey
from cwt.cose_key_interface import COSEKeyInterface
from cwt.exceptions import VerifyError
from pycose.algorithms import CoseAlgorithm, EdDSA
from pycose.headers import KID, Algorithm
from pycose.keys.okp import OKPKey
from pycose.messages.cosemessage import CoseMessage
from pycose.messages.sign1message import Sign1Message

from protocols.uplink import Receipt, cose, open_batch, open_receipt, sign_receipt
from tests.unit.protocols.uplink.support import GATEWAY, KEY, PUBLIC, batch_of, one_key, polls

RECEIPT = Receipt(GATEWAY, 7, 12, bytes(range(32)), 1_765_432_103_000)


def ours() -> list[bytes]:
    """One message of each kind we sign."""
    records = polls(5, 3)
    return [batch_of(records), batch_of(records, compress=True), sign_receipt(RECEIPT, KEY)]


def headers(content_type: str) -> dict[int, object]:
    return {3: content_type, 4: cose.key_id(PUBLIC)}


def cwt_key(alg: int, secret: bool) -> COSEKeyInterface:
    fields = {1: 1, -1: 6, 3: alg, 2: cose.key_id(PUBLIC), -2: PUBLIC.public_bytes_raw()}
    if secret:
        fields[-4] = KEY.private_bytes_raw()
    return COSEKey.new(fields)


@pytest.fixture
def pycose_with_ed25519() -> Iterator[None]:
    """pycose with alg -19 as another name of its EdDSA."""
    registered = CoseAlgorithm.get_registered_classes()  # type: ignore[no-untyped-call] # pycose
    before = dict(registered)

    @CoseAlgorithm.register_attribute()
    class Ed25519(EdDSA):
        identifier = -19
        fullname = "ED25519"

    yield
    registered.clear()
    registered.update(before)


@pytest.mark.parametrize("data", ours(), ids=["batch", "zstd", "receipt"])
def test_cwt_accepts_ours(data: bytes) -> None:
    message = cose.parse_sign1(data, len(data))
    key = cwt_key(-19, secret=False)
    protected, unprotected, payload = COSE.new().decode_with_headers(data, keys=[key])
    assert payload == message.payload
    assert protected == message.protected
    assert unprotected == {}
    changed = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(VerifyError):
        COSE.new().decode(changed, keys=[key])


@pytest.mark.parametrize("data", ours(), ids=["batch", "zstd", "receipt"])
@pytest.mark.usefixtures("pycose_with_ed25519")
def test_pycose_accepts_ours(data: bytes) -> None:
    key = OKPKey(crv="ED25519", x=PUBLIC.public_bytes_raw())
    message = CoseMessage.decode(data)
    assert isinstance(message, Sign1Message)
    message.key = key
    assert message.verify_signature()
    assert message.payload == cose.parse_sign1(data, len(data)).payload
    changed = CoseMessage.decode(data[:-1] + bytes([data[-1] ^ 1]))
    assert isinstance(changed, Sign1Message)
    changed.key = key
    assert not changed.verify_signature()


@pytest.mark.parametrize("alg", [-19, -8])
def test_we_accept_a_receipt_of_cwt(alg: int) -> None:
    payload = cbor2.dumps([RECEIPT.gateway, 7, 12, RECEIPT.head, RECEIPT.server_ms])
    data = COSE.new().encode(
        payload,
        cwt_key(alg, secret=True),
        protected={1: alg} | headers("application/vnd.tianfu.receipt+cbor"),
    )
    assert open_receipt(data, PUBLIC) == RECEIPT


@pytest.mark.parametrize("alg", [-19, -8])
def test_we_accept_a_batch_of_cwt(alg: int) -> None:
    mine = cose.parse_sign1(batch_of(polls(5, 3)), 10_000)
    data = COSE.new().encode(
        mine.payload, cwt_key(alg, secret=True), protected={**mine.protected, 1: alg}
    )
    assert len(open_batch(data, one_key()).decode()) == 5


def test_we_accept_a_message_of_pycose() -> None:
    message = Sign1Message(
        phdr={Algorithm: EdDSA, KID: cose.key_id(PUBLIC)}, uhdr={}, payload=b"some bytes"
    )
    message.key = OKPKey(crv="ED25519", x=PUBLIC.public_bytes_raw(), d=KEY.private_bytes_raw())
    parsed = cose.parse_sign1(message.encode(), 100)
    cose.verify1(parsed, PUBLIC)
    assert parsed.payload == b"some bytes"
    assert parsed.protected == {1: -8, 4: cose.key_id(PUBLIC)}

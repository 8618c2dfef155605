"""Orders and replies: the vectors, what cannot be said, and any input at all."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink import (
    OperatorOrder,
    OrderReply,
    ReplyValue,
    cbor,
    cose,
    open_order,
    open_reply,
    order_key,
    packed_text,
    sign_order,
    sign_reply,
)
from protocols.uplink.order import MAX_FILE_TEXT, MAX_ORDER_BYTES
from protocols.wire.errors import LocalError, PeerError

from .support import KEY, PUBLIC, case_name, cases, vector_file
from .test_fuzz import attempt, mutated

ORDER = OperatorOrder("gw-1", 1_000, 601_000, "set", "roof/air-1", "sample_period", "5 s")
REPLY = OrderReply("gw-1", bytes(8), 1_000, "done", "2 s -> 5 s", (ReplyValue("a", "s", "5"),))


def secret(content: dict[str, Any], who: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content[f"{who}_secret_key"]))


@pytest.mark.parametrize("case", cases("order", "order"), ids=case_name)
def test_order(case: dict[str, Any]) -> None:
    key = secret(vector_file("order"), "operator")
    fields: list[Any] = list(case["fields"])
    fields[-1] = None if fields[-1] is None else bytes.fromhex(fields[-1])
    order = OperatorOrder(*fields)
    data = bytes.fromhex(case["hex"])
    assert open_order(data, key.public_key()) == order
    assert sign_order(order, key) == data
    assert order_key(data) == cose.key_id(key.public_key())


@pytest.mark.parametrize("case", cases("order", "reply"), ids=case_name)
def test_reply(case: dict[str, Any]) -> None:
    key = secret(vector_file("order"), "gateway")
    fields: list[Any] = list(case["fields"])
    fields[1] = bytes.fromhex(fields[1])
    fields[-1] = tuple(ReplyValue(*one) for one in fields[-1])
    reply = OrderReply(*fields)
    assert open_reply(bytes.fromhex(case["hex"]), key.public_key()) == reply
    assert sign_reply(reply, key).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("order", "refused"), ids=case_name)
def test_order_is_refused(case: dict[str, Any]) -> None:
    public = bytes.fromhex(vector_file("order")["operator_public_key"])
    with pytest.raises(PeerError) as caught:
        open_order(bytes.fromhex(case["hex"]), Ed25519PublicKey.from_public_bytes(public))
    assert caught.value.code == case["code"], str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"gateway": "-"},
        {"counter": 0},
        {"not_after_ms": 999},
        {"not_after_ms": 1_000 + 86_400_001},
        {"action": "erase"},
        {"device": "x" * 129},
        {"value": "x" * 65},
        {"confirm": 2},
        {"file": b"x"},
        {"action": "configure"},
        {"action": "configure", "file": bytes(12 * 1024 + 1)},
    ],
)
def test_what_an_order_cannot_say(fields: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        sign_order(replace(ORDER, **fields), KEY)


def test_the_largest_order_keeps_its_limit_and_a_file_unpacks_within_its_own() -> None:
    largest = replace(ORDER, action="configure", device="", file=bytes(12 * 1024))
    assert len(sign_order(largest, KEY)) <= MAX_ORDER_BYTES
    text = "#" * MAX_FILE_TEXT
    assert replace(largest, file=packed_text(text)).text == text
    for wrong in (packed_text(text + "#"), packed_text("x")[:-1], b"\x28\xb5\x2f\xfd", b"x"):
        with pytest.raises(PeerError):
            _ = replace(largest, file=wrong).text


@given(mutated([sign_order(ORDER, KEY), sign_reply(REPLY, KEY)]))
def test_changed_after_signing(data: bytes) -> None:
    order = attempt(lambda: open_order(data, PUBLIC))
    assert order is None or data == sign_order(ORDER, KEY)
    reply = attempt(lambda: open_reply(data, PUBLIC))
    assert reply is None or data == sign_reply(REPLY, KEY)


@given(st.data(), st.sampled_from([sign_order(ORDER, KEY), sign_reply(REPLY, KEY)]))
def test_changed_before_signing(data: st.DataObject, original: bytes) -> None:
    message = cose.parse_sign1(original, MAX_ORDER_BYTES)
    payload = data.draw(mutated([message.payload]))
    signature = KEY.sign(cose.sig_structure(message.protected_bytes, payload))
    signed = b"\xd2" + cbor.encode([message.protected_bytes, {}, payload, signature])
    attempt(lambda: open_order(signed, PUBLIC))
    attempt(lambda: open_reply(signed, PUBLIC))

"""Vectors of others: RFC 8428 (SenML), RFC 9052 and cose-wg/Examples (COSE_Sign1)."""

import base64
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from protocols.uplink import cose
from protocols.wire.errors import UNKNOWN, PeerError

from . import senml_reader
from .support import case_name, cases

# RFC 8428 section 4.3, table 1, written out once more.
LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6}
LABELS |= {"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}


def to_cbor(pack: list[dict[str, Any]]) -> bytes:
    """A JSON pack as CBOR (RFC 8428 section 6)."""
    maps = []
    for entry in pack:
        made = {LABELS.get(label, label): value for label, value in entry.items()}
        if "vd" in entry:
            made[8] = base64.urlsafe_b64decode(entry["vd"] + "=" * (-len(entry["vd"]) % 4))
        maps.append(made)
    return cbor2.dumps(maps, canonical=True)


def expected(entry: dict[str, Any]) -> senml_reader.Resolved:
    if "vd" in entry:
        value: Any = bytes.fromhex(entry["vd"])
    else:
        value = next(entry[label] for label in ("v", "vs", "vb") if label in entry)
    return senml_reader.Resolved(entry["n"], entry["u"], entry["t"], value, None, None)


@pytest.mark.parametrize("case", cases("senml", "resolve"), ids=case_name)
def test_senml_resolves(case: dict[str, Any]) -> None:
    resolved = [expected(entry) for entry in case["resolved"]]
    assert senml_reader.decode_pack(to_cbor(case["pack"])) == resolved


def test_senml_cbor_of_the_rfc() -> None:
    (case,) = (case for case in cases("senml", "resolve") if "cbor" in case)
    data = bytes.fromhex(case["cbor"])
    resolved = [expected(entry) for entry in case["resolved"]]
    assert senml_reader.decode_pack(data, strict=False) == resolved
    # Its keys are in the order of the document, not the deterministic one.
    with pytest.raises(PeerError):
        senml_reader.decode_pack(data)


@pytest.mark.parametrize("case", cases("senml", "refused"), ids=case_name)
def test_senml_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(PeerError) as caught:
        senml_reader.decode_pack(to_cbor(case["pack"]))
    assert caught.value.code == case["code"]


def test_senml_sum_and_update_time() -> None:
    pack = [{-6: 1.5, 0: "energy", 5: 2, 7: 60}, {0: "energy", 6: 10}]
    first, second = senml_reader.decode_pack(cbor2.dumps(pack, canonical=True))
    assert first == senml_reader.Resolved("energy", "", 0, None, 3.5, 60)
    assert second == senml_reader.Resolved("energy", "", 10, None, 1.5, None)


@pytest.mark.parametrize("case", cases("cose", "sign1"), ids=case_name)
def test_cose_example(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if case["outcome"] == "refused":
        with pytest.raises(PeerError) as caught:
            cose.parse_sign1(data, 100)
        assert caught.value.code == case["code"]
        return
    message = cose.parse_sign1(data, 100)
    assert message.payload.decode() in (case["payload"], "This is the content/")
    external = bytes.fromhex(case["external"])
    signed = cose.sig_structure(message.protected_bytes, message.payload, external)
    if case["outcome"] == "verifies":
        assert signed.hex() == case["to_be_signed"]
    key = case["key"]
    if key["crv"] == "Ed25519":
        cose.verify1(message, Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["x"])))
        return
    # ES256: not ours to verify, but the bytes the signature is over are, and their verdict.
    with pytest.raises(PeerError) as caught:
        cose.verify1(message, Ed25519PublicKey.from_public_bytes(bytes(32)), external)
    assert caught.value.code == UNKNOWN
    es256 = message.protected.get(1, message.unprotected.get(1)) == -7
    assert (es256 and es256_verifies(key, message.signature, signed)) == (
        case["outcome"] == "verifies"
    )


def es256_verifies(key: dict[str, str], signature: bytes, signed: bytes) -> bool:
    """ECDSA over P-256 with SHA-256, signature r || s (RFC 9053 section 2.1)."""
    numbers = ec.EllipticCurvePublicNumbers(int(key["x"], 16), int(key["y"], 16), ec.SECP256R1())
    r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
    try:
        numbers.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True

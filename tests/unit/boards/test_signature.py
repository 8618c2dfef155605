"""The image's signature check (Monocypher), compiled for the host, against vectors and OpenSSL."""

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from boards.folder import FOLDER, default_name

MONOCYPHER = FOLDER / default_name() / "monocypher"
SOURCES = ("monocypher.c", "monocypher-ed25519.c")
#: Of release 4.0.3; THIRD_PARTY.md names the same.
SHA256 = {
    "LICENCE.md": "a5781770269d2516e52ba4863f790c10a16da4089a1e81823aee19ff1e9026b0",
    "monocypher-ed25519.c": "ce0d2f8e32ca8f66398ba5b3456cc74327c3eff14e7b950ce7d57be9025cc453",
    "monocypher-ed25519.h": "3a3035181f991a158d0e1c7567258f0bae8ba0f1f23c5512b4a1db1b3c9730ce",
    "monocypher.c": "f1f838cdd483bdebe0df0ff5c5ed60535e496f769c6a2f933ac4c0b114207123",
    "monocypher.h": "fcaf6ed771358bb4f40fba016f6518ae86ec02b1b877d2cc35ad92d3a26fd7b3",
}
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
#: RFC 8032, section 7.1, tests 1 to 3: secret, public key, message, signature.
RFC_8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
)

Check = Callable[[bytes, bytes, bytes], bool]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("NOT TESTED: the signature check: no C compiler")
    target = tmp_path_factory.mktemp("monocypher") / "monocypher.so"
    sources = [str(MONOCYPHER / name) for name in SOURCES]
    command = [compiler, "-std=c99", "-O1", "-fPIC", "-shared", *sources, "-o", str(target)]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        size = ctypes.c_size_t(len(message))
        return bool(library.crypto_ed25519_check(signature, key, message, size) == 0)

    return verify


def by_openssl(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


def test_the_source_is_the_release_that_is_named() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MONOCYPHER.iterdir()
    }
    assert found == SHA256
    named = (FOLDER.parent / "THIRD_PARTY.md").read_text()
    assert all(digest in named for digest in SHA256.values())


@pytest.mark.parametrize(("secret", "key", "message", "signature"), RFC_8032)
def test_vectors_of_rfc_8032(
    check: Check, secret: str, key: str, message: str, signature: str
) -> None:
    assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(
        bytes.fromhex(message)
    ) == bytes.fromhex(signature)
    assert check(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


def test_every_flipped_bit_of_a_signature_is_refused(check: Check) -> None:
    _, key, message, signature = (bytes.fromhex(text) for text in RFC_8032[2])
    for bit in range(512):
        broken = bytearray(signature)
        broken[bit // 8] ^= 1 << bit % 8
        assert not check(key, message, bytes(broken)), bit
    assert not check(key, message + b"\0", signature)
    assert not check(key, message[:-1], signature)
    assert not check(bytes(32), message, signature)


def test_a_scalar_that_is_not_reduced_is_refused(check: Check) -> None:
    for _, key_hex, message_hex, signature_hex in RFC_8032:
        key, message, signature = map(bytes.fromhex, (key_hex, message_hex, signature_hex))
        scalar = int.from_bytes(signature[32:], "little")
        for more in range(1, 16):
            if scalar + more * ORDER < 2**256:
                again = signature[:32] + little(scalar + more * ORDER)
                assert not check(key, message, again)
                assert not by_openssl(key, message, again)
        for wrong in (ORDER, ORDER - 1, ORDER + 1, 0, 2**252, 2**256 - 1):
            assert not check(key, message, signature[:32] + little(wrong))


def test_points_that_are_none_or_not_canonical_are_refused(check: Check) -> None:
    """As an R: of a key that is canonical no other encoding of a point makes a signature."""
    _, key, message, signature = (bytes.fromhex(text) for text in RFC_8032[1])
    points = [*range(40), *range(PRIME - 20, PRIME + 19), 2**255, 2**255 + 1, 2**256 - 1]
    for number in points:
        for sign in (0, 1 << 255):
            encoded = little((number ^ sign) % 2**256)
            assert not check(key, message, encoded + signature[32:])
            if encoded[0] not in (0, 1, 236, 237, 238) and number < PRIME:
                assert check(encoded, message, signature) == by_openssl(encoded, message, signature)


def test_it_agrees_with_openssl_on_made_up_signatures(check: Check) -> None:
    for number in range(60):
        seed = hashlib.sha256(bytes([number])).digest()
        secret = Ed25519PrivateKey.from_private_bytes(seed)
        key = secret.public_key().public_bytes_raw()
        message = seed * (number % 8)
        signature = secret.sign(message)
        assert check(key, message, signature)
        at = seed[0] % 64
        broken = signature[:at] + bytes([signature[at] ^ 1 << seed[1] % 8]) + signature[at + 1 :]
        assert check(key, message, broken) == by_openssl(key, message, broken) == False  # noqa: E712

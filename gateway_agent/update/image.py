"""Reads an image file for nodes and verifies it before any node hears of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from gateway_agent.errors import OperatorError
from gateway_agent.keys import load_public
from protocols.wire.errors import PeerError
from protocols.wire.update.image_manifest import Manifest, key_id
from protocols.wire.update.window import MANIFEST_BYTES, MAX_IMAGE_BYTES

MAX_FILE: Final = MANIFEST_BYTES + MAX_IMAGE_BYTES


class UpdateError(OperatorError):
    """An update that cannot be begun; the text has the cause and what to do."""


class SignedImage(Struct, frozen=True):
    """A verified image file."""

    manifest: Manifest
    content: bytes

    @property
    def file(self) -> bytes:
        """Return the bytes of the file."""
        return self.manifest.data + self.content


def read_image(data: bytes, keys: Sequence[Path]) -> SignedImage:
    """Return the image in a file's bytes. UpdateError: it is none, or not signed by our release."""
    try:
        manifest = Manifest(data[:MANIFEST_BYTES])
    except PeerError as error:
        raise UpdateError(
            f"the file is no image: {error}; name the .tfu file that the release has"
        ) from error
    content = data[MANIFEST_BYTES:]
    if len(content) != manifest.size or hashlib.sha256(content).digest() != manifest.digest:
        raise UpdateError(
            f"the file is damaged: expected {manifest.size} bytes with SHA-256"
            f" {manifest.digest.hex()}, got {len(content)} bytes; copy it again from the release"
        )
    if not keys:
        raise UpdateError(
            "the configuration names no release key: write update_keys ="
            ' ["release.pub"] below [gateway], with the public key of who makes the releases'
        )
    if not any(_is_signed(manifest, load_public(path)) for path in keys):
        raise UpdateError(
            f"the file is signed with key {manifest.key_id.hex()}, which is none of"
            f" update_keys ({', '.join(str(path) for path in keys)}); nothing was sent"
        )
    return SignedImage(manifest, content)


def _is_signed(manifest: Manifest, key: Ed25519PublicKey) -> bool:
    if key_id(key.public_bytes_raw()) != manifest.key_id:
        return False
    try:
        key.verify(manifest.signature, manifest.signed)
    except InvalidSignature:
        return False
    return True

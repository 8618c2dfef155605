"""SM4 as HJ 212-2025 uses it, which hides a text and proves nothing about it.

Each whole block of 16 bytes between ``CP=&&`` and ``&&`` is encrypted (ECB, no padding); a shorter
tail stays in clear, so the length does not change (6.4.2; from implementations, not from the text).
The cipher carries no check of its own: integrity comes from the signed records or from TLS.
"""

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from protocols.wire.errors import BAD_VALUE, LocalError

KEY_BYTES: Final = 16
BLOCK_BYTES: Final = 16


class Sm4Text:
    """Encrypts and decrypts the text of a frame with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise LocalError(BAD_VALUE, "SM4 key", -1, f"{KEY_BYTES} bytes", f"{len(key)} bytes")
        self._cipher = Cipher(SM4(key), modes.ECB())  # noqa: S305 # the standard's own choice

    def encrypt(self, text: bytes) -> bytes:
        """Return the text with its whole blocks encrypted."""
        whole = len(text) - len(text) % BLOCK_BYTES
        context = self._cipher.encryptor()
        return context.update(text[:whole]) + context.finalize() + text[whole:]

    def decrypt(self, text: bytes) -> bytes:
        """Return the text with its whole blocks decrypted."""
        whole = len(text) - len(text) % BLOCK_BYTES
        context = self._cipher.decryptor()
        return context.update(text[:whole]) + context.finalize() + text[whole:]

"""Post notices to a web server, signed as the Standard Webhooks specification has it.

``webhook-signature`` is ``v1,`` and the Base64 of HMAC-SHA-256 over ``id.timestamp.body``. The
secret is read for each notice, so that it can be changed while we run.
"""

import asyncio
import base64
import binascii
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gateway_agent.http_post import http_post
from gateway_agent.redaction import public_url

from .config import WebhookNotify
from .queue import Notice
from .sending import NoticeRefused

_PREFIX: Final = "whsec_"
#: Answers to this one notice; any other may be another one tomorrow.
_FINAL: Final = (400, 413, 415, 422)


class WebhookSender:
    """Sends to one address. ``now``: Unix time in seconds."""

    most: Final = 1
    pause_s: Final = 0.0

    def __init__(self, config: WebhookNotify, now: Callable[[], float] = time.time) -> None:
        self._config = config
        self._now = now

    @property
    def where(self) -> str:
        """Return the address without what follows its path, which may be secret."""
        return public_url(self._config.url)

    async def send(self, notices: Sequence[Notice]) -> str:
        """Post a notice; return "".

        OSError: try again; NoticeRefused: do not; ValueError: a wrong secret.
        """
        for notice in notices:
            status, _ = await asyncio.to_thread(self._post, notice)
            if status in _FINAL:
                raise NoticeRefused(f"the server answered {status} to {notice.id}")
            if not 200 <= status < 300:
                raise OSError(f"expected an answer from 200 to 299, got {status}")
        return ""

    def _post(self, notice: Notice) -> tuple[int, bytes]:
        config, body = self._config, msgspec.json.encode(notice)
        secret = secret_of(config.secret_file.read_text(encoding="utf-8-sig").strip())
        headers = headers_of(secret, notice.id, int(self._now()), body)
        headers["Content-Type"] = "application/json"
        return http_post(config.url, body, headers, config.ca)


def headers_of(secret: bytes, identifier: str, now_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a body."""
    signed = f"{identifier}.{now_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{signature}",
    }


def secret_of(text: str) -> bytes:
    """Return the key that a text stands for. ValueError: it has no whole Base64, or nothing."""
    if not text:
        raise ValueError("expected a secret in secret_file, got an empty file")
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"expected Base64 behind {_PREFIX} in secret_file: {error}") from None

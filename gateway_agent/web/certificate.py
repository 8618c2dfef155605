"""Gives the console its certificate, and takes a renewed one without a restart."""

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway_agent.config import WebConfig
from gateway_agent.keys import KeyFileError, check_secret

from .file_mark import FileMark

log = logging.getLogger(__name__)

LOOK_S: Final = 60.0  # between two looks at the files


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a server of TLS 1.2 or later needs. KeyFileError."""
    check_secret(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise KeyFileError(
            f"{certificate}: expected a certificate in PEM form, and its private key without a"
            f" password in {key}, got: {error}"
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("a key with a password")  # nobody is there to type it


class Certificate:
    """The certificate in use. KeyFileError: it cannot be used at the start."""

    def __init__(
        self, certificate: Path, key: Path, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = (certificate, key)
        self._now = now
        self._looked = now()
        self._mark = self._marks()
        self._context = tls_context(certificate, key)

    @classmethod
    def of(cls, web: WebConfig) -> "Certificate | None":
        """Return that of a configuration; None without TLS."""
        if web.certificate is None or web.key is None:
            return None
        return cls(web.certificate, web.key)

    def context(self) -> ssl.SSLContext:
        """Return what the next connection gets; a renewed file that is wrong changes nothing."""
        if self._now() - self._looked >= LOOK_S:
            self._looked = self._now()
            mark = self._marks()
            if mark != self._mark:
                try:
                    self._context, self._mark = tls_context(*self._files), mark
                    log.info("console: the renewed certificate is in use")
                except KeyFileError as error:
                    log.error("console: the old certificate stays in use: %s", error)
        return self._context

    def _marks(self) -> list[FileMark | None]:
        return [FileMark.of(path) for path in self._files]

"""Send notices by mail: those that wait together are in one."""

import asyncio
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Final

from gateway_agent.http_post import TIMEOUT_S

from .config import SEVERITIES, MailNotify
from .queue import Notice
from .sending import NoticeRefused

_SUBJECT: Final = 120  # characters
_TRIES: Final = 9  # for an address that the server does not take now: 8 min of growing pauses
_HUNG_UP: Final = 421, b"the server hung up"


class _Delivery:
    """One mail on its way to its addresses, over several attempts."""

    def __init__(self, ids: Sequence[str], to: Sequence[str]) -> None:
        self.ids = ids  # of its notices
        self.left = list(to)  # who has no answer yet
        self.never: dict[str, str] = {}  # who will not get it, with the server's words
        self.is_taken = False  # for somebody
        self.tries = 0


class MailSender:
    """Sends through one mail server."""

    most: Final = 50

    def __init__(self, config: MailNotify, gateway: str) -> None:
        self._config = config
        self._gateway = gateway
        self._delivery = _Delivery((), ())
        self._dead: set[str] = set()  # addresses that did not get the mail before

    @property
    def where(self) -> str:
        """Return the server as a person writes it."""
        return f"{self._config.host}:{self._config.port}"

    @property
    def pause_s(self) -> float:
        """Return for how long no other mail follows."""
        return float(self._config.every_s)

    async def send(self, notices: Sequence[Notice]) -> str:
        """Send one mail; return who will not get it and why, "" if all have it.

        OSError: try again, for those who have no answer yet. NoticeRefused: nobody will get it.
        """
        ids = [notice.id for notice in notices]
        if self._delivery.ids != ids:
            self._delivery = _Delivery(ids, self._config.to)
        now = self._delivery
        mail = mail_of(self._config, self._gateway, notices)
        refused = await asyncio.to_thread(self._send, mail, tuple(now.left))
        now.tries += 1
        now.is_taken |= len(refused) < len(now.left)
        later = []
        for address, (code, text) in refused.items():
            # One that nobody could reach before holds up no further mail for those who get it.
            is_last = now.is_taken and (now.tries >= _TRIES or address in self._dead)
            if _is_final(code) or is_last:
                now.never[address] = f"{address} ({code} {text.decode(errors='replace')})"
            else:
                later.append(address)
        now.left = later
        if later:
            raise OSError(f"the mail server does not take it now for {', '.join(later)}")
        self._dead = set(now.never)
        problem = f"the mail server refused it for {', '.join(now.never.values())}"
        if now.never and not now.is_taken:
            raise NoticeRefused(problem)
        return problem if now.never else ""

    def _send(self, mail: EmailMessage, to: Sequence[str]) -> Mapping[str, tuple[int, bytes]]:
        """Return who of ``to`` is refused, with the server's code and words."""
        config = self._config
        tls = None if config.security == "none" else ssl.create_default_context(cafile=config.ca)
        try:
            with self._connected(tls) as server:
                if config.security == "starttls":
                    server.starttls(context=tls)
                if config.username is not None and config.password_file is not None:
                    password = config.password_file.read_text(encoding="utf-8-sig").strip()
                    server.login(config.username, password)
                return server.send_message(mail, to_addrs=to)
        except smtplib.SMTPRecipientsRefused as error:
            # A server that hangs up (421) was not asked about those behind.
            return {address: error.recipients.get(address, _HUNG_UP) for address in to}
        except smtplib.SMTPDataError as error:
            words = error.smtp_error
            text = words if isinstance(words, bytes) else words.encode()
            return dict.fromkeys(to, (error.smtp_code, text))

    def _connected(self, tls: ssl.SSLContext | None) -> smtplib.SMTP:
        config = self._config
        if config.security == "tls":
            return smtplib.SMTP_SSL(config.host, config.port, timeout=TIMEOUT_S, context=tls)
        return smtplib.SMTP(config.host, config.port, timeout=TIMEOUT_S)


def _is_final(code: int) -> bool:
    """Return whether an answer is of RFC 5321's kind 5yz: the same again would be refused again."""
    return code >= 500


def mail_of(config: MailNotify, gateway: str, notices: Sequence[Notice]) -> EmailMessage:
    """Write the mail of some notices, the most urgent first in its subject."""
    worst = max(notices, key=lambda notice: SEVERITIES.index(notice.severity))
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    mail = EmailMessage()
    subject = f"[{gateway}] {worst.severity}: {worst.alarm} ({worst.about}) is {worst.state}{more}"
    mail["Subject"] = subject[:_SUBJECT]
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.to)
    mail["Message-ID"] = make_msgid(domain=config.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    lines = []
    for notice in notices:
        who = f" by {notice.by}" if notice.by else ""
        lines.append(
            f"{_time(notice.time_ms)}  {notice.severity}  {notice.alarm} ({notice.about}):"
            f" {notice.before} -> {notice.state}{who}"
        )
        if notice.text:
            lines.append(f"    {notice.text}")
        if notice.lost:
            lines.append(f"    {notice.lost} notices before it were lost")
    mail.set_content("\n".join((*lines, "", f"gateway {gateway}", "")))
    return mail


def _time(time_ms: int | None) -> str:
    if time_ms is None:
        return "(clock not set)"
    seconds = datetime.fromtimestamp(time_ms / 1000, UTC)
    return seconds.strftime("%Y-%m-%d %H:%M:%SZ")

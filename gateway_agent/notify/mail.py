"""Send notices by mail: those that wait together are in one."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Final

from gateway_agent.http_post import TIMEOUT_S

from .config import SEVERITIES, MailNotify
from .queue import Notice
from .sending import NoticeRefused

_SUBJECT: Final = 120  # characters


class MailSender:
    """Sends through one mail server."""

    most: Final = 50

    def __init__(self, config: MailNotify, gateway: str) -> None:
        self._config = config
        self._gateway = gateway

    @property
    def where(self) -> str:
        """Return the server as a person writes it."""
        return f"{self._config.host}:{self._config.port}"

    @property
    def pause_s(self) -> float:
        """Return for how long no other mail follows."""
        return float(self._config.every_s)

    async def send(self, notices: Sequence[Notice]) -> None:
        """Send one mail. OSError: try again. NoticeRefused: the server takes it from nobody."""
        await asyncio.to_thread(self._send, mail_of(self._config, self._gateway, notices))

    def _send(self, mail: EmailMessage) -> None:
        config = self._config
        tls = None if config.security == "none" else ssl.create_default_context(cafile=config.ca)
        try:
            with self._connected(tls) as server:
                if config.security == "starttls":
                    server.starttls(context=tls)
                if config.username is not None and config.password_file is not None:
                    password = config.password_file.read_text(encoding="utf-8-sig").strip()
                    server.login(config.username, password)
                left_out = server.send_message(mail)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            if _is_final(error):
                raise NoticeRefused(f"the mail server refused it: {error}") from error
            raise
        if left_out:
            raise OSError(f"the mail server does not take {', '.join(left_out)}")

    def _connected(self, tls: ssl.SSLContext | None) -> smtplib.SMTP:
        config = self._config
        if config.security == "tls":
            return smtplib.SMTP_SSL(config.host, config.port, timeout=TIMEOUT_S, context=tls)
        return smtplib.SMTP(config.host, config.port, timeout=TIMEOUT_S)


def _is_final(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> bool:
    """Return whether an answer is of RFC 5321's kind 5yz: the same again would be refused again."""
    if isinstance(error, smtplib.SMTPDataError):
        return error.smtp_code >= 500
    return all(code >= 500 for code, _ in error.recipients.values())


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

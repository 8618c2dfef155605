"""Webhook and mail against servers that refuse, are away, and come back."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_string, policy
from pathlib import Path

import pytest

from gateway_agent.notify.config import MailNotify, WebhookNotify
from gateway_agent.notify.mail import MailSender, mail_of
from gateway_agent.notify.queue import NoticeQueue
from gateway_agent.notify.sending import NoticeSender, NoticeTask
from gateway_agent.notify.webhook import WebhookSender, headers_of, secret_of
from gateway_agent.status import NotifyStatus
from tests.unit.gateway_agent.slave import until

from .receivers import MailServer, WebServer
from .test_queue import notice


class Worked:
    """One sender with its task; waits take no time and are remembered."""

    def __init__(self, sender: NoticeSender, size: int = 10) -> None:
        self.queue = NoticeQueue(size)
        self.status = NotifyStatus(name="ops", type="test", where=sender.where)
        self.waits: list[float] = []
        self.task = NoticeTask(self.status, sender, self.queue, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def working(sender: NoticeSender, size: int = 10) -> AsyncIterator[Worked]:
    worked = Worked(sender, size)
    task = asyncio.create_task(worked.task.run())
    try:
        yield worked
    finally:
        task.cancel()
        await asyncio.wait({task})


def webhook(folder: Path, port: int) -> WebhookSender:
    secret = folder / "webhook.secret"
    secret.write_text("whsec_" + base64.b64encode(b"k" * 24).decode() + "\n")
    url = f"http://127.0.0.1:{port}/hook?team=a"
    return WebhookSender(WebhookNotify(name="ops", url=url, secret_file=secret), lambda: 1e9)


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks specification's own libraries.
    headers = headers_of(
        secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
    )  # fmt: skip
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_webhook_gets_each_notice_once_it_takes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        WebServer(lambda number: 503 if number < 3 else 200) as server,
        working(webhook(tmp_path, server.port)) as worked,
    ):
        worked.queue.put(notice(1), notice(2))
        await until(lambda: worked.status.sent == 2)
        assert worked.status.problem == ""
    ids = [json.loads(request.body)["id"] for request in server.requests]
    assert ids == ["n1", "n1", "n1", "n1", "n2"]
    headers, body = server.requests[-1]
    signed = b"n2.1000000000." + body
    expected = base64.b64encode(hmac.new(b"k" * 24, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == "n2"
    failures = [text for text in caplog.messages if "503" in text]
    assert len(failures) == 1, "a problem is logged when it begins"
    assert "team=a" not in caplog.text, "what follows the path may be secret"
    first, second, third, *_ = worked.waits
    assert first <= 1 < second * 2 <= 4 < third * 2 <= 8


async def test_one_notice_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with (
        WebServer(lambda number: 400 if number == 0 else 204) as server,
        working(webhook(tmp_path, server.port)) as worked,
    ):
        worked.queue.put(notice(1), notice(2))
        await until(lambda: worked.status.sent == 1)
    assert worked.queue.lost == 1
    second = json.loads(server.requests[1].body)
    assert (second["id"], second["lost"]) == ("n2", 1)


async def test_a_server_that_is_away_costs_what_finds_no_room(tmp_path: Path) -> None:
    sender = webhook(tmp_path, 1)
    async with working(sender, size=2) as worked:
        for number in range(6):
            worked.queue.put(notice(number))
            await until(lambda: bool(worked.status.problem))
        assert "refused" in worked.status.problem
        assert worked.queue.lost == 3  # two wait, one is tried
    assert max(worked.waits, default=0) <= 300


@pytest.mark.parametrize("text", ["", "whsec_no base64"])
async def test_a_wrong_secret_is_a_problem_and_nothing_is_sent(tmp_path: Path, text: str) -> None:
    async with WebServer() as server:
        sender = webhook(tmp_path, server.port)
        (tmp_path / "webhook.secret").write_text(text)
        async with working(sender) as worked:
            worked.queue.put(notice(1))
            await until(lambda: "secret_file" in worked.status.problem)
        assert server.requests == []


DUTY, LEFT = "duty@example.net", "left@example.net"


def mail(port: int, *to: str) -> MailNotify:
    return MailNotify(
        name="duty", host="127.0.0.1", port=port, security="none",
        sender="gw@example.net", to=to or (DUTY,),
    )  # fmt: skip


async def test_notices_that_wait_together_are_one_mail_and_the_next_waits() -> None:
    async with (
        MailServer(lambda number: "451 later" if number == 0 else "250 ok") as server,
        working(MailSender(mail(server.port), "gw-1")) as worked,
    ):
        worked.queue.put(*map(notice, range(3)))
        await until(lambda: worked.status.sent == 3)
    (text,) = server.mails
    found = message_from_string(text, policy=policy.default)
    assert found["Subject"] == "[gw-1] urgent: high (basin) is unacknowledged (and 2 more)"
    assert found["To"] == "duty@example.net"
    assert str(found.get_content()).count("normal -> unacknowledged") == 3
    assert worked.waits[-1] == 60


async def test_a_mail_server_that_refuses_for_good_loses_them_by_name() -> None:
    async with (
        MailServer(lambda number: "550 no such user" if number == 0 else "250 ok") as server,
        working(MailSender(mail(server.port), "gw-1")) as worked,
    ):
        worked.queue.put(notice(1))
        await until(lambda: worked.queue.lost == 1)
        worked.queue.put(notice(2))
        await until(lambda: worked.status.sent == 1)
    assert "1 notices before it were lost" in server.mails[0]


@pytest.mark.parametrize(
    ("answers", "asked", "lost"),
    [
        # The other address gets one mail of each notice, whatever the server says of this one.
        ({1: "550 no such user", 3: "550 no such user"}, [DUTY, LEFT, DUTY, LEFT], 2),
        ({1: "451 later"}, [DUTY, LEFT, LEFT, DUTY, LEFT], 0),
        ({1: "421 bye"}, [DUTY, LEFT, DUTY, LEFT, DUTY, LEFT], 0),
        (
            dict.fromkeys((*range(1, 10), 11), "452 full"),
            [DUTY, *[LEFT] * 9, DUTY, LEFT],
            2,
        ),
        ({0: "550 no", 1: "451 later", 3: "550 no"}, [DUTY, LEFT, LEFT, DUTY, LEFT], 2),
    ],
)
async def test_an_address_that_is_refused_holds_up_nobody_else(
    answers: dict[int, str], asked: list[str], lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        MailServer(lambda number: answers.get(number, "250 ok")) as server,
        working(MailSender(mail(server.port, DUTY, LEFT), "gw-1")) as worked,
    ):
        for number in (1, 2):
            worked.queue.put(notice(number))
            await until(lambda: worked.status.sent == number)  # noqa: B023 - awaited here
        assert server.asked == asked
        assert worked.queue.lost == lost
        assert worked.queue.unnamed == 0, "who has the mail has lost nothing"
        assert worked.status.problem.count("@example.net") == min(lost, 1)
        assert "@example.net" in caplog.text


def test_a_mail_without_a_clock_says_so_and_asks_for_no_answer() -> None:
    text = mail_of(mail(25), "gw-1", [notice(1)]).as_string()
    assert "clock not set" in text
    assert "Auto-Submitted: auto-generated" in text

"""Receivers of notices come, change and go at run time, and no notice is lost without a word."""

import json
from pathlib import Path

from gateway_agent.notify.kept import FILE_NAME
from gateway_agent.status import NotifyStatus
from tests.unit.gateway_agent.notify.receivers import MailServer, WebServer
from tests.unit.gateway_agent.slave import until

from .reload_site import ReloadSite

LATER = "[reload]\nprobation_s = 60\n"
NEVER = "[reload]\nprobation_s = 0\n"
GONE = "the configuration has this receiver no more"
# The devices give 0x0102.
ALARM = """
[[alarm]]
name = "high"
when = "above"
device = "a1"
point = "level"
limit = 1
"""
OTHER_ALARM = ALARM.replace('"high"', '"higher"')


class NotifyingSite(ReloadSite):
    """A site with a receiver of the name ``duty``."""

    def hook(self, port: int, name: str = "duty") -> str:
        secret = self.path.parent / "hook.secret"
        secret.write_text("sesame")
        secret.chmod(0o600)
        return (
            f'[[notify]]\nname = "{name}"\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\n'
            f'secret_file = "{secret}"\n'
        )

    def mail(self, port: int) -> str:
        return (
            f'[[notify]]\nname = "duty"\ntype = "mail"\nhost = "127.0.0.1"\nport = {port}\n'
            'security = "none"\nsender = "gw@example.net"\nto = ["duty@example.net"]\n'
        )

    def with_(self, *more: str, units: tuple[int, ...] = (1,)) -> str:
        return self.text(("a", units), ("b", (1,)), more="\n".join(more))

    async def reload(self, text: str) -> tuple[str, ...]:
        return (await self.reloader.apply(text, "ana", "x")).problems

    def receivers(self) -> list[NotifyStatus]:
        assert self.agent is not None
        return self.agent.snapshot().notify

    def lost(self) -> list[str]:
        """What the stream has of lost notices; the agent has to be stopped."""
        return [one.detail for one in self.actions() if one.name == "alarm-notice-lost"]


def ids(server: WebServer) -> list[str]:
    return [json.loads(one.body)["id"] for one in server.requests]


async def test_what_waits_goes_to_the_receiver_that_takes_the_name(tmp_path: Path) -> None:
    async with (
        NotifyingSite(tmp_path).serving() as site,
        WebServer(lambda _: 503) as away,
        WebServer() as here,
        MailServer() as mails,
    ):
        assert isinstance(site, NotifyingSite)
        site.path.write_text(site.with_(NEVER, ALARM))
        async with site.running() as agent:
            await until(lambda: agent.snapshot().alarm_summary)
            assert site.receivers() == []
            # The first receiver of a gateway that had none gets what happens from then on.
            text = site.with_(NEVER, ALARM, OTHER_ALARM, site.hook(away.port))
            assert not await site.reload(text)
            await until(lambda: ids(away))
            (duty,) = site.receivers()
            assert (duty.waiting, duty.sent) == (1, 0)
            text = site.with_(NEVER, ALARM, OTHER_ALARM, site.hook(here.port))
            assert not await site.reload(text)
            await until(lambda: site.receivers()[0].sent == 1)
            assert ids(here) == ids(away)[:1], "the same notice"
            tried = len(away.requests)
            # One that is the same goes on where it was, and another kind may take the name.
            other = site.hook(away.port, "other") + 'severity = "urgent"\n'
            text = site.with_(NEVER, ALARM, OTHER_ALARM, site.hook(here.port), other)
            assert not await site.reload(text)
            assert [(one.name, one.sent) for one in site.receivers()] == [("duty", 1), ("other", 0)]
            more = OTHER_ALARM + ALARM.replace('"high"', '"highest"')
            text = site.with_(NEVER, ALARM, more, site.mail(mails.port), other)
            assert not await site.reload(text)
            await until(lambda: mails.mails)
            duty, _ = site.receivers()
            assert (duty.type, duty.where) == ("mail", f"127.0.0.1:{mails.port}")
            assert "(a1) is unacknowledged" in mails.mails[0]
            assert len(away.requests) == tried, "the one before has ended"
        assert site.lost() == []


async def test_an_undone_removal_loses_nothing_of_before_or_meanwhile(tmp_path: Path) -> None:
    answers = [503]
    async with (
        NotifyingSite(tmp_path).serving() as site,
        WebServer(lambda _: answers[0]) as server,
    ):
        assert isinstance(site, NotifyingSite)
        first = site.with_(LATER, ALARM, site.hook(server.port), units=(1, 2))
        site.path.write_text(first)
        async with site.running() as agent:
            await until(lambda: ids(server))
            wrong = site.with_(LATER, ALARM, OTHER_ALARM, units=(1, 2))
            wrong = wrong.replace('name = "a2"\nunit = 2', 'name = "a2"\nunit = 9')
            site.units["a"].dead = {9}
            assert not await site.reload(wrong)
            assert site.receivers() == []
            answers[0] = 204
            before = len(server.requests)
            await until(lambda: "undone" in site.reloader.state().outcome)
            await until(lambda: len(server.requests) >= before + 2)
            sent = [json.loads(one.body) for one in server.requests[before:]]
            assert (sent[0]["id"], sent[0]["alarm"]) == (ids(server)[0], "high")
            assert sent[1]["alarm"] == "higher", "of the alarm that began in the probation"
            assert agent.snapshot().notify[0].lost == 0
        assert site.lost() == []


async def test_what_waits_for_a_receiver_that_is_gone_is_named(tmp_path: Path) -> None:
    async with NotifyingSite(tmp_path).serving() as site, WebServer(lambda _: 503) as server:
        assert isinstance(site, NotifyingSite)
        site.path.write_text(site.with_(NEVER, ALARM, site.hook(server.port)))
        kept = tmp_path / "state" / FILE_NAME
        async with site.running():
            await until(lambda: ids(server))
            assert not await site.reload(site.with_(NEVER, ALARM))
            await until(lambda: not kept.exists())
            # Whoever comes back under the name begins with nothing.
            assert not await site.reload(site.with_(NEVER, ALARM, site.hook(server.port)))
            assert [one.waiting for one in site.receivers()] == [0]
        assert site.lost() == [f"notify duty: 1 notices of alarms are lost: {GONE}"]


async def test_a_receiver_that_is_gone_at_a_start_is_named_too(tmp_path: Path) -> None:
    async with NotifyingSite(tmp_path).serving() as site, WebServer(lambda _: 503) as server:
        assert isinstance(site, NotifyingSite)
        site.path.write_text(site.with_(NEVER, ALARM, site.hook(server.port)))
        kept = tmp_path / "state" / FILE_NAME
        async with site.running():
            await until(lambda: ids(server))
        assert kept.exists()
        site.path.write_text(site.with_(NEVER, ALARM))
        for _ in range(2):
            async with site.running():
                await until(lambda: not kept.exists())
        assert site.lost() == [f"notify duty: 1 notices of alarms are lost: {GONE}"], "once"

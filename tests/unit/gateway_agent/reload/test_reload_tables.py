"""Which tables a running agent changes, and who may change whose orders it takes."""

from pathlib import Path

import msgspec
import pytest

from gateway_agent.config import GatewayConfig
from gateway_agent.keys import generate_signing_key, load_private, load_public
from gateway_agent.reload.plan import RULES
from protocols.uplink import OperatorOrder, OrderReply, key_id, open_reply, sign_order
from tests.unit.gateway_agent.notify.receivers import WebServer
from tests.unit.gateway_agent.slave import until

from .reload_site import ReloadSite, SetClock

LATER = "[reload]\nprobation_s = 60\n"
NEVER = "[reload]\nprobation_s = 0\n"


def test_every_table_has_a_rule() -> None:
    """Buses have their own: what they do depends on what of them differs."""
    names = {"exporters": "exporter"}
    tables = {names.get(name, name) for name in GatewayConfig.__struct_fields__}
    assert tables - {"bus", "link"} == {rule.keys.partition(".")[0] for rule in RULES}


async def test_metrics_are_pushed_elsewhere_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = pytest.importorskip("gateway_agent.telemetry.push")
    monkeypatch.setattr(push, "_FIRST_S", 0.01)

    def table(server: WebServer) -> str:
        return f'{NEVER}[otlp]\nurl = "http://127.0.0.1:{server.port}/"\ninterval_s = 3600\n'

    async with (
        ReloadSite(tmp_path).serving() as site,
        WebServer() as first,
        WebServer() as second,
    ):
        buses = ("a", (1,)), ("b", (1,))
        site.path.write_text(site.text(*buses, more=NEVER))
        async with site.running():
            for server in (first, second, first):
                before = len(server.requests)
                plan = await site.reloader.apply(site.text(*buses, more=table(server)), "ana", "x")
                assert not plan.problems
                await until(lambda s=server, b=before: len(s.requests) == b + 1)  # type: ignore[misc] # bound now
            plan = await site.reloader.apply(site.text(*buses, more=NEVER), "ana", "x")
            assert [row.path for row in plan.rows] == ["otlp.url", "otlp.interval_s"]
        assert (len(first.requests), len(second.requests)) == (2, 1)


class OrderedSite(ReloadSite):
    """A site that takes orders of whoever is named."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.made = 0

    def operator(self, name: str) -> str:
        """Make the key of an operator anew."""
        for suffix in (".pem", ".pem.pub"):
            (self.root / f"{name}{suffix}").unlink(missing_ok=True)
        generate_signing_key(self.root / f"{name}.pem")
        return f'[orders]\nkeys = ["{name}.pem.pub"]\n'

    async def answer(self, name: str) -> OrderReply | None:
        """Order something of a device that is not there; None if nobody answers."""
        agent = self.agent
        assert agent is not None
        key = load_private(self.root / f"{name}.pem")
        wall_ms = SetClock().wall().wall_ms
        assert wall_ms is not None
        self.made += 1
        order = OperatorOrder(
            "gw-1", wall_ms + self.made, wall_ms + 60_000, "get", "absent", "", ""
        )
        desk, rejected = agent.orders, agent.snapshot().counters.orders_rejected
        desk.take(sign_order(order, key))
        await until(
            lambda: not desk.replies.empty() or agent.snapshot().counters.orders_rejected > rejected
        )
        if desk.replies.empty():
            return None
        reply = desk.replies.get_nowait()
        assert reply.kid == key_id(key.public_key())
        return open_reply(reply.data, load_public(self.root / "gateway.pem.pub"))


async def test_only_the_own_file_changes_who_may_order(tmp_path: Path) -> None:
    async with OrderedSite(tmp_path).serving() as site:
        assert isinstance(site, OrderedSite)
        buses = ("a", (1,)), ("b", (1,))
        site.operator("eve")
        first = site.text(*buses, more=NEVER + site.operator("ana"))
        site.path.write_text(first)
        async with site.running():
            assert await site.answer("ana")
            theirs = first.replace("ana.pem.pub", "eve.pem.pub")
            plan = await site.reloader.apply(theirs, "eve", "the console")
            assert plan.problems[0].startswith("orders.keys: expected [")
            assert "the gateway's own file only" in plan.problems[0]
            assert site.reloader.plan(theirs).problems == plan.problems
            assert not await site.answer("eve")
            site.path.write_text(theirs)
            assert not (await site.reloader.plan_file()).problems
            assert not (await site.reloader.apply_file("root")).problems
            assert await site.answer("eve")
            assert not await site.answer("ana"), "her key was taken away"
            # The same name, another key: the file of the key was edited.
            site.operator("eve")
            plan = await site.reloader.apply_file("root")
            assert [(row.path, row.refused) for row in plan.rows] == [("orders.keys", False)]
            assert await site.answer("eve")
            good = (tmp_path / "eve.pem.pub").read_bytes()
            (tmp_path / "eve.pem.pub").write_bytes(b"no key")
            assert "eve.pem.pub" in (await site.reloader.apply_file("root")).problems[0]
            (tmp_path / "eve.pem.pub").write_bytes(good)
            # Without the table nobody may order.
            site.path.write_text(site.text(*buses, more=NEVER))
            assert not (await site.reloader.apply_file("root")).problems
            assert not await site.answer("eve")


async def test_an_undone_reload_gives_operators_back(tmp_path: Path) -> None:
    async with OrderedSite(tmp_path).serving() as site:
        assert isinstance(site, OrderedSite)
        first = site.text(("a", (1, 2)), ("b", (1,)), more=LATER + site.operator("ana"))
        site.path.write_text(first)
        async with site.running():
            wrong = site.text(("a", (1, 2)), ("b", (1,)), more=LATER + site.operator("eve"))
            site.path.write_text(wrong.replace('name = "a2"\nunit = 2', 'name = "a2"\nunit = 9'))
            site.units["a"].dead = {9}
            assert not (await site.reloader.apply_file("root")).problems
            assert await site.answer("eve")
            await until(lambda: "undone" in site.reloader.state().outcome)
            assert not await site.answer("eve")
            assert await site.answer("ana")
        assert (
            msgspec.json.decode((tmp_path / "state" / "configuration.json").read_bytes())["text"]
            == first
        )

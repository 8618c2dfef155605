"""An operator changes the configuration in the console: first the difference, then on probation."""

from pathlib import Path

from gateway_agent.tables import MAX_FILE_BYTES
from protocols.uplink import decode_record
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import contents, open_box

from .help import running
from .users_help import Browser, make_users

LINES = 'users = "users.json"\n[reload]\nprobation_s = 60\n'
PLAN, APPLY = "/api/v1/config/plan", "/api/v1/config/apply"


async def test_the_difference_first_then_on_probation(tmp_path: Path) -> None:
    make_users(tmp_path)
    async with running(
        tmp_path, lines='users = "users.json"\n[reload]\nprobation_s = 60\n'
    ) as agent:
        operator, viewer = Browser(agent.web_port, None), Browser(agent.web_port, None)
        await operator.log_in("li")
        await viewer.log_in("bo")
        await until(lambda: agent.reloader is not None)
        shown = (await viewer.ask("/api/v1/config")).json()
        assert shown["text"] == ""
        assert shown["config"]["gateway"]["id"] == "gw-1"
        found = (await operator.ask("/api/v1/config")).json()
        text, base = found["text"], found["state"]["digest"]
        assert text == (tmp_path / "gateway.toml").read_text()
        wanted = {"text": text.replace("period_ms = 10", "period_ms = 40"), "base": base}
        assert wanted["text"] != text
        for path in (PLAN, APPLY):
            assert (await viewer.ask(path, "POST", wanted)).status == 403
            assert (await operator.ask(path, "POST", wanted, Origin="https://x")).status == 403
        plan = (await operator.ask(PLAN, "POST", wanted)).json()
        (row,) = plan["rows"]
        assert row["path"].endswith("device.basin.period_ms")
        assert (row["old"], row["new"]) == ("10", "40")
        assert agent.config.bus[0].device[0].period_ms == 10
        # What is wrong is named, and nothing changes.
        for wrong in ("[", text.replace("period_ms = 10", "period_ms = -1"), "\x00", ""):
            for path in (PLAN, APPLY):
                bad = (await operator.ask(path, "POST", {"text": wrong, "base": base})).json()
                assert bad["problems"], wrong
        assert agent.config.bus[0].device[0].period_ms == 10
        long = {"text": "#" * (2 * MAX_FILE_BYTES), "base": base}
        assert (await operator.ask(PLAN, "POST", long)).status == 413
        applied = (await operator.ask(APPLY, "POST", wanted)).json()
        assert applied.get("problems", []) == []
        assert agent.config.bus[0].device[0].period_ms == 40
        state = (await viewer.ask("/api/v1/config")).json()["state"]
        assert (state["by"], state["origin"]) == ("console: li", "the console")
        assert 0 < state["probation_ms"] <= 60_000
        # A second operator, who has seen the old one, does not undo it unknowingly.
        late = await operator.ask(APPLY, "POST", {"text": text, "base": base})
        assert late.status == 409
        assert "somebody else" in late.json()["error"]
    box = open_box(tmp_path / "state")
    actions = [item.action for item in map(decode_record, contents(box, 5000)) if item.action]
    box.close()
    assert ("config-on-probation", "console: li") in [
        (action.name, action.operator) for action in actions
    ]

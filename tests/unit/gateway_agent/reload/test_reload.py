"""A running agent gets another configuration: applied where it differs, or undone."""

import asyncio
import contextlib
import hashlib
import tomllib
from pathlib import Path

import pytest

from gateway_agent.reload.in_force import FILE_NAME, source_at_start
from gateway_agent.reload.parts import ReloadableParts
from gateway_agent.reload.prepared import PreparedConfig
from gateway_agent.reload.reloader import CHANGED, Reloader
from tests.unit.gateway_agent.slave import until

from .reload_site import ReloadSite

SOON = "[reload]\nprobation_s = 1\n"
LATER = "[reload]\nprobation_s = 60\n"
NEVER = "[reload]\nprobation_s = 0\n"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_change_is_applied_proves_itself_and_is_in_the_stream(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1,)), ("b", (1,)), more=SOON)
        site.path.write_text(first)
        async with site.running() as agent:
            second = site.text(("a", (1,)), ("b", (1, 2)), more=SOON)
            site.path.write_text(second)
            plan = await site.reloader.apply_file("ana")
            assert plan.problems == ()
            assert [row.path for row in plan.rows] == ["bus.b.device.b2."]
            assert site.names() == ["a1", "b1", "b2"]
            state = agent.snapshot().configuration
            assert state is not None
            assert (state.digest, state.by) == (sha(second), "ana")
            assert 0 < state.probation_ms <= 1000
            await until(lambda: site.reloader.state().probation_ms == 0)
            assert "proved itself" in site.reloader.state().outcome
        names = [(action.name, action.operator) for action in site.actions()]
        assert names == [
            ("config-in-force", ""),
            ("config-on-probation", "ana"),
            ("config-in-force", "ana"),
        ]
        details = [action.detail for action in site.actions()]
        assert sha(first) in details[0]
        assert all(sha(second) in detail for detail in details[1:])


async def test_a_change_that_silences_devices_is_undone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1, 2)), ("b", (1,)), more=LATER)
        site.path.write_text(first)
        async with site.running():
            wrong = site.text(("a", (1, 2)), ("b", (1,)), more=LATER).replace(
                'name = "a2"\nunit = 2', 'name = "a2"\nunit = 9'
            )
            site.units["a"].dead = {9}
            site.path.write_text(wrong)
            asked = site.units["b"].asked[1]
            assert (await site.reloader.apply_file("ana")).problems == ()
            # a2 is given up long before the 60 s are over.
            await until(lambda: "undone" in site.reloader.state().outcome)
            state = site.reloader.state()
            assert state.digest == sha(first)
            assert "1 of 2 devices on bus a that answered before are silent: a2" in state.outcome
            await until(site.is_good)
            assert site.units["b"].asked[1] > asked
        assert "was undone: 1 of 2 devices" in caplog.text
        assert [action.name for action in site.actions()] == [
            "config-in-force",
            "config-on-probation",
            "config-undone",
            "config-in-force",
        ]
        # The file was not edited since: what was undone stays undone.
        assert source_at_start(site.path).text == first
        site.path.write_text(wrong + "\n# corrected\n")
        assert source_at_start(site.path).text == wrong + "\n# corrected\n"


async def test_a_change_that_fails_half_way_is_undone_when_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1,)), more=LATER)
        site.path.write_text(first)
        async with site.running():
            change, faults = ReloadableParts.change, [ValueError("1"), ValueError("2")]

            async def failing(parts: ReloadableParts, wanted: PreparedConfig) -> None:
                if faults:
                    raise faults.pop(0)
                await change(parts, wanted)

            monkeypatch.setattr(ReloadableParts, "change", failing)
            second = site.text(("a", (1,)), ("b", (1,)), more=LATER)
            plan = await site.reloader.apply(second, "ana", "a test")
            assert "cannot be yet" in plan.problems[0]
            assert site.reloader.state().digest == sha(second)  # what is half there, not the old
            await until(lambda: site.reloader.state().digest == sha(first))
            assert not faults
            assert "was undone: a fault of the agent" in site.reloader.state().outcome
        (undone,) = [one for one in site.actions() if one.name == "config-undone"]
        assert sha(second) in undone.detail


async def test_of_two_changes_of_one_configuration_the_second_is_refused(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1,)), more=NEVER)
        site.path.write_text(first)
        async with site.running():
            second = site.text(("a", (1,)), ("b", (1,)), more=NEVER)
            third = site.text(("a", (1, 2)), more=NEVER)
            plans = await asyncio.gather(
                site.reloader.apply(second, "ana", "the console", sha(first)),
                site.reloader.apply(third, "bo", "the console", sha(first)),
            )
            assert [plan.problems for plan in plans] == [(), (CHANGED,)]
            assert site.names() == ["a1", "b1"]


async def test_what_a_run_cannot_change_is_refused_whole(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1,)), ("b", (1,)))
        site.path.write_text(first)
        async with site.running():
            other = site.text(("a", (1,)), ("b", (1, 2)))
            other = other.replace('"gw-1"', '"gw-2"').replace('"state"', '"elsewhere"')
            plan = await site.reloader.apply(other, "ana", "a test")
            assert len(plan.problems) == 2
            assert plan.problems[0].startswith('gateway.id: expected "gw-1", as it is in force')
            assert "stop the agent" in plan.problems[1]
            broken = await site.reloader.apply("[gateway", "ana", "a test")
            assert "TOML" in broken.problems[0]
            missing = first.replace("probe.toml", "absent.toml")
            assert (
                "absent.toml" in (await site.reloader.apply(missing, "ana", "a test")).problems[0]
            )
            assert site.names() == ["a1", "b1"]
            assert site.reloader.state().digest == sha(first)
        assert [action.name for action in site.actions()].count("config-refused") == 3


async def test_a_start_in_a_probation_takes_what_worked_before(tmp_path: Path) -> None:
    """As after kill -9: what is on the medium is looked at while the change is on probation."""
    async with ReloadSite(tmp_path).serving() as site:
        first = site.text(("a", (1,)), ("b", (1,)), more=LATER)
        second = site.text(("a", (1,)), more=LATER)
        site.path.write_text(first)
        async with site.running():
            site.path.write_text(second)
            await site.reloader.apply_file("ana")
            assert site.names() == ["a1"]
            assert source_at_start(site.path).text == first
        async with site.running():
            assert site.names() == ["a1", "b1"]
            # Asked for again it is taken again, and without probation it is in force at once.
            assert (await site.reloader.apply(second.replace(LATER, NEVER), "ana", "x")).rows
            assert site.reloader.state().probation_ms == 0
        assert source_at_start(site.path).text == second.replace(LATER, NEVER)


async def test_a_profile_that_was_edited_is_read_again(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1,)), ("b", (1,)), more=SOON))
        async with site.running() as agent:
            profile = tmp_path / "probe.toml"
            profile.write_text(profile.read_text().replace('"mm"', '"cm"'))
            plan = await site.reloader.apply_file("ana")
            assert [row.path for row in plan.rows] == [
                "bus.a.device.a1.profile",
                "bus.b.device.b1.profile",
            ]
            await until(lambda: [v.unit for n in agent.snapshot().nodes for v in n.values]
                        == ["cm", "cm"])  # fmt: skip


async def test_alarms_console_and_outbox_change(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1,)), ("b", (1,)), more=SOON))
        async with site.running() as agent:
            more = (
                SOON
                + '[web]\nlisten = "127.0.0.1:0"\n'
                + '[[alarm]]\nname = "high"\nwhen = "above"\ndevice = "a1"\npoint = "level"\n'
                + "limit = 1\n"
            )
            text = site.text(("a", (1,)), ("b", (1,)), more=more)
            plan = await site.reloader.apply(text, "ana", "x")
            assert {row.path.split(".")[0] for row in plan.rows} == {"web", "alarm"}
            await until(lambda: [alarm.name for alarm in agent.snapshot().alarm_summary])
            await until(lambda: agent.web_port)
            await site.reloader.apply(site.text(("a", (1,)), ("b", (1,)), more=SOON), "ana", "x")
            assert agent.snapshot().alarm_summary == []
            await until(lambda: agent.web_port == 0)


async def test_a_damaged_file_of_the_state_directory_stops_no_start(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        text = site.text(("a", (1,)), ("b", (1,)))
        site.path.write_text(text)
        (tmp_path / "state").mkdir()
        for data in (b"", b"{", b'{"file_digest": 1}', b'{"text": "\xff"}', b"\xff" * 1000):
            (tmp_path / "state" / FILE_NAME).write_bytes(data)
            assert source_at_start(site.path).text == text
        assert tomllib.loads(text)


async def test_a_reload_survives_who_asked_for_it(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1,)), ("b", (1,)), more=NEVER))
        async with site.running():
            text = site.text(("a", (1,)), ("b", (1, 2)), more=NEVER)
            reloader: Reloader = site.reloader
            asking = asyncio.create_task(reloader.apply(text, "ana", "x"))
            await asyncio.sleep(0)
            asking.cancel()
            await until(lambda: site.names() == ["a1", "b1", "b2"])


@pytest.mark.parametrize("name", ["reload.sock", "frames.sock"])
async def test_a_socket_takes_anything_and_the_agent_works_on(tmp_path: Path, name: str) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1,)), ("b", (1,))))
        async with site.running():
            for data in (
                b"\n",
                b"{}\n",
                b"\xff" * 100 + b"\n",
                b"[" * 200 + b"\n",
                b'{"bus": 7}\n',
            ):
                reader, writer = await asyncio.open_unix_connection(tmp_path / "state" / name)
                writer.write(data)
                answer = await reader.read()
                assert b"rror" in answer or b"problems" in answer, answer
                writer.close()
            reader, writer = await asyncio.open_unix_connection(tmp_path / "state" / name)
            writer.write(b"x" * 100_000)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b"", "too long: it is closed"
            writer.close()
            asked = site.units["a"].asked[1]
            await until(lambda: site.units["a"].asked[1] > asked + 3)

"""A centre asks: each function of annex B is answered with bytes by hand, or with silence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_agent.commands.command import Command, CommandResult, RunCommand, no_commands
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from hil.platform.sl651_centre import CentreFaults, CentreHeard, Sl651Centre
from protocols.uplink import Action

from .export_world import exporting, sample, until, writer
from .test_sl651 import RunningClock, a_centre

ADDRESS = "0012345678"
OWN = f"f1f1{ADDRESS}"
SEEN = f"{OWN}48f0f0"  # class H
EVERY_S = 20


def asked_uplink(port: int, **changes: object) -> Sl651Uplink:
    """One element of one station, a report each minute."""
    element = StationElement(code="02", point="temperature")
    station = StationOfDevice(device="hall", address=ADDRESS, element=(element,))
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "report_min": 1,
        "answer_ms": 5000,
        "latency_ms": 0,
        "station": (station,),
    }
    return Sl651Uplink(**(values | changes))  # type: ignore[arg-type] # the table above


@asynccontextmanager
async def asked_station(
    root: Path,
    faults: CentreFaults | None = None,
    actions: list[Action] | None = None,
    command: RunCommand = no_commands,
    **changes: object,
) -> AsyncIterator[tuple[Sl651Centre, Exporters]]:
    """A station that reported five minutes, at a centre."""
    clock = RunningClock()

    def note(device_id: str, action: Action, committed: object = None) -> None:
        if actions is not None:
            actions.append(action)
        if callable(committed):
            committed()

    async with (
        a_centre(faults) as centre,
        writer(root, clock) as outbox,
        exporting(
            outbox,
            root,
            asked_uplink(centre.port, **changes),
            clock=clock,
            note=note,
            command=command,
        ) as exporters,
    ):
        await until(lambda: centre.connections)
        # 16:53:20 to 16:58:20 in Beijing; the temperature is the number of seconds, by ten.
        await outbox.put([sample(number) for number in range(0, 301, EVERY_S)], {})
        await until(lambda: len(centre.heard) >= 5)
        centre.heard.clear()
        yield centre, exporters


async def the_answer(centre: Sl651Centre, function: int, more: str = "") -> CentreHeard:
    """Ask, and return what comes."""
    centre.ask(ADDRESS, function, bytes.fromhex(more))
    await until(lambda: any(heard.function == function for heard in centre.heard))
    return next(heard for heard in centre.heard if heard.function == function)


ANSWERS = [
    # 37: all elements of the newest sample, of 16:58:20: 30.0 degrees.
    (0x37, "", f"{SEEN}251009165802110300"),
    # 3A: by an identifier of two bytes, or of one, as some centres send it.
    (0x3A, "0211", f"{SEEN}251009165802110300"),
    (0x3A, "02", f"{SEEN}251009165802110300"),
    (0x3A, "392302113812", f"{SEEN}251009165802110300"),  # the others it has not
    # 41: centre 1, its own address, the password, mode 2 (M2).
    (0x41, "01200228", f"{OWN}01200100000002280012345678"),
    (0x41, "03100c08", f"{OWN}031000000c0802"),
    # 43: a sample each 4 s; a report each minute is no number of hours.
    (0x43, "20082310", f"{OWN}23100004"),
    # 46: door closed, no pump (table 58).
    (0x46, "", f"{OWN}452000000480"),
    (0x51, "", OWN),
]


async def test_what_it_has(tmp_path: Path) -> None:
    async with asked_station(tmp_path) as (centre, _):
        for function, more, body in ANSWERS:
            centre.heard.clear()
            heard = await the_answer(centre, function, more)
            assert heard.body.hex() == body
            assert heard.serial == 0  # the question's
        version = (await the_answer(centre, 0x45)).body
        assert version[8:].startswith(b"tianfu-edge ")
        assert version[7] == len(version) - 8
        # Table 82: event 16 is a report that was sent, 17 a question that came.
        counts = (await the_answer(centre, 0x50)).body[7:]
        assert len(counts) == 64
        assert counts[30:34].hex() == f"0005{len(ANSWERS) + 2:04x}"
        assert not counts[:30].strip(b"\0")
        assert not counts[34:].strip(b"\0")


async def test_a_period_has_its_holes(tmp_path: Path) -> None:
    """38: 2025-10-09 16 to 17 o'clock, each minute; 16:54 to 16:58 were reported."""
    async with asked_station(tmp_path) as (centre, _):
        heard = await the_answer(centre, 0x38, "2510091625100917" + "0418000001" + "0211")
        values = heard.body.hex().removeprefix(f"{SEEN}2510091600" + "0418000001" + "0211")
        assert len(values) == 61 * 4
        found = [values[at : at + 4] for at in range(0, len(values), 4)]
        reported = ["0020", "0080", "0140", "0200", "0260"]
        assert found == ["ffff"] * 54 + reported + ["ffff"] * 2


async def test_a_series_is_not_answered_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    """60 questions at once: some are answered, and what follows is."""
    async with asked_station(tmp_path) as (centre, exporters):
        for _ in range(60):
            centre.ask(ADDRESS, 0x38, bytes.fromhex("2510091625100917" + "0418000001" + "0211"))
        await the_answer(centre, 0x51)
        answers = sum(heard.function == 0x38 for heard in centre.heard)
        assert 4 <= answers < 60
        assert exporters.tasks[0].feed.status.rejected == 60 - answers


async def test_a_long_answer_comes_in_packets_and_one_is_sent_again(tmp_path: Path) -> None:
    """M3 for an answer (6.3.1.2 c): 31 days of 5 minutes; packet 2 is wanted again, with ETX."""
    faults = CentreFaults(refuse_packet=2)
    async with asked_station(tmp_path, faults) as (centre, _):
        centre.ask(ADDRESS, 0x38, bytes.fromhex("2509090025100917" + "0418000005" + "0211"))
        await until(lambda: sum(heard.packet[1] == 2 for heard in centre.heard) == 2)
        body = centre.whole(0x38).hex()
        begin = f"{SEEN}2509090000" + "0418000005" + "0211"
        assert body.startswith(begin)
        # 16:55 of the last day is the only one of them.
        assert body.removeprefix(begin).replace("ffff", "") == "0080"
        assert centre.heard[-1].packet == (len(body) // 2 // 4000 + 1, 2)


async def test_a_restart_keeps_what_was_reported(tmp_path: Path) -> None:
    async with asked_station(tmp_path):
        pass
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, asked_uplink(centre.port), clock=clock),
    ):
        await until(lambda: centre.connections)
        heard = await the_answer(centre, 0x38, "2510091625100917" + "0418000100" + "0211")
        assert heard.body.hex().endswith("0211" + "ffff" * 2)


SILENCE = [
    (0x39, ""),  # values set by hand
    (0x44, ""),  # pumps
    (0x36, ""),  # there is no picture
    (0x38, "251009162510091704180000010100"),  # an element it has not
    (0x38, "251009172510091604180000010211"),  # backwards
    (0x38, "251009162510091704180000000211"),  # no step
    (0x38, "2410091625100917041800000102"),  # more than a frame series holds
    (0x38, "ff"),
    (0x3A, ""),
    (0x3A, "39"),
    (0x41, "0510"),
    (0xE0, "00"),
]


async def test_what_it_has_not_is_answered_with_silence(tmp_path: Path) -> None:
    """6.3.1.2 d. The next question is answered, so the silence was no dead line."""
    async with asked_station(tmp_path) as (centre, exporters):
        for number, (function, more) in enumerate(SILENCE, 1):
            centre.heard.clear()
            centre.ask(ADDRESS, function, bytes.fromhex(more))
            await the_answer(centre, 0x51)
            assert [heard.function for heard in centre.heard] == [0x51]
            assert exporters.tasks[0].feed.status.rejected == number
        centre.heard.clear()
        centre.ask(ADDRESS, 0x37, password="1234")  # of the protocol
        await the_answer(centre, 0x51)
        assert [heard.function for heard in centre.heard] == [0x51]


async def test_what_would_change_something_is_in_the_stream(tmp_path: Path) -> None:
    actions: list[Action] = []
    functions = (0x40, 0x42, 0x47, 0x48, 0x49, 0x4A, 0x4C, 0x4F)
    async with asked_station(tmp_path, actions=actions) as (centre, _):
        for function in functions:
            centre.ask(ADDRESS, function, bytes.fromhex("23100030"))
        await the_answer(centre, 0x51)
        assert [heard.function for heard in centre.heard] == [0x51]
    for function, action in zip(functions, actions, strict=True):
        assert (action.name, action.operator) == ("command-refused", "sl651: sl651")
        assert action.detail.startswith(f"function {function:02X} of station {ADDRESS}")


async def test_a_centre_that_may_sets_how_often_a_node_samples(tmp_path: Path) -> None:
    """42 with parameter 23 goes to the desk, which records it; the answer is what was set."""
    commands: list[tuple[Command, str]] = []
    actions: list[Action] = []

    async def desk(command: Command, by: str) -> CommandResult:
        commands.append((command, by))
        outcome = "done" if command.value != "9999 s" else "refused"
        return CommandResult(outcome=outcome, text="")  # type: ignore[arg-type] # two of them

    async with asked_station(tmp_path, actions=actions, command=desk, allow_control=True) as (
        centre,
        _,
    ):
        heard = await the_answer(centre, 0x42, "23100030")
        assert heard.body.hex() == f"{OWN}23100030"
        centre.heard.clear()
        for body in ("23109999", "23100000", "2008012310 0030", "231000aa"):
            centre.ask(ADDRESS, 0x42, bytes.fromhex(body))
        await the_answer(centre, 0x51)
        await until(lambda: len(commands) == 2)
        assert [heard.function for heard in centre.heard] == [0x51]
    wanted = Command(action="set", device="hall", point="sample_period", value="30 s")
    assert commands[0] == (wanted, "sl651: sl651")
    assert [action.name for action in actions] == ["command-refused"] * 3
    assert "expected 2310 and 1 to 9999 s in BCD, got 23100000" in actions[0].detail


async def test_a_played_centre_asks_each_station_once(tmp_path: Path) -> None:
    """`tianfu-hil platform sl651 --ask 51`: with the first report of a connection."""
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, asked_uplink(centre.port), clock=clock),
    ):
        centre.asks = [(0x51, b"")]
        await until(lambda: centre.connections)
        await outbox.put([sample(0), sample(60), sample(120)], {})
        await until(lambda: sum(heard.function == 0x32 for heard in centre.heard) == 2)
        await until(lambda: any(heard.function == 0x51 for heard in centre.heard))
    assert sum(heard.function == 0x51 for heard in centre.heard) == 1

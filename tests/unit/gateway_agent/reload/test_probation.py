"""What undoes a change, and what does not: judged from flows, without an agent."""

from gateway_agent.progress import Delivery, DeviceFlow, Flow
from gateway_agent.reload.probation import Probation, what_works

START_MS, LONG_MS = 1_000_000, 60_000


def device(
    name: str, bus: str = "a", age_ms: int = 100, problem: str = "", period_ms: int = 1000
) -> DeviceFlow:
    return DeviceFlow(bus, name, age_ms, period_ms, False, False, problem)


def uplink(connected: bool = True, to: int = 10, behind: int = 0, slack_ms: int = 1000) -> Delivery:
    return Delivery("broker:1883", connected, "" if connected else "refused", to, behind, slack_ms)


def flow(devices: list[DeviceFlow], *deliveries: Delivery) -> Flow:
    return Flow("", devices, [], None, list(deliveries) or [uplink()])


def fault(before: Flow, after: Flow, share: float = 0.2, buses: tuple[str, ...] = ("a",)) -> str:
    """Why the change is undone at the end of its probation."""
    probation = Probation(what_works(before), before, share, frozenset(buses), START_MS, LONG_MS)
    return probation.fault(after, START_MS + LONG_MS)


TEN = [device(f"d{n}") for n in range(10)]


def silent(count: int) -> list[DeviceFlow]:
    """The same, of which some have not answered since the change."""
    gone = [item._replace(age_ms=70_000, problem="no answer") for item in TEN[:count]]
    return [*gone, *TEN[count:]]


def test_more_than_the_share_undoes_and_the_share_itself_does_not() -> None:
    assert fault(flow(TEN), flow(TEN)) == ""
    assert fault(flow(TEN), flow(silent(2))) == ""
    text = fault(flow(TEN), flow(silent(3)))
    assert text.startswith("3 of 10 devices on bus a that answered before are silent: d0 (no answ")
    assert fault(flow(TEN), flow(silent(1)), share=0.0)
    assert fault(flow(TEN), flow(silent(10)), share=1.0) == ""


def test_a_small_bus_that_was_changed_is_not_lost_in_a_large_site() -> None:
    others = [device(f"o{n}", "b") for n in range(100)]
    before, after = flow([*TEN, *others]), flow([*silent(9), *others])
    assert "9 of 10 devices on bus a" in fault(before, after)
    assert fault(before, after, buses=("b",)) == "", "that bus was not changed, 9 of 110 are few"


def test_what_did_not_answer_before_and_what_is_removed_undo_nothing() -> None:
    dead = [item._replace(age_ms=10**6, problem="no answer") for item in TEN]
    new = [item._replace(is_new=True) for item in TEN]
    for before in (dead, new):
        assert fault(flow(before), flow(dead)) == ""
    assert fault(flow(TEN), flow(TEN[:1])) == ""


def test_a_device_that_is_rarely_asked_has_time() -> None:
    hourly = [item._replace(period_ms=3_600_000, age_ms=1_800_000) for item in TEN]
    assert fault(flow(hourly), flow(hourly)) == ""
    failed = [item._replace(problem="no answer") for item in hourly]
    assert "10 of 10" in fault(flow(hourly), flow(failed))


def test_an_uplink_that_was_connected_has_to_be_so_and_to_deliver() -> None:
    assert "not connected any more: refused" in fault(flow(TEN), flow(TEN, uplink(False)))
    away = flow(TEN, uplink(False))
    assert fault(away, away) == "", "it was away before"
    assert "has delivered nothing since" in fault(flow(TEN), flow(TEN, uplink(behind=5)))
    assert fault(flow(TEN), flow(TEN, uplink(to=11, behind=5))) == ""
    slow = uplink(behind=5, slack_ms=3_600_000)
    assert fault(flow(TEN, slow), flow(TEN, slow)) == "", "it may wait that long"
    # The address of the collector may be what was changed.
    moved = uplink(False)._replace(name="elsewhere:1883")
    assert "the uplink to the collector" in fault(flow(TEN), flow(TEN, moved))


def test_before_the_end_only_what_is_given_up_counts() -> None:
    probation = Probation(what_works(flow(TEN)), flow(TEN), 0.2, frozenset(), START_MS, LONG_MS)
    now_ms = START_MS + 5000
    assert probation.fault(flow(silent(9), uplink(False)), now_ms) == ""
    given_up = [item._replace(is_quarantined=bool(item.problem)) for item in silent(9)]
    assert "9 of 10" in probation.fault(flow(given_up), now_ms)

"""The account of a run has a problem for each thing that is not as it must be, and no other."""

from __future__ import annotations

from dataclasses import replace

from gateway_agent.counters import Counters
from gateway_agent.status import OutboxStatus, Status
from hil.site.accounts import NodeAccount, SiteAccount, Stages
from hil.site.ledger import DeviceLedger
from protocols.uplink import Gap


def ledger(*samples: int, readings: int = 50, gaps: tuple[Gap, ...] = ()) -> DeviceLedger:
    made = DeviceLedger(readings=readings, gaps=list(gaps))
    for seq in samples:
        made.sample(1, 3, seq)
    return made


def node(known: DeviceLedger, last: int = 4) -> NodeAccount:
    figures = {"boot_epoch": 3, "sampled_frames": last, "sampled_readings": 20}
    return NodeAccount.of(figures, known)


def status(depth: int = 0, tag_failures: int = 0) -> Status:
    outbox = OutboxStatus(
        stream=1, last=9, receipted_to=9, depth=depth, file_bytes=1, max_bytes=2, full=""
    )
    counters = Counters(node_tag_failures=tag_failures)
    return Status(gateway="g", running_ms=1, nodes=[], counters=counters, outbox=outbox)


GOOD = SiteAccount(
    nodes={"air": node(ledger(1, 2, 3, 4)), "water": node(ledger(1, 2, 3, 4))},
    records=Stages(9, 9, 9),
    readings=Stages(100, 100, 100),
    status=status(),
    collected={"bad_signatures": 0, "gaps_by_cause": {"crc": 1}},
)


def with_air(known: DeviceLedger) -> list[str]:
    return replace(GOOD, nodes={**GOOD.nodes, "air": node(known)}).problems()


def test_a_good_run_has_no_problem() -> None:
    assert GOOD.problems() == []
    assert replace(GOOD, readings=None).problems() == []


def test_stages_that_differ() -> None:
    differ = "recorded, delivered and verified differ:"
    account = replace(GOOD, readings=Stages(100, 99, 100))
    assert account.problems() == [f"readings {differ} 100, 99, 100"]
    account = replace(GOOD, records=Stages(9, 9, 7))
    assert account.problems() == [f"records {differ} 9, 9, 7"]


def test_samples_and_gaps_that_nothing_accounts_for() -> None:
    assert with_air(ledger(1, 2, 4)) == ["air sample 3/3 is in no record and in no gap"]
    assert with_air(ledger(1, 2, 4, gaps=(Gap("crc", 3, 3, 3, ""),))) == []
    assert with_air(ledger(1, 2, 3, 4, 4)) == ["air sample 3/4 is there twice"]
    assert with_air(ledger(1, 2, 4, gaps=(Gap("gremlins", 3, 3, 3, ""),))) == [
        "air gap with the unknown cause 'gremlins'"
    ]


def test_a_node_without_readings() -> None:
    assert with_air(ledger(1, 2, 3, 4, readings=0)) == ["no reading of role air"]


def test_counts_that_are_not_0() -> None:
    text = "records that wait in the outbox: expected 0, got 2"
    assert replace(GOOD, status=status(depth=2)).problems() == [text]
    text = "node_tag_failures: expected 0, got 1"
    assert replace(GOOD, status=status(tag_failures=1)).problems() == [text]
    text = "records_refused: expected 0, got 3"
    assert replace(GOOD, collected={"records_refused": 3}).problems() == [text]

"""The figures that ``tianfu-gateway demo`` prints, as JSON object and as summary for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hil.demo.motion import motion_text
from hil.site.accounts import SiteAccount

_STAGES = (
    ("sampled", "on the nodes"),
    ("recorded", "committed to the gateway's outbox"),
    ("delivered", "covered by a signed receipt, pruned from the outbox"),
    ("verified", "in the collector's database; signature, chain and node tags checked"),
)


def figures_of(
    account: SiteAccount, line_faults: Mapping[str, int], elapsed_s: float
) -> dict[str, object]:
    """Return the JSON object."""
    nodes, counters, readings = account.nodes, account.status.counters, account.readings
    assert readings is not None  # the demo starts its gateway once
    return {
        "readings_sampled": sum(node.readings_sampled for node in nodes.values()),
        "readings_recorded": readings.recorded,
        "readings_delivered": readings.delivered,
        "readings_verified": readings.verified,
        "readings_verified_by_role": {role: n.ledger.readings for role, n in nodes.items()},
        "samples_taken": {role: n.samples_taken for role, n in nodes.items()},
        "samples_verified": {
            role: sum(counts.total() for counts in n.ledger.samples.values())
            for role, n in nodes.items()
        },
        "samples_in_gaps": {role: n.ledger.in_gaps() for role, n in nodes.items()},
        "gaps": account.collector_count("gaps"),
        "gaps_by_cause": account.collected["gaps_by_cause"],
        "gaps_unexplained": len(account.unexplained()),
        "duplicates": account.collector_count("duplicates"),
        "bad_signatures": account.collector_count("bad_signatures"),
        "node_tag_failures": counters.node_tag_failures,
        "records_refused": account.collector_count("records_refused"),
        "in_flight": account.depth,
        "polls": counters.polls,
        "poll_errors": dict(counters.poll_errors),
        "line_faults": dict(line_faults),
        "events": sum(len(node.ledger.events) for node in nodes.values()),
        "batches": counters.batches_sent,
        "elapsed_s": round(elapsed_s, 2),
    }


def summary(figures: Mapping[str, object], keep: Path | None) -> str:
    """Return the same figures for people; ``keep`` is the folder that stays, if one does."""
    gaps = _causes(figures["gaps_by_cause"])
    errors = _causes(figures["poll_errors"])
    lines = ["", "Readings, each counted at its own place:"]
    lines += [f"  {figures['readings_' + name]:>7}  {name:9}  {where}" for name, where in _STAGES]
    lines.append(
        f"  gaps: {gaps}; samples named in them: {_causes(figures['samples_in_gaps'])}; "
        f"unexplained: {figures['gaps_unexplained']}; "
        f"still in flight: {figures['in_flight']}"
    )
    lines.append(
        f"  duplicates: {figures['duplicates']}; bad signatures: {figures['bad_signatures']}; "
        f"failed node tags: {figures['node_tag_failures']}"
    )
    lines.append(
        f"  polls: {figures['polls']}, errors: {errors}; batches: {figures['batches']}; "
        f"events: {figures['events']}; {figures['elapsed_s']} s"
    )
    motion = figures["motion"]
    assert isinstance(motion, Mapping)
    lines.append(f"  serial link: {motion_text(motion)}")
    platforms = figures.get("platforms")
    if isinstance(platforms, Mapping):
        lines.append(f"  platforms: {', '.join(f'{k} {n}' for k, n in platforms.items())}")
    if keep is not None:
        lines.append(f"  keys, databases and logs are in {keep}")
    return "\n".join(lines)


def _causes(table: object) -> str:
    assert isinstance(table, dict)
    return ", ".join(f"{cause} {count}" for cause, count in table.items() if count) or "none"

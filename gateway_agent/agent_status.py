"""What ``status`` shows of the parts of an agent, taken from them as they are now."""

from gateway_agent.clock import GatewayClock
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from gateway_agent.progress import Delivery
from gateway_agent.status import OutboxStatus, Reconciliation, UplinkStatus
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.mqtt import Uplink
from protocols.uplink import decode_record


def reconciliation(
    field: Field | None, outbox: OutboxWriter | None, counters: Counters
) -> Reconciliation | None:
    """Return the four comparisons; None before there is something to compare."""
    if field is None or outbox is None:
        return None
    found = {
        "sequence": field.samples_unaccounted(),
        "schedule": field.slots_unaccounted(),
        "receipts": abs(outbox.stats.unaccounted),
        "archive": counters.receipts_forked + counters.receipts_behind,
    }
    return Reconciliation(unaccounted=sum(found.values()), **found)


def uplink_status(uplink: Uplink | None, config: MqttUplink) -> UplinkStatus | None:
    """Return how the uplink to the collector is; None before it was begun."""
    if uplink is None:
        return None
    return UplinkStatus(
        broker=config.where,
        connected=uplink.connected,
        problem=uplink.problem,
        receipt=config.receipt,
        receipt_problem=uplink.receipt_problem,
        waiting_ms=round(1000 * uplink.waiting_s()) if config.receipt == "signed" else 0,
        receipt_ms=uplink.receipt_ms,
        unheard=uplink.is_unheard,
    )


def outbox_status(outbox: OutboxWriter) -> OutboxStatus:
    """Return where the outbox stands."""
    stats = outbox.stats
    return OutboxStatus(
        stream=stats.stream,
        last=stats.last,
        receipted_to=stats.receipted_to,
        depth=stats.depth,
        file_bytes=stats.file_bytes,
        max_bytes=stats.max_bytes,
        full=outbox.full_reason,
        head=stats.head.hex(),
    )


def deliveries(
    uplink: Uplink | None, config: MqttUplink, outbox: OutboxWriter, exporters: Exporters
) -> list[Delivery]:
    """Return how far each uplink is, the one to the collector first; none before it was begun."""
    if uplink is None:
        return []
    stats = outbox.stats
    problem = uplink.problem or uplink.receipt_problem
    if not problem and uplink.is_unheard:
        problem = "nobody is subscribed to its batches: is the collector running?"
    to, depth = stats.receipted_to, stats.depth
    first = Delivery(config.where, uplink.connected, problem, to, depth, config.interval_ms)
    return [first, *exporters.deliveries()]


async def oldest_ms(outbox: OutboxWriter, clock: GatewayClock) -> int | None:
    """Return the age of the oldest record that waits for a receipt; None: it is not known."""
    found = await outbox.slice(0, 1, 1 << 20)
    if found is None:
        return None
    made, wall = decode_record(found.records[0].data).stamp, clock.wall()
    if found.anchor.boot_id == clock.boot_id:
        return clock.boot_ms() - made.resp_ms
    if made.wall_ms is None or wall.wall_ms is None:
        return None
    return max(0, wall.wall_ms - made.wall_ms)

"""Turns the status of the agent into metrics for Prometheus.

Names follow Prometheus's conventions: base units, ``_total`` for counters. Labels are bounded: a
device and a bus are those of the configuration, a cause is one of a fixed list, and no value of a
sensor is a metric.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway_agent.counters import Counters
from gateway_agent.progress import ProgressWatch
from gateway_agent.status import (
    DeviceStatus,
    ExporterStatus,
    NotifyStatus,
    OutboxStatus,
    Reconciliation,
    Status,
    UplinkStatus,
)
from gateway_agent.uplink.gap_book import by_kind

from .view import AgentView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STATES: Final = ("new", "ok", "failing", "quarantined")
_STAGES: Final = ("polls", "commits", "receipts")

HELP: Final = {
    "polls": "Requests put on a line, probes included",
    "poll_errors": "Failed requests by cause",
    "asked_again": "Requests that met a closed connection and were sent on a new one",
    "node_tag_failures": "Frames whose tag does not match the key of the node",
    "replayed": "Frames older than the mark of the node, rejected",
    "repeats": "Frames read again, not recorded",
    "late_replies": "Answers that arrived after the timeout of their request",
    "foreign_answers": "Answers of another unit or function than was asked",
    "noise_bytes": "Bytes on a line that are part of no frame",
    "site_requests": "Requests of a technician's tool put on a line",
    "site_refused": "Requests of such a tool that were not put on a line",
    "commands": "Commands of people and platforms, by outcome",
    "orders_rejected": "Messages for orders that no operator's key has signed",
    "skipped_slots": "Polls that fell due while their bus was busy",
    "gaps": "Gap records made, by cause",
    "records_recorded": "Records made durable",
    "readings_recorded": "Readings made durable",
    "commits": "Commits of the outbox",
    "store_full": "Times the medium or the limit refused a commit",
    "store_damaged": "Times damage was found and put into quarantine",
    "records_salvaged": "Records carried over from a damaged outbox",
    "streams_opened": "New streams after the first of the outbox",
    "connects": "Connections made to the broker",
    "disconnects": "Connections to the broker that ended",
    "packets_refused": "Packets of a broker that would have filled the memory",
    "batches_sent": "Batches published for the first time",
    "batches_resent": "Batches published again because no receipt came",
    "pubacks": "Acknowledgements of the broker, which are no receipts",
    "receipts": "Valid receipts that covered something new",
    "receipts_repeated": "Valid receipts with nothing new",
    "receipts_stale": "Valid receipts of another stream or an earlier time",
    "receipts_behind": "Valid receipts below what was receipted before",
    "receipts_rejected": "Receipts with a wrong signature, form or gateway",
    "receipts_forked": "Valid receipts whose head is not that of the outbox",
    "records_delivered": "Records removed because a receipt covers them",
    "readings_delivered": "Readings removed because a receipt covers them",
}


class AgentCollector(Collector):
    """Collects from one status; nothing is counted a second time here."""

    def __init__(self, status: Status, progress: ProgressWatch) -> None:
        self._status = status
        self._health = [*_healthy(progress)]

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the agent."""
        status = self._status
        yield _gauge("tianfu_uptime_seconds", "Time since the start", status.running_ms / 1000)
        yield from self._health
        yield from _reconciled(status.reconciliation)
        yield from _counted(status.counters)
        yield from _devices(status.nodes)
        yield from _outbox(status.outbox)
        yield from _uplink(status.uplink)
        yield from _exporters(status.uplinks)
        yield from _notified(status.notify)


def _healthy(progress: ProgressWatch) -> Iterator[Metric]:
    problems = GaugeMetricFamily(
        "tianfu_health_problems", "Places where data stops now, by stage", labels=["stage"]
    )
    for stage in _STAGES:
        count = sum(problem.stage == stage for problem in progress.problems)
        problems.add_metric([stage], count)
    yield problems
    text = "Uplinks with required = false that get nothing now"
    yield _gauge("tianfu_health_warnings", text, len(progress.warnings))
    yield _gauge("tianfu_alive", "1: no part of the agent hangs", progress.is_alive)
    yield _gauge("tianfu_ready", "1: data flows from and to everywhere", progress.is_ready)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _reconciled(found: Reconciliation | None) -> Iterator[Metric]:
    """Yield the metrics of the promise, which are 0 unless the agent is wrong."""
    schedule = 0 if found is None else found.schedule
    text = "Schedule slots minus records minus gaps: 0, or readings vanished without a record"
    yield _gauge("tianfu_unaccounted_readings", text, schedule)
    checks = GaugeMetricFamily(
        "tianfu_unaccounted_items", "What each reconciliation cannot account for", labels=["check"]
    )
    for check in ("sequence", "schedule", "receipts", "archive"):
        checks.add_metric([check], 0 if found is None else int(getattr(found, check)))
    yield checks


def _counted(counters: Counters) -> Iterator[Metric]:
    for name, value in counters.as_dict().items():
        labels = ["cause"] if isinstance(value, dict) else []
        family = CounterMetricFamily(
            f"tianfu_{name}", HELP.get(name, "Counted since the start"), labels=labels
        )
        if isinstance(value, dict):
            for cause, count in value.items():
                family.add_metric([cause], count)
        else:
            family.add_metric([], value)
        yield family


def _devices(devices: list[DeviceStatus]) -> Iterator[Metric]:
    labels = ["bus", "device"]
    up = GaugeMetricFamily("tianfu_device_up", "1: its newest poll was good", labels=labels)
    age = GaugeMetricFamily(
        "tianfu_device_age_seconds", "Time since its newest good answer", labels=labels
    )
    states = GaugeMetricFamily("tianfu_devices", "Devices by state", labels=["state"])
    counts = {
        name: CounterMetricFamily(f"tianfu_device_{name}", text, labels=labels)
        for name, text in (
            ("polls", "Polls of the device"),
            ("errors", "Polls of the device that failed"),
            ("skipped", "Polls of the device that fell due while the bus was busy"),
        )
    }
    for device in devices:
        where = [device.bus, device.name]
        up.add_metric(where, device.state == "ok")
        if device.age_ms is not None:
            age.add_metric(where, device.age_ms / 1000)
        for name, family in counts.items():
            family.add_metric(where, int(getattr(device, name)))
    for state in _STATES:
        states.add_metric([state], sum(device.state == state for device in devices))
    yield from (up, age, states, *counts.values())


def _outbox(outbox: OutboxStatus | None) -> Iterator[Metric]:
    if outbox is None:
        return
    yield _gauge("tianfu_outbox_records", "Records that wait for a receipt", outbox.depth)
    yield _gauge("tianfu_outbox_bytes", "Bytes of the outbox on the medium", outbox.file_bytes)
    yield _gauge("tianfu_outbox_limit_bytes", "Limit of these bytes", outbox.max_bytes)
    yield _gauge("tianfu_outbox_full", "1: no record can be committed", bool(outbox.full))
    yield _gauge("tianfu_outbox_last_sequence", "Number of the newest record", outbox.last)
    text = "Every record up to this number has a receipt"
    yield _gauge("tianfu_outbox_receipted_sequence", text, outbox.receipted_to)


def _uplink(uplink: UplinkStatus | None) -> Iterator[Metric]:
    if uplink is None:
        return
    connected = GaugeMetricFamily(
        "tianfu_uplink_connected", "1: connected to the broker", labels=["uplink"]
    )
    connected.add_metric([uplink.broker], uplink.connected)
    yield connected
    waiting = GaugeMetricFamily(
        "tianfu_uplink_waiting_seconds", "Time since a receipt has been due", labels=["uplink"]
    )
    waiting.add_metric([uplink.broker], uplink.waiting_ms / 1000)
    yield waiting


def _exporters(exporters: list[ExporterStatus]) -> Iterator[Metric]:
    labels = ["uplink", "type"]
    gauges = {
        name: GaugeMetricFamily(f"tianfu_exporter_{name}", text, labels=labels)
        for name, text in (
            ("connected", "1: connected to the platform"),
            ("behind", "Records that the platform lacks"),
        )
    }
    counts = {
        name: CounterMetricFamily(f"tianfu_exporter_{name}", text, labels=labels)
        for name, text in (
            ("messages", "Messages sent to the platform"),
            ("bytes", "Bytes of these messages"),
            ("rejected", "Wrong messages of the platform"),
            ("lost", "Records that the platform will never get"),
        )
    }
    for exporter in exporters:
        where = [exporter.name, exporter.type]
        for name, gauge in gauges.items():
            gauge.add_metric(where, float(getattr(exporter, name)))
        for name, count in counts.items():
            count.add_metric(where, float(getattr(exporter, name)))
    gaps = CounterMetricFamily(
        "tianfu_exporter_gaps",
        "Periods, pictures and values that the platform will never get",
        labels=[*labels, "kind", "cause"],
    )
    for exporter in exporters:
        for gap in by_kind(exporter.gaps):
            gaps.add_metric([exporter.name, exporter.type, gap.kind, gap.cause], gap.count)
    yield from (*gauges.values(), *counts.values(), gaps)


def _notified(receivers: list[NotifyStatus]) -> Iterator[Metric]:
    labels = ["notify", "type"]
    waiting = GaugeMetricFamily(
        "tianfu_notices_waiting", "Notices of alarms that a receiver lacks", labels=labels
    )
    sent = CounterMetricFamily("tianfu_notices_sent", "Notices it got", labels=labels)
    lost = CounterMetricFamily("tianfu_notices_lost", "Notices it will never get", labels=labels)
    for receiver in receivers:
        where = [receiver.name, receiver.type]
        waiting.add_metric(where, receiver.waiting)
        sent.add_metric(where, receiver.sent)
        lost.add_metric(where, receiver.lost)
    yield from (waiting, sent, lost)


class Metrics:
    """The exposition of one agent and its process."""

    def __init__(self, view: AgentView) -> None:
        self._view = view
        self._process = ProcessCollector(registry=None)

    async def text(self) -> bytes:
        """Return what a scrape gets. A thread writes it: with 200 devices it takes a while."""
        collector = AgentCollector(await self._view.status(), self._view.progress)
        registry = CollectorRegistry()
        registry.register(self._process)
        registry.register(collector)
        return await asyncio.to_thread(generate_latest, registry)

"""What went over the broker: the batches of a gateway and the receipts for them."""

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway_agent.keys import load_public
from gateway_agent.uplink import topics
from protocols.uplink import PROFILE, Decoded, open_batch, open_receipt
from protocols.uplink.batch import parse_batch, read_header


class Seen(NamedTuple):
    """A batch on the wire and its records."""

    first: int
    last: int
    data: bytes


class Wire:
    """Notes each batch, and each receipt with the time when it came, in ms since boot.

    It is over when the broker ends; one that returns takes another.
    """

    def __init__(self, port: int, gateway: str, collector_key: Path) -> None:
        self.receipts: list[tuple[int, int]] = []  # last record, time
        self.batches: list[Seen] = []
        self._filters = [(topics.all_receipts(gateway), 1), (topics.ALL_BATCHES, 1)]
        self._key = load_public(collector_key)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.on_connect = lambda client, *_: client.subscribe(self._filters)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _note(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        topic = topics.parse(message.topic)
        if topic is not None and topic.kind == "batch":
            header = read_header(parse_batch(message.payload))
            self.batches.append(Seen(header.first, header.last, bytes(message.payload)))
        else:
            self.receipts.append((open_receipt(message.payload, self._key).contiguous_to, now_ms))

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def bytes_per_reading(self) -> float:
        """Return the size of the batches, signatures and headers included."""
        readings = sum(record.readings for batch in self.batches for record in _records(batch.data))
        return sum(len(batch.data) for batch in self.batches) / readings

    def age_ms(self, percent: int) -> float:
        """Return what so many per cent of the records were not older than when they were receipted.

        That is the time from the device's answer to the collector's receipt, which it signs after
        its commit.
        """
        came = sorted(self.receipts)
        ages = []
        for batch in self.batches:
            later = (at for to, at in came if to >= batch.last)
            if (at := next(later, None)) is not None:
                records = _records(batch.data)
                ages += [at - record.stamp.resp_ms for record in records if record.kind == PROFILE]
        return statistics.quantiles(ages, n=100, method="inclusive")[percent - 1]


def _records(batch: bytes) -> tuple[Decoded, ...]:
    return open_batch(batch, None).decode()


def repeated_records(batches: Iterable[Seen]) -> int:
    """Return how many records were on the wire a second time."""
    seen: set[int] = set()
    repeated = 0
    for batch in batches:
        records = range(batch.first, batch.last + 1)
        repeated += len(seen.intersection(records))
        seen.update(records)
    return repeated

"""Write records into InfluxDB, a batch at a time.

204 is delivered. A batch that is refused (400) may have been written in part, so its records are
written again one by one: each is then delivered, or refused by itself and named as lost.
"""

import asyncio
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.http_post import http_post
from gateway_agent.uplink.feed import ExportContext, Feed
from protocols.export_record import Portion, SentMessage
from protocols.uplink import influxdb

from .config import InfluxUplink

_LOOK_S: Final = 30.0


class InfluxExporter:
    """Writes to one database."""

    def __init__(self, config: InfluxUplink, context: ExportContext) -> None:
        self._config = config
        self._context = context
        self._requests = 0

    async def run(self, feed: Feed) -> NoReturn:
        """Write until a write fails. OSError or ValueError: why."""
        # There is no connection between writes: the newest write counts.
        feed.status.connected = feed.status.connected or not feed.behind
        while True:
            raise_if_cancelled()
            portion = await feed.next(_LOOK_S)
            if portion is not None:
                await self._deliver(feed, portion)

    async def _deliver(self, feed: Feed, portion: Portion) -> None:
        lines = [
            (
                record.seq,
                influxdb.line_of(
                    self._config.measurement, self._context.gateway, self._context.devices, record
                ),
            )
            for record in portion.records
        ]
        await self._write(feed, portion, lines)

    async def _write(self, feed: Feed, portion: Portion, lines: list[tuple[int, bytes]]) -> None:
        """Write lines that follow the delivered ones, in one request if the server takes it."""
        last = lines[-1][0]
        data = b"".join(line for _, line in lines)
        if not data:
            await feed.delivered(portion, last)
            return
        await feed.spend(len(data), len(lines))
        self._requests += 1
        status, body = await asyncio.to_thread(self._request, data)
        feed.status.connected = True
        verdict = influxdb.verdict_of(status)
        if verdict == "delivered":
            seqs = tuple(seq for seq, line in lines if line)
            message = f"{portion.stream}:{seqs[0]}-{seqs[-1]}"
            sent = SentMessage(message, seqs, f"HTTP {status}", self._config.where)
            await feed.delivered(portion, last, [sent])
            return
        reason = influxdb.reason_of(status, body)
        if verdict == "later" or (verdict == "too-large" and len(lines) == 1):
            raise OSError(reason)
        if len(lines) > 1:
            size = 1 if verdict == "refused" else -(-len(lines) // 2)
            for begin in range(0, len(lines), size):
                await self._write(feed, portion, lines[begin : begin + size])
            return
        feed.status.rejection = reason
        await feed.refused(portion, last)

    def _request(self, data: bytes) -> tuple[int, bytes]:
        """Post lines; return status and body of the answer (in a thread)."""
        url, between = self._config.url, "&" if "?" in self._config.url else "?"
        if url.endswith("?"):
            between = ""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._config.token_file is not None:
            token = self._config.token_file.read_text(encoding="utf-8-sig").strip()
            headers["Authorization"] = f"Token {token}"
        target = f"{url}{between}precision={influxdb.PRECISION}"
        return http_post(target, data, headers, self._config.ca, influxdb.MAX_ANSWER_BYTES)

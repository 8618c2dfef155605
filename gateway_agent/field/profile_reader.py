"""Reads a third-party device: the blocks of its profile, each of which may fail for itself."""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, Device
from gateway_agent.counters import Counters
from gateway_agent.status import PointValue
from gateway_agent.store.mark import Mark
from protocols.modbus_client import Read, Request
from protocols.uplink import NO_VALUE, POINT_BUSY, Record, gap_record
from protocols.wire.modbus.pdu import ILLEGAL_ADDRESS, ILLEGAL_VALUE

from .bus_errors import GIVE_UP, BusError, RefusedError
from .cuts import CutFile, DeviceCuts
from .devices import OpenDevice, OpenProfile
from .master import Master
from .planner import JoinRules
from .profile import REPORTS_FAULT, GroupClock, ProfileDecoder, Value, decoder_of, point_value
from .reader import (
    Polled,
    is_silence,
    probes_of,
    read_again,
    request_for,
    stamp,
)
from .slot_account import SlotAccount, gap

_REFUSED_WHOLE: Final = (ILLEGAL_ADDRESS, ILLEGAL_VALUE)  # parts of the read may be answered
_REFUSALS: Final = 3  # in a row, of a read with another code, before its parts are tried
_BUSY_MS: Final = 40  # before a busy device, or one that lost a value, is asked again
_PATIENCE_MS: Final = 1000  # no poll keeps its bus longer for busy devices, nor half its period


class ProfileReader:
    """Reads a third-party device. It has no sequence numbers: missed polls are counted here."""

    def __init__(
        self,
        bus: Bus,
        opened: OpenProfile,
        device_id: str,
        clock: GatewayClock,
        counters: Counters,
        cut_file: CutFile,
    ) -> None:
        self.device: Device = opened.polled
        self.device_id = device_id
        self.slots = SlotAccount()
        self.mark: Mark | None = None
        self.unaccounted = 0
        self._bus = bus
        self._clock = clock
        self._counters = counters
        self.auth = "none"
        self.opened: OpenDevice = opened
        self._profile = opened.profile
        self._cuts = DeviceCuts(device_id, opened.profile.spans(), cut_file)
        self._groups = GroupClock(opened.periods)
        self._patience_ms = min(self.device.period_ms // 2, _PATIENCE_MS)
        self._due = self._groups.due(0)
        self._plan()
        self._values: Sequence[Value] = ()
        self._before: tuple[tuple[str, ...], tuple[Value, ...]] = ((), ())  # of the poll before
        self.last_ms: int | None = None
        self.problem = ""
        self.polls = 0
        self.errors = 0

    def _plan(self) -> None:
        """Make the requests, and what decodes their answers."""
        self._decoders: dict[tuple[str, ...], ProfileDecoder] = {}
        self._refused: dict[Read, int] = {}  # how often in a row
        reads = self._profile.reads(JoinRules.of(self._bus, self._cuts.cuts))
        self.probes = probes_of(self._bus, self.device, reads, self._profile.spans())
        self._select()

    def _select(self) -> None:
        """Take the requests of the groups that are due."""
        decoder = self._decoders.get(self._due)
        if decoder is None:
            cuts = self._cuts.cuts
            decoder = decoder_of(self._profile, self.device_id, self._bus, self._due, cuts)
            self._decoders[self._due] = decoder
        self._decoder = decoder
        self._requests = [request_for(self.device, read) for read in decoder.reads]

    async def poll(self, master: Master) -> Polled:
        """Read all blocks; one that fails costs its own points only."""
        self.polls += 1
        req_ms = self._clock.boot_ms()
        due = self._groups.due(req_ms)
        if due != self._due:
            self._due = due
            self._select()
        answers, failure = await self._ask_all(master, req_ms)
        if self._cuts.on_trial:
            return self._end_trial(answers, failure, req_ms)
        if failure is not None:
            return self._polled(answers, failure, req_ms)
        values = self._decoder.values(answers)
        if (
            self._lost_one(values)
            and self._clock.boot_ms() + _BUSY_MS <= req_ms + self._patience_ms
        ):
            await asyncio.sleep(_BUSY_MS / 1000)
            answers, failure = await self._ask_all(master, req_ms)
            values = self._decoder.values(answers)
        self._before = self._due, values
        return self._polled(answers, failure, req_ms, values)

    def _lost_one(self, values: Sequence[Value]) -> bool:
        """Return whether a point has no value that had one at the poll before.

        A device that measures anew may have none for a moment; a channel that is not fitted never
        has one, and is not asked twice.
        """
        if self._decoder.is_plain or NO_VALUE not in values:
            return False
        due, before = self._before
        return due == self._due and any(
            new == NO_VALUE and old is not None and not isinstance(old, str)
            for old, new in zip(before, values, strict=True)
        )

    def _end_trial(
        self, answers: list[bytes | str | None], failure: BusError | None, req_ms: int
    ) -> Polled:
        """Return the outcome of a poll whose requests were cut, and keep the cuts that helped."""
        answered = [
            read
            for read, answer in zip(self._decoder.reads, answers, strict=True)
            if isinstance(answer, bytes)
        ]
        polled = self._polled(answers, failure, req_ms)
        self._cuts.end_trial(answered, self._clock.boot_ms())
        self._plan()
        return polled

    def _polled(
        self,
        answers: list[bytes | str | None],
        failure: BusError | None,
        req_ms: int,
        values: tuple[Value, ...] | None = None,
    ) -> Polled:
        """Return the outcome of a poll; ``values``: of the answers, where they are known."""
        if failure is not None:
            self.problem = failure.detail
            if not any(isinstance(answer, bytes) for answer in answers):
                self.failed(failure.cause, failure.detail)
                return Polled([], is_silence(failure), failure)
        else:
            self.problem = ""
        now = stamp(self._clock, req_ms)
        if values is None:
            values = self._decoder.values(answers)
        record = self._decoder.record(values, now)
        self._values = self._decoder.merged(self._values, values)
        incomplete = self._decoder.incomplete_groups(answers) if failure is not None else ()
        self._groups.was_read(self._due, req_ms, incomplete)
        self.last_ms = now.resp_ms
        return Polled([record])

    async def _ask_all(
        self, master: Master, req_ms: int
    ) -> tuple[list[bytes | str | None], BusError | None]:
        """Return the answer to each request, and the last failure. May cut a refused request."""
        answers: list[bytes | str | None] = []
        done: dict[Read | None, bytes | str | None] = {}  # before the requests were cut
        failure: BusError | None = None
        silences = 0
        until_ms = req_ms + self._patience_ms
        while len(answers) < len(self._requests):
            request = self._requests[len(answers)]
            answer: bytes | str | None = None
            if done and request.read in done:
                answer = done[request.read]
            elif silences < GIVE_UP:
                try:
                    try:
                        answer = await master.read(request, self.probes)
                        if self._refused and request.read is not None:
                            self._refused.pop(request.read, None)
                    except BusError as error:
                        answer = await self._ask_again(master, request, error, until_ms)
                except BusError as error:
                    if self._is_cut(request, error):
                        done |= zip((item.read for item in self._requests), answers, strict=False)
                        answers = []
                        self._plan()
                        continue
                    self.errors += 1
                    failure = error
                    if not isinstance(error, RefusedError):
                        silences += 1
                    elif error.is_silence:
                        # A gateway box has waited for the device already, in the bus's time. One
                        # that has answered in this poll may answer the next block all the same.
                        was_there = any(isinstance(item, bytes) for item in answers)
                        silences = silences + 1 if was_there else GIVE_UP
                    else:
                        # The device answers with a refusal: not recorded as silence.
                        answer = POINT_BUSY if error.is_busy else REPORTS_FAULT
            answers.append(answer)
        return answers, failure

    async def _ask_again(
        self, master: Master, request: Request, error: BusError, until_ms: int
    ) -> bytes:
        """Read a block once more at once if its answer was damaged, because noise is short, and
        after short pauses, up to a time, while the device is busy. Raise what it failed with.
        """
        pause_ms = _BUSY_MS
        if error.cause == "crc":
            try:
                return await master.read(request, self.probes)
            except BusError as second:
                error = second
        while isinstance(error, RefusedError) and error.is_busy:
            if self._clock.boot_ms() + pause_ms > until_ms:
                break
            await asyncio.sleep(pause_ms / 1000)
            pause_ms *= 2
            try:
                return await read_again(master, request, self.probes)
            except BusError as next_error:
                error = next_error
        raise error

    def _is_cut(self, request: Request, error: BusError) -> bool:
        read = request.read
        if read is None or not isinstance(error, RefusedError) or error.is_busy or error.is_silence:
            return False
        if error.code not in _REFUSED_WHOLE:
            # Some devices mean the same by another code; most that send it fail for a moment.
            times = self._refused[read] = self._refused.get(read, 0) + 1
            if times <= _REFUSALS:
                return False
        return self._cuts.split(read, self._clock.boot_ms())

    def failed(self, cause: str, detail: str) -> None:
        """See :class:`Reader`."""
        self.problem = detail
        self.slots.note(cause, detail, self._clock.boot_ms())

    def notices(self, at_once: bool = False) -> list[Record]:
        """See :class:`Reader`."""
        now_ms = self._clock.boot_ms()
        if not (at_once or self.slots.notice_due(now_ms)):
            return []
        prefix = "lasting: " if self.slots.is_failing and not at_once else ""
        now = stamp(self._clock, now_ms)
        records = []
        for missed, text in self.slots.take():
            self._counters.gaps[missed.cause] += 1
            what = gap(missed.cause, None, None, None, prefix + text, missed)
            records.append(gap_record(self.device_id, what, now))
        return records

    def values(self) -> list[PointValue]:
        """See :class:`Reader`."""
        return [
            point_value(point, value)
            for point, value in zip(self._profile.points, self._values, strict=False)
        ]

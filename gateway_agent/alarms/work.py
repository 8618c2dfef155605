"""Who works on which device: known to the field, on record at both ends, kept over a restart."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Protocol

from msgspec import Meta, Struct

from gateway_agent.field.maintenance import Maintenance
from gateway_agent.state_file import read_state, write_state
from gateway_agent.status import AlarmStatus
from protocols.uplink import Action

from .state import MAX_SHELF_MS
from .watch import KEEP_MS, AlarmError

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "maintenance.json"
_LOSS: Final = "work on devices that was under way is forgotten"


class MaintainedField(Protocol):
    """What work on devices needs of the field."""

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record what was done."""

    def maintain(self, name: str, work: Maintenance | None) -> str | None:
        """Note who works on a device; return its id, None: there is no such device."""


class KeptWork(Struct, frozen=True):
    """What the file keeps of the work on one device."""

    device_id: str
    by: str
    left_ms: Annotated[int, Meta(ge=0, le=MAX_SHELF_MS)]


class WorkBook:
    """The work on the devices of one gateway; ``under_way``: by device."""

    def __init__(self, directory: Path, field: MaintainedField) -> None:
        self._path = directory / FILE_NAME
        self._field = field
        self.under_way: dict[str, Maintenance] = {}
        self._ids: dict[str, str] = {}
        self._is_restored = False
        self._is_changed = False  # since the file was written
        self._kept_ms = 0

    def look(self, now_ms: int) -> None:
        """End the work whose time is over; the first time, go on with that of before the start."""
        if not self._is_restored:
            self._restore(now_ms)
        for name in [name for name, work in self.under_way.items() if now_ms >= work.until_ms]:
            self.end(name, "")

    def begin(self, name: str, by: str, for_ms: int, now_ms: int) -> None:
        """Begin work on a device, or give it another time. AlarmError: there is no such device."""
        self._begin(name, Maintenance(by, now_ms + for_ms, now_ms))
        detail = f"for {for_ms // 1000} s: what {name} does not answer is expected"
        self._field.note(self._ids[name], Action("maintenance", by, 0, detail))
        log.warning("%s works on %s for %d s", by, name, for_ms // 1000)

    def end(self, name: str, by: str) -> int:
        """End the work on a device, by somebody or ""; return how many ended."""
        if self.under_way.pop(name, None) is None:
            return 0
        self._is_changed = True
        self._field.maintain(name, None)
        self._field.note(self._ids.pop(name), Action("maintenance-over", by, 0, name))
        log.warning("the maintenance of %s is over", name)
        return 1

    def change(self) -> None:
        """Tell a field that was changed; the work on a device that is there no more is over."""
        for name, work in list(self.under_way.items()):
            if self._field.maintain(name, work) is None:
                self.end(name, "")

    def summary(self, now_ms: int) -> Iterator[AlarmStatus]:
        """Yield what is under way."""
        for name, work in self.under_way.items():
            left = (work.until_ms - now_ms) // 60_000
            yield AlarmStatus(
                name="maintenance",
                severity="note",
                state="out-of-service",
                about=name,
                for_ms=now_ms - work.since_ms,
                text=f"{work.by} works on it, for {left} min more",
            )

    def news(self, now_ms: int, is_end: bool = False) -> Mapping[str, KeptWork] | None:
        """Return what the file shall hold now; None: it does, to KEEP_MS of what is left."""
        is_due = bool(self.under_way) and (is_end or now_ms - self._kept_ms >= KEEP_MS)
        if not self._is_restored or not (self._is_changed or is_due):
            return None
        self._is_changed, self._kept_ms = False, now_ms
        return {
            name: KeptWork(self._ids[name], work.by, max(0, work.until_ms - now_ms))
            for name, work in self.under_way.items()
        }

    def keep(self, kept: Mapping[str, KeptWork]) -> None:
        """Write it. A file that cannot be written costs what is under way at a restart."""
        try:
            write_state(self._path, kept)
        except OSError as error:
            log.warning("work on devices ends with a restart: %s", error)

    def _begin(self, name: str, work: Maintenance) -> None:
        device_id = self._field.maintain(name, work)
        if device_id is None:
            raise AlarmError(f"the name of a device was expected, got {name!r}")
        self.under_way[name], self._ids[name] = work, device_id
        self._is_changed = True

    def _restore(self, now_ms: int) -> None:
        self._is_restored = True
        for name, kept in (read_state(self._path, dict[str, KeptWork], _LOSS) or {}).items():
            if name in self.under_way:
                continue
            try:
                self._begin(name, Maintenance(kept.by, now_ms + kept.left_ms, now_ms))
            except AlarmError:  # its device went with the restart
                self._field.note(kept.device_id, Action("maintenance-over", "", 0, name))
                self._is_changed = True

"""Remembers what a device refuses to have read with one request, so that it is read apart.

Devices refuse (exception 02 or 03, some with another one) a read across registers that they do not
have, across two blocks of their own, or of more registers than they allow. Which of these it is
cannot be seen, and need not: the read is cut in two until the parts are answered. The cuts that
helped are kept in the state directory, so that the next start, and ``check``, begin with them.
"""

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from gateway_agent.directories import replace_file
from protocols.modbus_client import Read

from .planner import NO_CUTS, Cuts, Span, border_in

log = logging.getLogger(__name__)

FILE_NAME: Final = "cuts.json"
MOST_SPLITS: Final = 16  # in one poll; a read is cut to single values in 7
REST_MS: Final = 600_000  # a read of which no part was answered is left whole for so long


def describe_cuts(cuts: Cuts) -> str:
    """Return cuts as a person writes them."""
    return ", ".join(f"register {address} (function {code:02})" for code, address in sorted(cuts))


class CutFile:
    """The cuts of all devices of a gateway: device ids, and [function, address] of each cut.

    A file that cannot be read or written costs knowledge, which is found again, and nothing else.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._cuts = self._read()

    def of(self, device_id: str) -> Cuts:
        """Return what is known about a device."""
        return self._cuts.get(device_id, NO_CUTS)

    def remember(self, device_id: str, cuts: Cuts) -> None:
        """Replace what is known about a device."""
        self._cuts[device_id] = cuts
        text = json.dumps({name: sorted(own) for name, own in sorted(self._cuts.items()) if own})
        try:
            replace_file(self.path, f"{text}\n".encode())
        except OSError as error:
            log.warning("%s cannot be written, its cuts are found again: %s", self.path, error)

    def _read(self) -> dict[str, Cuts]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {
                name: frozenset((int(function), int(address)) for function, address in own)
                for name, own in found.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, its cuts are found again: %s", self.path, error)
            return {}


class DeviceCuts:
    """The cuts of one device: those that are known, and those on trial in the current poll."""

    def __init__(self, device_id: str, spans: Sequence[Span], file: CutFile) -> None:
        self.cuts: Cuts = file.of(device_id)
        self._device_id = device_id
        self._spans = spans
        self._file = file
        self._trial: list[tuple[Read, tuple[int, int]]] = []
        self._whole_until: dict[Read, int] = {}  # ms

    def split(self, read: Read, now_ms: int) -> bool:
        """Take note of a read that was refused; return whether it is to be read in two parts."""
        if len(self._trial) >= MOST_SPLITS or now_ms < self._whole_until.get(read, 0):
            return False
        border = border_in(read, self._spans)
        if border is None:
            return False
        self._trial.append((read, border))
        self.cuts |= {border}
        return True

    @property
    def on_trial(self) -> bool:
        """Return whether the current poll has cut a read."""
        return bool(self._trial)

    def end_trial(self, answered: Iterable[Read], now_ms: int) -> None:
        """End the trial: keep the cuts that gave answers, take the others back."""
        trial, self._trial = self._trial, []
        good = list(answered)
        useless = {border for read, border in trial if not _any_inside(good, read)}
        for read, border in trial:
            if border in useless:
                self._whole_until[read] = now_ms + REST_MS
        self.cuts -= useless
        if len(useless) < len(trial):
            new = frozenset(border for _, border in trial if border not in useless)
            log.info(
                "%s refuses one read across %s: it is read apart from now on",
                self._device_id,
                describe_cuts(new),
            )
            self._file.remember(self._device_id, self.cuts)


def _any_inside(reads: Collection[Read], whole: Read) -> bool:
    return any(
        read.function == whole.function
        and whole.address <= read.address
        and read.address + read.words <= whole.address + whole.words
        for read in reads
    )

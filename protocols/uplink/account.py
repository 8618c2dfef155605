"""Accounting for a node's samples over verified records: each one is there, or a gap names it.

Records are entered in the order of the chain. A node numbers its samples from 1 after each boot, so
a jump of the number is a loss; it is explained when a gap record names every missing number,
before or after the jump. A node that gets a new key may have lost its count of boots, so samples
are ordered under one key; a key that was in force before goes on where it ended.
"""

from typing import Final, NamedTuple

from .record_types import Gap

MAX_OPEN: Final = 1000  # ranges remembered per device; beyond, the oldest is reported at once


class MissingSamples(NamedTuple):
    """Samples ``first`` to ``last`` of one boot of a device that no record accounts for."""

    device_id: str
    boot_epoch: int
    first: int
    last: int


class _Device:
    def __init__(self) -> None:
        self.key_id = -1  # no sample yet
        self.epoch = -1
        self.seq = -1
        self.missing: list[tuple[int, int, int]] = []
        self.explained: list[tuple[int, int, int]] = []
        self.unnamed: list[tuple[int, int, int]] = []  # missing, under a key no longer in force
        self.ends: dict[int, tuple[int, int]] = {}  # the last sample of those keys

    def change_key(self, key_id: int) -> None:
        """Go on with the samples of another key; a gap from now on is not about those before."""
        before, self.key_id = self.key_id, key_id
        if before < 0:
            return
        self.ends[before] = self.epoch, self.seq
        self.epoch, self.seq = self.ends.pop(key_id, (-1, -1))
        self.unnamed += self.missing
        self.missing, self.explained = [], []


class SampleAccount:
    """The samples that each device has delivered so far."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}

    def sample(self, device_id: str, epoch: int, seq: int, key_id: int = 0) -> str:
        """Enter one sample; return what is wrong with its number, "" if nothing is.

        A sample already entered, or of an earlier boot under the same key, is a repeat: the gateway
        must not have recorded it.
        """
        device = self._devices.setdefault(device_id, _Device())
        if key_id != device.key_id:
            device.change_key(key_id)
        if (epoch, seq) <= (device.epoch, device.seq):
            return (
                f"sample {seq} of boot {epoch} comes after sample {device.seq} of boot"
                f" {device.epoch}: a repeat or a replay"
            )
        if epoch == device.epoch and seq > device.seq + 1:
            device.missing.append((epoch, device.seq + 1, seq - 1))
            for known in device.explained:
                device.missing = _subtract(device.missing, known)
        device.epoch = epoch
        device.seq = seq
        return ""

    def gap(self, device_id: str, gap: Gap) -> None:
        """Enter a gap: the samples it names are accounted for."""
        if gap.boot_epoch is None or gap.first is None or gap.last is None:
            return
        device = self._devices.setdefault(device_id, _Device())
        known = (gap.boot_epoch, gap.first, gap.last)
        device.missing = _subtract(device.missing, known)
        device.explained = [*device.explained[1 - MAX_OPEN :], known]

    def overflow(self) -> list[MissingSamples]:
        """Take out what exceeds MAX_OPEN ranges per device, oldest first."""
        found = []
        for device_id, device in self._devices.items():
            while len(device.unnamed) + len(device.missing) > MAX_OPEN:
                oldest = device.unnamed or device.missing
                found.append(MissingSamples(device_id, *oldest.pop(0)))
        return found

    def missing(self) -> list[MissingSamples]:
        """Return the samples that no record accounts for."""
        return [
            MissingSamples(device_id, *entry)
            for device_id, device in sorted(self._devices.items())
            for entry in (*device.unnamed, *device.missing)
        ]


def _subtract(
    ranges: list[tuple[int, int, int]], known: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    epoch, low, high = known
    left = []
    for entry in ranges:
        own, first, last = entry
        if own != epoch or high < first or last < low:
            left.append(entry)
            continue
        if first < low:
            left.append((own, first, low - 1))
        if high < last:
            left.append((own, high + 1, last))
    return left

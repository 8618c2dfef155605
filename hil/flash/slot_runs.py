"""Updates of a node whose power is cut, and what must hold whatever happens.

:func:`long_run` lives through a dozen updates with cuts at random, images that fail among them;
:func:`single_cuts` tries one cut at every operation of an update with all that it can leave. Both
raise AssertionError where a node would start what it must not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hil.flash.slots_model import HEADER_BYTES, KEY, SECTOR_BYTES, Cut, SlotsModel, SlotsStatus
from hil.flash.states import torn_sectors, torn_words

GOOD: Final = 0
ON_TRIAL, CONFIRMED, REFUSED, REVERTED = 2, 3, 4, 5
TRIALS: Final = 3  # runs of a new image that may fail
_BLOCK: Final = 32


@dataclass
class LongRun:
    """One node's life, and what is known of it outside of it."""

    model: SlotsModel
    dice: random.Random
    images: dict[int, bytes] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=lambda: {0})  # more than one: a cut left it open
    ordered: int = 0
    faults: int = 0  # of the image on trial, in boots that came to their end
    most_faults: int = 0  # and in those that were cut: perhaps it was noted
    cuts: int = 0

    def boot(self, fault: bool = False) -> SlotsStatus:
        """Boot until a boot comes to its end, and look at what runs."""
        self.most_faults += fault
        while True:
            after = self.dice.randrange(70) if self.dice.random() < 0.2 else -1
            status = self.model.boot(fault, after)
            if self.model.cut is None and after >= 0:
                self.model.record("epoch.0", self.dice.randbytes(10))
            if self.model.cut is None:
                break
            self.cuts += 1
            fault = False
        self.model.arm(-1)
        self.faults += fault
        self.look(status)
        return status

    def look(self, status: SlotsStatus) -> None:
        """Check what runs against what is known outside the node."""
        if status.running:
            begin = (status.running - 1) * SECTOR_BYTES + HEADER_BYTES
            image = self.images[status.version]
            found = self.model.content[begin : begin + len(image)]
            assert found == image, f"version {status.version} is not what was signed"
            assert status.version >= status.floor
        if status.trial:
            assert status.version == self.ordered, "an image runs that nobody ordered"
            assert self.faults < TRIALS, f"version {status.version} failed {self.faults} times"
        else:
            assert status.version in self.confirmed, (status, self.confirmed)
            self.confirmed = {status.version}
        assert status.floor <= max(self.confirmed), "the floor is above what runs"

    def cuttable(self, act: Callable[[], bool]) -> bool | None:
        """Do ``act`` with the power at risk; None: it was cut."""
        self.model.arm(self.dice.randrange(150) if self.dice.random() < 0.25 else -1, True)
        done = act()
        if self.model.cut is None:
            self.model.arm(-1)
            return done
        self.cuts += 1
        return None

    def update(self, version: int) -> None:
        """Bring one version to the node, until it is confirmed or given up."""
        image = self.dice.randbytes(4 * self.dice.randrange(8, 40))
        self.images[version] = image
        if self.dice.random() < 0.3:
            self.bad.add(version)
        floor = self.dice.choice([0, *self.images])
        back = next(iter(self.confirmed)) if version <= max(self.confirmed) else 0
        manifest = self.model.manifest(version, image, min(floor, version), back)
        status, fresh = self.boot(), True
        while not status.trial:
            self.faults = self.most_faults = 0
            self.ordered = version
            if self.transfer(manifest, image, fresh):
                status = self.boot()
                assert status.trial, f"{status}: a whole image was not started"
                break
            status = self.boot()
            fresh = self.dice.random() < 0.5
        self.attend(version, status)

    def transfer(self, manifest: bytes, image: bytes, fresh: bool) -> bool:
        """Send the image; False: the power was cut, or it has to be sent anew."""
        model = self.model
        assert model.check(manifest) == GOOD
        if fresh and not self.cuttable(model.erase):
            return False
        for at in range(0, len(image), _BLOCK):
            block = image[at : at + _BLOCK]
            if not self.cuttable(lambda at=at, block=block: model.write(at, block)):  # type: ignore[misc]
                return False
        return bool(self.cuttable(lambda: model.order(manifest) == GOOD))

    def attend(self, version: int, status: SlotsStatus) -> None:
        """Run the trial to its end."""
        while status.trial:
            if version in self.bad or (self.dice.random() < 0.2 and self.most_faults < TRIALS - 1):
                status = self.boot(fault=True)
            elif self.dice.random() < 0.3:
                status = self.boot()
            else:
                before = set(self.confirmed)
                done = self.cuttable(self.model.confirm)
                assert done is not False
                self.confirmed = {version} if done else before | {version}
                status = self.boot()
        if version in self.bad:
            assert status.outcome == REVERTED, status
        else:
            assert status.outcome == CONFIRMED, status
            assert self.confirmed == {version}


def long_run(library: Path, seed: int, updates: int = 12) -> LongRun:
    """Live through ``updates``. AssertionError names the seed."""
    model = SlotsModel(library, seed)
    run = LongRun(model, random.Random(seed))
    model.boot()
    assert model.record("release", KEY)
    try:
        for version in range(1, updates + 1):
            run.update(version)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return run


# --- one cut -------------------------------------------------------------------------------------

OLD, NEW = bytes(range(64)), bytes(range(100, 164))


@dataclass(frozen=True, slots=True)
class Step:
    """Something a node does to its flash, and the versions that may run after a cut in it."""

    name: str
    before: bytes
    fault: bool  # of the boot before it
    act: Callable[[SlotsModel], object] | None  # None: the boot itself
    allowed: frozenset[int]


def steps(
    model: SlotsModel,
    filler: int = 0,
    records: Mapping[str, bytes] | None = None,
    images: tuple[bytes, bytes] = (OLD, NEW),
) -> list[Step]:
    """Return the steps of an update of a blank ``model`` from version 1 to 2.

    ``records`` are there before, and ``filler`` bytes of others, so that the store is full at
    another place.
    """
    old, new = images
    model.boot()
    for name, content in (records or {"release": KEY}).items():
        assert model.record(name, content)
    first = model.manifest(1, old)
    assert model.erase()
    assert model.write(0, old)
    assert model.order(first) == GOOD
    assert model.boot().trial
    assert model.confirm()
    for number in range(filler // 48):
        assert model.record("epoch.0", bytes([number]) * 12)
    second = model.manifest(2, new, floor=1)
    found: list[Step] = []

    def add(
        name: str,
        act: Callable[[SlotsModel], object] | None,
        allowed: set[int],
        fault: bool = False,
    ) -> None:
        found.append(Step(name, model.content, fault, act, frozenset(allowed)))
        status = model.boot(fault)
        assert act is None or act(model) in (True, GOOD), (name, status)

    add("erase", lambda node: node.erase(), {1})
    add("write", lambda node: node.write(0, new), {1})
    add("order", lambda node: node.order(second), {1, 2})
    add("first boot", None, {2})
    add("boot after a fault", None, {2}, fault=True)
    add("confirmation", lambda node: node.confirm(), {2})
    add("boot after it", None, {2})
    return found


def states_of(model: SlotsModel, step: Step) -> Iterator[tuple[str, bytes]]:
    """Yield each content of the flash that a cut in ``step`` can leave, and where the cut was."""
    for after in range(10_000):
        model.content = step.before
        model.boot(step.fault, after if step.act is None else -1)
        if step.act is not None:
            model.arm(after)
            step.act(model)
        cut = model.cut
        if cut is None:
            return
        left = model.content
        for state in left_by(cut, left, model.made.sector_bytes):
            yield f"{step.name}, operation {after}: {cut}", state
    raise AssertionError("no end")


def single_cuts(model: SlotsModel, step: Step) -> int:
    """Try each state that a cut in ``step`` can leave; return how many."""
    count = 0
    for where, state in states_of(model, step):
        count += 1
        model.content = state
        status = model.boot()
        assert status.version in step.allowed, f"{where}: {status}"
        assert model.boot().version == status.version, where
        assert model.record("epoch.0", b"after"), where
        assert model.boot().version == status.version, where
    return count


def left_by(cut: Cut, content: bytes, size: int) -> Iterator[bytes]:
    """Yield what the flash that held ``content`` may hold after a cut in this operation."""
    begin = cut.sector * size
    if cut.erase:
        for _, sector in torn_sectors(content[begin : begin + size]):
            yield content[:begin] + sector + content[begin + size :]
        return
    at = begin + cut.offset
    for word in torn_words(int.from_bytes(content[at : at + 4], "little"), cut.word):
        yield content[:at] + word.to_bytes(4, "little") + content[at + 4 :]

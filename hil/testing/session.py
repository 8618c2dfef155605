"""What one run of pytest works with: engines, seed, image, and what has failed already."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from hil.engines.images import image_of
from hil.engines.registry import EngineKind, Probe
from hil.testing.evidence import Evidence
from hil.testing.first_failure import FirstFailure

#: Engines that CI must not do without; Renode is in no package index.
NEEDED_IN_CI: Final = frozenset({"qemu", "unix"})
FULL_SOAK_S: Final = 300.0
FULL_POLLS: Final = 10_000


@dataclass(slots=True)
class Session:
    """What one run of pytest works with."""

    engines: dict[str, Probe]  # found, in order
    absent: dict[str, str]  # asked for or known, but not run: why
    seed: int
    out: Path
    board: str | None
    image: Path | None
    keep: bool
    soak_s: float
    polls: int
    in_ci: bool
    failures: FirstFailure = field(default_factory=FirstFailure)
    ran: Counter[str] = field(default_factory=Counter)

    def image_for(self, kind: EngineKind, where: str) -> Path | None:
        """Return the image that engines of ``kind`` run; None where they run the source.

        Built by the first worker that comes; a failure is not repeated.
        """
        if not kind.runs_image:
            return None
        if self.image is not None:
            return self.image
        board = self.board or kind.board
        return self.failures.once(f"image {board}", where, lambda: image_of(board))

    def missing_in_ci(self) -> list[str]:
        """Return the absent engines without which this run does not count."""
        return [name for name in self.absent if self.in_ci and name in NEEDED_IN_CI]


SESSION: Final = pytest.StashKey[Session]()
EVIDENCE: Final = pytest.StashKey[Evidence]()
#: A phase of the test raised something that is no skip.
RAISED: Final = pytest.StashKey[bool]()

"""A bring-up that failed once is not tried again: later callers get the first cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hil.errors import BringUpFailed

T = TypeVar("T")


@dataclass(slots=True)
class FirstFailure:
    """Remembers results and failures by name; use one for a session, or one for a bench.

    A second image build, or a second start of a board that never printed its boot line, costs its
    whole time limit again and shows less than the first one did.
    """

    failures: dict[str, tuple[str, Exception]] = field(default_factory=dict)
    _results: dict[str, object] = field(default_factory=dict)

    def check(self, what: str) -> None:
        """Raise BringUpFailed if ``what`` failed before."""
        if what in self.failures:
            where, error = self.failures[what]
            raise BringUpFailed(f"{what} failed first in {where}: {error}") from error

    def remember(self, what: str, where: str, error: Exception) -> None:
        """Keep the first failure of ``what``; ``where`` is the test or command it hit."""
        self.failures.setdefault(what, (where, error))

    def once(self, what: str, where: str, make: Callable[[], T]) -> T:
        """Return the result of the first ``make()``; BringUpFailed when that failed before."""
        self.check(what)
        if what not in self._results:
            try:
                self._results[what] = make()
            except Exception as error:
                self.remember(what, where, error)
                raise
        return self._results[what]  # type: ignore[return-value]  # made by this name's `make`

"""One tree for every error of the bench, so that a caller chooses how much to catch.

``HilError`` is the root; the branches follow the rooms: an engine and its boards, a wire, the
record store's flash, a site's processes. Each text states what was expected, what came, and what to
look at.
"""

from __future__ import annotations


class HilError(Exception):
    """The root of all errors that the bench raises."""


# --- engines and boards ---------------------------------------------------------------------------


class EngineError(HilError):
    """An engine or a board did not do what it was asked to; the text names what to look at."""


class Unsupported(EngineError):
    """The engine has not this capability; ``why`` is the reason."""

    def __init__(self, engine: str, capability: str, why: str) -> None:
        super().__init__(f"engine {engine} has no {capability}: {why}")
        self.engine = engine
        self.capability = capability
        self.why = why


class ConsoleError(EngineError):
    """The expected output did not come on the console; the text ends with its last lines."""


class ReplError(ConsoleError):
    """Code that ran in the REPL raised; ``traceback`` is what the node printed."""

    def __init__(self, text: str, traceback: str) -> None:
        super().__init__(text)
        self.traceback = traceback


class ImageError(EngineError):
    """There is no image of a board; ``remedy`` is what to do about it."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class FidelityError(EngineError):
    """The fidelity table cannot be read, or has no such entry; the text names the file."""


class RenodeError(EngineError):
    """Renode is missing, has ended, or gave no answer; the text names which and where."""


class RenodeEnded(RenodeError):
    """A Renode that was up has ended by itself; the text quotes the end of its log. The next test
    starts another one.
    """


class CommandError(RenodeError):
    """Renode refused a keyword or a command; ``reason`` is Renode's own text."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class PlatformFileError(EngineError):
    """A line of a platform file is no platform description; the text names file and line."""


class HostTooSlow(HilError):
    """The host cannot emulate fast enough for a test. A test run shows it as a skip: nothing under
    test has failed.
    """


class BringUpFailed(HilError):
    """Something failed to come up earlier; the text and ``__cause__`` are of that first time."""


# --- wires ----------------------------------------------------------------------------------------


class WireError(HilError):
    """The far end cannot be reached; the text names where and for how long it was tried."""


# --- the record store's flash ---------------------------------------------------------------------


class FlashError(HilError):
    """The record store cannot be tested from a given content of its flash."""


class NoCompilerError(FlashError):
    """The host has no C compiler; the text names the command that installs one."""


class BootError(FlashError):
    """A node did not come up; the text has the last lines of its console."""


# --- a site and its processes ---------------------------------------------------------------------


class SiteError(HilError):
    """A site cannot be set up; the text states what was expected, what came, what to do."""


class ProcessError(SiteError):
    """A process of a site failed; the text ends with the newest lines of its output."""

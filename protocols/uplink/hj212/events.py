"""What the device's side reports to the program around it."""

from dataclasses import dataclass
from typing import Literal

from .commands import EXE_DONE, QN_READY
from .errors import Hj212Error
from .message import Body
from .options import Hj212Settings


@dataclass(frozen=True, slots=True)
class Hj212Upload:
    """Something to bring to the platform; ``key`` is the program's own.

    ``qns``: the request numbers that its first parts were sent under before a restart; they are
    sent under the same ones again, and the platform sees a repeat.
    """

    key: int
    cn: str
    body: Body
    is_backfill: bool = False
    qns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadDone:
    """All parts of an upload were answered; or only sent, where the platform answers nothing.

    Sent is what :meth:`Hj212Device.outgoing` returned before it was called again.
    """

    key: int
    cn: str
    qns: tuple[str, ...]
    is_acknowledged: bool


@dataclass(frozen=True, slots=True)
class LinkGivenUp:
    """The platform left something unanswered, although it was sent as often as it may be."""

    cn: str
    qn: str
    tries: int
    came: str = ""  # CN of an answer that came, but is none to data

    @property
    def reason(self) -> str:
        """Return what happened, as a sentence."""
        text = f"CN={self.cn} was not answered, sent {self.tries} times"
        return f"{text}; CN={self.came} came, expected 9014" if self.came else text


@dataclass(frozen=True, slots=True)
class PlatformRefused:
    """The platform answered that it does not take something.

    ``reason``: its code and what that means. ``is_final``: data or a login; they stay unanswered,
    and the connection is to be closed. A notice is not sent again. ``is_of_kind``: it takes no
    message with this CN, whatever is in it (HJ 212-2017 table 5, code 8); others may go on.
    """

    cn: str
    qn: str
    reason: str
    is_final: bool
    is_of_kind: bool = False


@dataclass(frozen=True, slots=True)
class NoticeUnanswered:
    """The platform answers no notice of this kind; the connection goes on."""

    cn: str
    qn: str


@dataclass(frozen=True, slots=True)
class PlatformCommand:
    """The platform asked for something: what changes something goes into the stream."""

    cn: str
    qn: str
    changes: bool  # whether it is one that changes something
    qn_return: int
    exe_return: int | None  # None: refused before it was executed, or not over yet
    detail: str = ""

    @property
    def outcome(self) -> Literal["done", "refused", "failed"]:
        """Return what became of it."""
        if self.qn_return != QN_READY:
            return "refused"
        return "done" if self.exe_return == EXE_DONE else "failed"


@dataclass(frozen=True, slots=True)
class ParameterWanted:
    """The platform sets a parameter of the site: set it, then call :meth:`Hj212Device.executed`."""

    cn: str
    qn: str
    pol_id: str
    info_id: str
    value: str


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The platform set something: keep it before the next connection."""

    settings: Hj212Settings
    cn: str
    qn: str


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """The platform sent what is no frame of its dialect.

    ``is_too_much``: so many in a row that nothing more of this connection is read: close it.
    """

    error: Hj212Error
    is_too_much: bool = False


Hj212Event = (
    UploadDone
    | LinkGivenUp
    | NoticeUnanswered
    | PlatformRefused
    | PlatformCommand
    | ParameterWanted
    | SettingsChanged
    | FrameRefused
)

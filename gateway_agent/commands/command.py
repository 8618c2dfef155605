"""A command and its result: what every way to the desk passes on, and what it returns."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.errors import OperatorError
from gateway_agent.status import PointValue

MAX_DEVICE: Final = 128  # characters of BUS/NAME, a name or an id
MAX_POINT: Final = 64
MAX_VALUE: Final = 64

CommandAction: TypeAlias = Literal["get", "set", "restart", "snapshot"]
Outcome: TypeAlias = Literal["done", "refused", "failed"]


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of a device.

    ``device``: its name in the configuration, BUS/NAME, or its id. ``point``: a setting of a node,
    or a point of a profile; of ``get`` it may be empty: all. ``value``: a number with its unit, as
    a person writes it, or ``now`` for a clock. ``confirm``: the person has read what needs it.
    """

    action: CommandAction
    device: Annotated[str, Meta(max_length=MAX_DEVICE)]
    point: Annotated[str, Meta(max_length=MAX_POINT)] = ""
    value: Annotated[str, Meta(max_length=MAX_VALUE)] = ""
    confirm: bool = False

    def __str__(self) -> str:
        """Return it as on a command line."""
        words = (self.action, self.device, self.point, self.value)
        return " ".join(word for word in words if word)

    @property
    def changes(self) -> bool:
        """Return whether it changes something at a device."""
        return self.action in ("set", "restart")


class CommandResult(Struct, frozen=True, kw_only=True):
    """What came of a command: ``refused``: nothing was sent; ``failed``: it may be done or not."""

    outcome: Outcome
    text: str  # for people
    values: list[PointValue] = []  # that were read, after a write too


#: Carries a command out, for somebody whose right to command was proved.
RunCommand: TypeAlias = Callable[[Command, str], Awaitable[CommandResult]]


async def no_commands(command: Command, by: str) -> CommandResult:
    """Refuse every command."""
    return CommandResult(outcome="refused", text="nothing here takes commands")


class CommandRefused(OperatorError):
    """A command cannot be carried out; the text gives the reason and the remedy."""

    outcome: Outcome = "refused"


class CommandFailed(CommandRefused):
    """A device did not do, or did not confirm, what it was asked for."""

    outcome = "failed"

"""What an error of ``tianfu-node`` is: a row of the table, and the exception that carries it."""

from dataclasses import dataclass
from typing import Final

from boards.errors import BoardError

PREFIX: Final = "TF-FLASH"
ON_SITE: Final = "TF-SITE"


@dataclass(frozen=True, slots=True)
class FlashFault:
    """One row: what it is, why it happens, what to do about it."""

    number: int
    title: str
    cause: str
    action: str
    prefix: str = PREFIX

    @property
    def code(self) -> str:
        """The code as it is printed."""
        return f"{self.prefix}-{self.number:03}"


class FlashingError(BoardError):
    """A board was not flashed; ``fault`` is the row of the table, ``what`` this case of it."""

    def __init__(self, fault: FlashFault, what: str) -> None:
        super().__init__(f"{fault.code}: {what}; {fault.action}")
        self.fault = fault
        self.what = what

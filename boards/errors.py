"""What can go wrong around a board, with the remedy in each message."""


class BoardError(Exception):
    """Something a user can mend; the text has what was expected, what came, where, the remedy."""


class ToolMissing(BoardError):
    """A program from the system's packages is not installed."""

    def __init__(self, tool: str, purpose: str, packages: str) -> None:
        super().__init__(
            f"{tool} is not installed; {purpose} needs it. "
            f"On Debian and Ubuntu type: sudo apt-get install --yes --no-install-recommends "
            f"{packages}"
        )
        self.tool = tool


class BudgetExceeded(BoardError):
    """An image is larger than its board.toml allows."""

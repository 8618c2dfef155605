# ruff: noqa: N999 - a library of Robot Framework is called as its class
"""Renode's keywords as far as the suites use them, without a body: for `robot --dryrun`.

Names and arguments are those of Renode 1.16.1's robot server.
"""

from __future__ import annotations


def execute_command(command: str, machine: str | None = None) -> str:
    """Run a Monitor command; returns what it printed."""
    return ""


def start_emulation() -> None:
    """Let virtual time pass."""


def reset_emulation() -> None:
    """Forget every machine."""


def create_terminal_tester(
    uart: str,
    timeout: float | None = None,
    machine: str | None = None,
    endLineOption: str | None = None,  # noqa: N803 - Renode's names
    defaultPauseEmulation: bool | None = None,  # noqa: N803
    defaultWaitForEcho: bool | None = None,  # noqa: N803
    defaultMatchNextLine: bool | None = None,  # noqa: N803
    binaryMode: bool = False,  # noqa: N803
) -> int:
    """Listen to a UART; returns the tester's id."""
    return 0


def wait_for_line_on_uart(
    content: str,
    timeout: float | None = None,
    testerId: int | None = None,  # noqa: N803
    treatAsRegex: bool = False,  # noqa: N803
    includeUnfinishedLine: bool = False,  # noqa: N803
    pauseEmulation: bool | None = None,  # noqa: N803
    matchNextLine: bool | None = None,  # noqa: N803
) -> dict[str, object]:
    """Wait in virtual seconds."""
    return {}


def wait_for_prompt_on_uart(
    prompt: str,
    testerId: int | None = None,  # noqa: N803
    timeout: float | None = None,
    treatAsRegex: bool = False,  # noqa: N803
    pauseEmulation: bool | None = None,  # noqa: N803
) -> dict[str, object]:
    """Wait for an unfinished line."""
    return {}


def send_key_to_uart(c: int, testerId: int | None = None) -> None:  # noqa: N803
    """One byte."""


def write_line_to_uart(
    content: str = "",
    testerId: int | None = None,  # noqa: N803
    waitForEcho: bool | None = None,  # noqa: N803
    pauseEmulation: bool | None = None,  # noqa: N803
) -> None:
    """A line and CR."""


def wait_for_bytes_on_uart(
    content: str,
    timeout: float | None = None,
    testerId: int | None = None,  # noqa: N803
    treatAsRegex: bool = False,  # noqa: N803
    pauseEmulation: bool | None = None,  # noqa: N803
    matchStart: bool | None = False,  # noqa: N803
) -> dict[str, object]:
    """Wait for bytes, on a tester made with binaryMode."""
    return {}

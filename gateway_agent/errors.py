"""An error whose text is for the person at the command line: it ends a command in one line."""

from protocols.exit_status import FAULT


class OperatorError(Exception):
    """The command ends with this text, and with ``exit_status``."""

    exit_status = FAULT

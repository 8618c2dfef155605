"""Puts the keys of proven boards into the station log, sealed to the gateways that enroll them."""

import getpass
import platform
from collections.abc import Sequence
from pathlib import Path

from boards.errors import BoardError
from boards.flash.key_files import key_file_name
from boards.provision import read_key
from protocols.station_log import SEALED, proven_boards

from . import station_log


def seal_keys(log: Path, keys: Path, recipients: Sequence[Path]) -> int:
    """Add a line for each proven board and recipient that has none; return how many. BoardError."""
    from protocols.enrolment import EnrolmentError, read_recipient, recipient_id, seal

    lines = station_log.chain(log).lines
    done = {
        (line.get("uid"), line.get("key_id"), line.get("recipient"))
        for line in lines
        if line.get("event") == SEALED
    }
    added = 0
    for path in recipients:
        try:
            public = read_recipient(path.read_bytes())
        except (OSError, EnrolmentError) as error:
            raise BoardError(
                f"{path}: {error}; name the .pub file that `tianfu-gateway keygen enroll` made"
            ) from error
        recipient = recipient_id(public)
        for uid, line in proven_boards(lines).items():
            key_id = line.get("key_id")
            if not isinstance(key_id, int) or (uid, key_id, recipient) in done:
                continue
            try:
                sealed = seal(read_key(keys / key_file_name(uid, key_id))[1], uid, public)
            except EnrolmentError as error:
                raise BoardError(f"{keys}: {error}") from error
            who = {"who": getpass.getuser(), "station": platform.node()}
            fields = {"event": SEALED, "uid": uid, **who, "key_id": key_id}
            station_log.append(log, {**fields, "recipient": recipient, "sealed": sealed})
            added += 1
    return added

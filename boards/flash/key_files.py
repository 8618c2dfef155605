"""The files of nodes' keys on the station: made for one board each, and readable for their owner.

A name has what the board is called and the number of the key, which the board never had before.
"""

import secrets
from pathlib import Path

from boards.provision import ProvisionError, write_new
from boards.records import key_content
from boards.secret import wipe
from protocols.wire.node_key import parse

from .errors import KEY_FILE, FlashingError
from .plan import FlashPlan, FoundBoard


def new_key_file(plan: FlashPlan, board: FoundBoard) -> Path:
    """Make the key of a plan, and a file for it that its owner alone may read. BoardError."""
    path = plan.keys / key_file_name(board.name, plan.key_id)
    try:
        plan.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FlashingError(KEY_FILE, f"{path}: {error}") from error
    _write_key(path, key_content(plan.key_id, secrets.token_hex(32), board.uid or None))
    return path


def named_key_file(path: Path, uid: str) -> Path:
    """Give a key, which was made for a USB serial number, the unique id that its node has shown.

    At any time one of the two files has the key. BoardError.
    """
    try:
        content = path.read_bytes()
        key = parse(content)
        named = path.with_name(key_file_name(uid, key.key_id))
        _write_key(named, key_content(key.key_id, key.key.hex(), uid))
        wipe(content, key.key)
        path.unlink()
    except OSError as error:
        raise FlashingError(KEY_FILE, f"{path}: {error}") from error
    return named


def _write_key(path: Path, content: bytes) -> None:
    """Write a key file and overwrite what is held of it. FlashingError."""
    try:
        write_new(path, content)
    except ProvisionError as error:
        raise FlashingError(KEY_FILE, f"{path}: {error}") from error
    finally:
        wipe(content)


def key_file_name(uid: str, key_id: int) -> str:
    """Return the name of the file with a board's key."""
    return f"{uid}-{key_id}.json"


def key_ids(keys: Path, board: FoundBoard) -> list[int]:
    """Return the ids of the keys in the folder that may be a board's."""
    names = [path.stem.rpartition("-") for path in keys.glob("*-*.json")]
    return [int(number) for name, _, number in names if number.isdecimal() and board.may_be(name)]

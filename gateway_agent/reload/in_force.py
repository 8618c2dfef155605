"""Which configuration is in force, across every kind of end that the agent may meet.

One file of the state directory keeps the configuration that last proved itself, together with the
SHA-256 that the operator's file had then. A start takes the operator's file if that was edited
since, and else the kept text. So one rule answers every case: a change that was undone stays
undone, one that came from elsewhere than the file stays in force, and an agent that is killed while
a change is on probation starts with what worked before it.
"""

import hashlib
import logging
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from gateway_agent.config import GatewayConfig, parse
from gateway_agent.directories import make_directory
from gateway_agent.state_file import read_state, write_state
from gateway_agent.tables import ConfigError, read_file, toml_of
from protocols.text_of_others import printable

log = logging.getLogger(__name__)

FILE_NAME: Final = "configuration.json"


def digest_of(text: str) -> str:
    """Return the SHA-256 of a configuration, as the stream and ``status`` show it."""
    return hashlib.sha256(text.encode()).hexdigest()


class KeptConfig(Struct, frozen=True, kw_only=True):
    """What the file of the state directory holds."""

    file_digest: str  # of the operator's file when this was decided
    text: str  # the configuration in force
    origin: str  # where it is from, for people


class ConfigSource(NamedTuple):
    """A configuration with the text it was read from. ``path``: the operator's file.

    File names in the text are relative to the folder of ``path``, wherever the text is from.
    """

    path: Path
    text: str
    config: GatewayConfig
    origin: str

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the text."""
        return digest_of(self.text)

    @property
    def is_own_file(self) -> bool:
        """Return whether the text is that of the operator's file."""
        return printable(self.origin) == printable(str(self.path))


def source_of(text: str, path: Path, origin: str) -> ConfigSource:
    """Check a text whole. ConfigError with every problem of it."""
    return ConfigSource(path, text, parse(toml_of(text.encode(), path), path), origin)


def file_source(path: Path) -> ConfigSource:
    """Read the operator's file. ConfigError with every problem of it."""
    data = read_file(path)
    config = parse(toml_of(data, path), path)
    return ConfigSource(path, data.decode(), config, str(path))


def source_at_start(path: Path) -> ConfigSource:
    """Return what is in force for an agent that starts now. ConfigError: nothing usable is.

    The operator's file has to be usable in any case: it names the state directory.
    """
    found = file_source(path)
    kept = read_kept(found.config.gateway.state_dir)
    if kept is None or kept.file_digest != found.digest or kept.text == found.text:
        return found
    try:
        older = source_of(kept.text, path, kept.origin)
    except ConfigError as error:
        log.error("%s: what was in force cannot be used, so the file is: %s", path, error)
        return found
    log.warning(
        "%s is not in force: a reload of it was undone or did not end, or something else was"
        " ordered since. In force: %s (SHA-256 %.12s). To try the file again: `tianfu-gateway"
        " reload`",
        *(path, older.origin, older.digest),
    )
    return older


def read_kept(state_dir: Path) -> KeptConfig | None:
    """Return what the file of a state directory holds; None if there is none that can be read."""
    return read_state(state_dir / FILE_NAME, KeptConfig, "the operator's file is in force")


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of the operator's file; "" if it is gone: what comes then is new."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except ConfigError:
        return ""


def keep(source: ConfigSource, file_digest: str) -> None:
    """Keep ``source`` as the configuration in force, durably. OSError.

    ``file_digest``: of the operator's file when that was decided.
    """
    kept = KeptConfig(file_digest=file_digest, text=source.text, origin=source.origin)
    directory = source.config.gateway.state_dir
    make_directory(directory)
    write_state(directory / FILE_NAME, kept)

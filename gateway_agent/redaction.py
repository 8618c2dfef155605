"""Take secrets out of what leaves the machine: a support bundle may be mailed and stored anywhere.

Three rules, all applied: values whose key says that they are secret, every secret of the files and
the environment wherever else it stands, and what looks like a secret in text of any origin.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

REMOVED: Final = "(removed)"
_SHORTEST: Final = 4  # characters; what is shorter stands in every text by chance
_LARGEST: Final = 65_536  # bytes of a file of secrets
_NAME: Final = re.compile(
    r"pass|secret|token|credential|private|api_?key|(?:^|_)(?:key|pw|psk|pin)(?:$|_|s$)",
    re.IGNORECASE,
)
_TEXTS: Final = (
    # user:password@ in any URL
    (re.compile(r"(\w+://)[^\s/@\"']+@"), rf"\1{REMOVED}@"),
    # password=..., "token": "...", Authorization: Bearer ...
    (
        re.compile(
            r"((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|psk|bearer|basic)"
            r"[\"']?\s*(?:[:=]\s*|\s)[\"']?)(?!\s)[^\s\"',;&]+",
            re.IGNORECASE,
        ),
        rf"\1{REMOVED}",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^\n]*|\Z)", re.DOTALL), REMOVED),
    # A key as it is written: 16 bytes or more in hex. Unique ids of nodes have 12.
    (re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}){16,}(?![0-9a-fA-F])"), REMOVED),
)


def public_url(url: str) -> str:
    """Return an address without what follows its path, which may be secret."""
    head, mark, _ = url.partition("?")
    return head + mark + REMOVED if mark else head


def is_secret_name(name: str) -> bool:
    """Return whether a key or variable of this name holds a secret."""
    return _NAME.search(name) is not None


class Redactor:
    """Knows the secrets of a machine and takes them out."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def learn(self, secret: str) -> None:
        """Take a secret out wherever it stands, also in the usual encodings."""
        secret = secret.strip()
        if len(secret) >= _SHORTEST and secret != REMOVED:
            data = secret.encode()
            forms = (quote(secret, safe=""), base64.b64encode(data).decode().rstrip("="))
            self._secrets |= {secret, json.dumps(secret)[1:-1], data.hex(), *forms}

    def learn_file(self, path: Path) -> None:
        """Take out what a file of secrets holds; one that cannot be read holds none for us."""
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST).decode("utf-8", errors="replace")
        except OSError:
            return
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            self._learn_fields(fields)
            return
        for line in text.splitlines():
            if not line.startswith(("-----", "key id:", "#")):
                self.learn(line)

    def learn_environment(self, variables: Mapping[str, str]) -> None:
        """Take out the values of variables whose names say that they are secret."""
        for name, value in variables.items():
            if is_secret_name(name):
                self.learn(value)

    def _learn_fields(self, fields: Mapping[str, object]) -> None:
        for name, value in fields.items():
            if isinstance(value, str) and is_secret_name(name):
                self.learn(value)

    def tables(self, value: object, folder: Path, name: str = "") -> object:
        """Return a configuration without its secrets, and learn them and those of its files.

        ``folder``: what names of files are relative to. The name of a file is no secret.
        """
        if isinstance(value, Mapping):
            return {key: self.tables(item, folder, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tables(item, folder, name) for item in value]
        if not is_secret_name(name) or isinstance(value, bool):
            return self.text(value) if isinstance(value, str) else value
        if isinstance(value, str) and value and (folder / value).is_file():
            self.learn_file(folder / value)
            return value
        self.learn(str(value))
        return REMOVED

    def text(self, text: str) -> str:
        """Return text of any origin without secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, REMOVED)
        for pattern, instead in _TEXTS:
            text = pattern.sub(instead, text)
        return text

    def value(self, value: object) -> object:
        """Return what JSON can hold, with every text in it cleaned."""
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): REMOVED
                if isinstance(item, str) and is_secret_name(str(key))
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value


def secret_files(folders: Iterable[Path]) -> list[Path]:
    """Return the small files below ``folders`` that their owner alone may read, databases apart."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            try:
                state = path.stat()
            except OSError:
                continue
            is_private = path.is_file() and not state.st_mode & 0o077
            if is_private and state.st_size <= _LARGEST and not path.name.startswith("outbox."):
                found.append(path)
    return found

"""TOML tables into typed structs, with every problem found in one pass.

msgspec stops at the first wrong value. A technician on site has one editor and little patience:
all wrong keys come at once here, each with file, key path, value, what was expected and what to
write instead. What is expected and an example come from the field's ``msgspec.Meta``.
"""

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, Union, get_args, get_origin

import msgspec

MAX_FILE_BYTES: Final = 1 << 20  # a gateway of 300 devices writes about 60 kB of configuration

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file. ``key`` is a path such as ``bus[0].device[2].unit``."""

    file: str
    key: str
    value: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.file}: {self.key or '(file)'}: expected {self.expected}, got {self.value}; "
            f"{self.remedy}"
        )


class ConfigError(Exception):
    """A file cannot be used; ``problems`` has every reason (at least one)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join((head, *(f"  {problem}" for problem in self.problems)))


def read_toml(path: Path) -> dict[str, object]:
    """The tables of a TOML file; ConfigError if it is absent, too large or no TOML."""

    def fail(value: str, expected: str, remedy: str) -> ConfigError:
        return ConfigError([Problem(str(path), "", value, expected, remedy)])

    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise fail(
            error.strerror or "an error", "a readable file", "check the path and its rights"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise fail("a larger file", f"at most {MAX_FILE_BYTES} bytes", "split it or remove text")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise fail(f"byte 0x{data[error.start]:02x} at offset {error.start}", "UTF-8 text",
                   "save the file as UTF-8") from error  # fmt: skip
    except tomllib.TOMLDecodeError as error:
        raise fail(str(error), "TOML", "correct the line it names") from error


def shown(value: object) -> str:
    """A value as it stands in TOML, short enough for one line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, dict):
        text = "a table"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


class TableReader:
    """Builds structs from one file's tables and collects what is wrong with them.

    A field of type ``Path`` is taken relative to the file's own directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.built: list[tuple[str, msgspec.Struct]] = []  # (key, struct) of every good table

    def problem(self, key: str, value: object, expected: str, remedy: str) -> None:
        """Note a problem found by the caller's own check."""
        text = "nothing" if value is None else shown(value)
        self.problems.append(Problem(str(self.path), key, text, expected, remedy))

    def raise_if_any(self) -> None:
        """ConfigError with all problems so far, if there are any."""
        if self.problems:
            raise ConfigError(self.problems)

    def build(self, struct: type[S], table: object, key: str) -> S | None:
        """The struct, or None if one of its own fields is wrong (noted).

        Elements of arrays of tables that are wrong are noted and left out, so that the checks
        that need the good ones can still be made.
        """
        if not isinstance(table, dict):
            self.problem(key, table, "a table", f"write a [{key}] table")
            return None
        hints = typing.get_type_hints(struct, include_extras=True)
        fields = msgspec.structs.fields(struct)
        names = [field.encode_name for field in fields]
        prefix = f"{key}." if key else ""
        for name in table:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, 1, 0.6)
                hint = f"did you mean `{close[0]}`?" if close else "remove it"
                self.problem(prefix + str(name), table[name], f"one of {', '.join(names)}", hint)
        values: dict[str, object] = {}
        complete = True
        for field in fields:
            annotation = hints[field.name]
            at = prefix + field.encode_name
            if field.encode_name not in table:
                if field.required:
                    complete = False
                    self.problem(at, None, _expected(annotation), _remedy(at, annotation))
                continue
            good, value = self._value(annotation, table[field.encode_name], at)
            complete = complete and good
            values[field.name] = value
        if not complete:
            return None
        built = struct(**values)
        self.built.append((key, built))
        return built

    def _value(self, annotation: object, value: object, key: str) -> tuple[bool, object]:
        inner = _strip(annotation)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            built = self.build(inner, value, key)
            return built is not None, built
        if get_origin(inner) is tuple:
            (element, *_) = get_args(inner)
            if isinstance(element, type) and issubclass(element, msgspec.Struct):
                return self._structs(element, value, key)
        try:
            if inner is Path:
                text = msgspec.convert(value, typing.Annotated[str, msgspec.Meta(min_length=1)])
                return True, (self.path.parent / text).absolute()
            return True, msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            self.problem(key, value, _expected(annotation, str(error)), _remedy(key, annotation))
            return False, None

    def _structs(
        self, element: type[msgspec.Struct], value: object, key: str
    ) -> tuple[bool, object]:
        if not isinstance(value, list):
            self.problem(key, value, "an array of tables", f"write [[{key}]] tables")
            return False, ()
        built = (self.build(element, item, f"{key}[{i}]") for i, item in enumerate(value))
        return True, tuple(item for item in built if item is not None)


def _metas(annotation: object) -> list[msgspec.Meta]:
    metas: list[msgspec.Meta] = []
    if get_origin(annotation) is typing.Annotated:
        inner, *rest = get_args(annotation)
        metas = [meta for meta in rest if isinstance(meta, msgspec.Meta)] + _metas(inner)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            metas += _metas(part)
    return metas


def _strip(annotation: object) -> object:
    """The type without ``Annotated`` and ``| None``."""
    if get_origin(annotation) is typing.Annotated:
        return _strip(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not types.NoneType]
        if len(parts) == 1:
            return _strip(parts[0])
    return annotation


def _expected(annotation: object, message: str = "") -> str:
    for meta in _metas(annotation):
        if meta.description:
            return meta.description
    inner = _strip(annotation)
    if get_origin(inner) is tuple:
        return "an array of tables"
    if get_origin(inner) is typing.Literal:
        return "one of " + ", ".join(shown(value) for value in get_args(inner))
    if message.startswith("Expected "):
        return message.removeprefix("Expected ").split(", got")[0]
    names: dict[object, str] = {str: "text", int: "an integer", bool: "true or false"}
    names[Path] = "a file name"
    names[float] = "a number"
    return names.get(inner, "a table")


def _remedy(key: str, annotation: object) -> str:
    name = key.rpartition(".")[2]
    for meta in _metas(annotation):
        for example in meta.examples or ():
            return f"write for instance {name} = {shown(example)}"
    inner = _strip(annotation)
    if get_origin(inner) is tuple:
        path = re.sub(r"\[\d+\]", "", key)
        return f"add a [[{path}]] table"
    if get_origin(inner) is typing.Literal:
        return f"write for instance {name} = {shown(get_args(inner)[0])}"
    return f"set {name} as the example configuration does"

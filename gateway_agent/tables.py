"""Turns TOML tables into typed structs, and finds every problem of a file in one pass.

msgspec stops at the first wrong value. A technician on site has one editor and little patience:
all wrong keys come at once here, each with file, key path, value, what was expected and what to
write instead. What is expected and what to write come from the field's ``msgspec.Meta``.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar, get_args

import msgspec

from gateway_agent.errors import OperatorError
from protocols.exit_status import UNUSABLE
from protocols.text_of_others import printable

from .table_types import (
    FILE_SUFFIX,
    TableKinds,
    TableShape,
    expected_of,
    extra_of,
    fields_of,
    is_table,
    is_table_array,
    kinds_of,
    remedy_of,
    shown,
    strip,
    without_indexes,
)

BYTE_ORDER_MARK: Final = "\ufeff"  # editors on Windows begin a file of UTF-8 with it
# Quotes that editors and input methods put in the place of plain ones.
_QUOTES: Final = {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"}
MAX_FILE_BYTES: Final = 4 << 20  # 4,096 buses with a device each take about 700 kB

S = TypeVar("S", bound=msgspec.Struct)


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in one file. ``key`` is a path such as ``bus[0].device[2].unit``."""

    file: str
    key: str
    value: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return printable(
            f"{self.file}: {self.key or '(file)'}: expected {self.expected}, got {self.value}; "
            f"{self.remedy}"
        )


class ConfigError(OperatorError):
    """A file cannot be used; ``problems`` has every reason (at least one)."""

    exit_status = UNUSABLE

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join((head, *(f"  {problem}" for problem in self.problems)))


def read_toml(path: Path) -> dict[str, object]:
    """Return the tables of a TOML file; ConfigError if it is absent, too large or no TOML."""
    return toml_of(read_file(path), path)


def read_file(path: Path) -> bytes:
    """Return what is in a file; ConfigError if it is absent or too large."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unusable(
            path, error.strerror or "an error", "a readable file", "check the path and its rights"
        ) from error


def toml_of(data: bytes, path: Path) -> dict[str, object]:
    """Return the tables in what is, or may come to be, in a file; ConfigError as above."""
    if len(data) > MAX_FILE_BYTES:
        text = f"at most {MAX_FILE_BYTES} bytes"
        raise _unusable(path, "a larger file", text, "split it or remove text")
    try:
        return tomllib.loads(data.decode("utf-8").removeprefix(BYTE_ORDER_MARK))
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise _unusable(path, found, "UTF-8 text", "save the file as UTF-8") from error
    except RecursionError as error:
        found, remedy = "lists or tables within each other, without an end", "correct the brackets"
        raise _unusable(path, found, "TOML", remedy) from error
    except tomllib.TOMLDecodeError as error:
        raise _unusable(path, *_wrong_line(data.decode("utf-8"), str(error))) from error


def _unusable(path: Path, value: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(str(path), "", value, expected, remedy)])


def _wrong_line(text: str, message: str) -> tuple[str, str, str]:
    """Return what a file has instead of TOML, and what to do: the line, if one is named."""
    remedy = "correct the line it names"
    found = re.search(r"at line (\d+)", message)
    if found is None:
        return message, "TOML", remedy
    line = text.split("\n")[int(found[1]) - 1].strip()
    for char in line.partition("#")[0]:
        plain = _QUOTES.get(char) or unicodedata.normalize("NFKC", char)
        if not char.isascii() and plain.isascii() and plain.strip():
            remedy = f"write {plain} instead of {char}, which is another character"
            break
    return f"{message}: {shown(line)}", "TOML", remedy


class TableReader:
    """Builds structs from one file's tables and collects what is wrong with them.

    A table of several kinds is a union of tagged structs; its tag selects the one to build. A value
    of type ``Path`` is relative to the file's own directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._built: list[tuple[str, msgspec.Struct]] = []  # (key, struct) of every good table

    def problem(self, key: str, value: object, expected: str, remedy: str) -> None:
        """Note a problem found by the caller's own check."""
        text = "nothing" if value is None else shown(value)
        self.problems.append(Problem(str(self.path), key, text, expected, remedy))

    def result(self, built: S | None) -> S:
        """Return what :meth:`build` gave; ConfigError with all problems if there are any."""
        if built is None or self.problems:
            raise ConfigError(self.problems)
        return built

    def built_of(self, *structs: type[S]) -> Iterator[tuple[str, S]]:
        """Yield every good table of these types with its key, in the order of the file."""
        for key, struct in self._built:
            if isinstance(struct, structs):
                yield key, struct

    def unique(
        self,
        values: Iterable[tuple[str, object]],
        expected: str,
        remedy: str = "change one of them",
    ) -> None:
        """Note a problem for each (key, value) whose value an earlier one has."""
        seen: dict[object, str] = {}
        for key, value in values:
            if value in seen:
                self.problem(key, value, expected, f"{seen[value]} has it already: {remedy}")
            seen.setdefault(value, key)

    def build(self, struct: type[S], table: object, key: str) -> S | None:
        """Return the struct, or None if one of its own fields is wrong (noted).

        Elements of arrays of tables that are wrong are noted and left out, so that the checks
        that need the good ones can still be made.
        """
        if not isinstance(table, dict):
            self.problem(key, table, "a table", f"write a [{without_indexes(key)}] table")
            return None
        return self._build(struct, TableShape(fields_of(struct)), table, key)

    def _build(
        self, struct: type[S], shape: TableShape, table: dict[str, object], key: str
    ) -> S | None:
        self._check_keys(shape, table, key)
        values = self._values(shape, table, key)
        if values is None:
            return None
        built = struct(**values)
        self._built.append((key, built))
        return built

    def _check_keys(self, shape: TableShape, table: dict[str, object], key: str) -> None:
        """Note the keys that the table must not have."""
        names = [shape.tag, *shape.fields] if shape.tag else list(shape.fields)
        for name, value in table.items():
            if name in names:
                continue
            at = _join(key, name)
            if name not in shape.foreign:
                import difflib  # only for a file with a mistake

                close = difflib.get_close_matches(name, names, 1, 0.6)
                hint = f"did you mean `{close[0]}`?" if close else "remove it"
                self.problem(at, value, f"one of {', '.join(names)}", hint)
            elif shape.reason:
                remedy = f"remove {name} or change {shape.tag}"
                self.problem(at, value, f"no {name}, {shape.reason}", remedy)

    def _values(
        self, shape: TableShape, table: dict[str, object], key: str
    ) -> dict[str, object] | None:
        """Return the values of the fields; None if one is wrong or absent (noted)."""
        values: dict[str, object] = {}
        complete = True
        for name, field in shape.fields.items():
            at = _join(key, name)
            if name in table:
                good, values[field.name] = self._value(field.annotation, table[name], at)
                complete = complete and good
            elif field.required:
                complete = False
                expected = expected_of(field.annotation)
                if shape.reason and name not in shape.common:
                    expected += f", {shape.reason}"
                self.problem(at, None, expected, remedy_of(at, field.annotation))
        return values if complete else None

    def _build_kind(self, kinds: TableKinds, table: object, key: str) -> msgspec.Struct | None:
        if not isinstance(table, dict):
            self.problem(key, table, "a table", f"write a [{without_indexes(key)}] table")
            return None
        kind = table.get(kinds.tag, kinds.default)
        if isinstance(kind, str) and kind in kinds.members:
            return self._build(kinds.members[kind], kinds.shape(kind), table, key)
        expected = "one of " + ", ".join(shown(known) for known in kinds.members)
        remedy = f"write for instance {kinds.tag} = {shown(next(iter(kinds.members)))}"
        self.problem(_join(key, kinds.tag), kind, expected, remedy)
        # What does not depend on the kind is checked all the same.
        shape = kinds.common_shape()
        self._check_keys(shape, table, key)
        self._values(shape, table, key)
        return None

    def _value(self, annotation: object, value: object, key: str) -> tuple[bool, object]:
        inner = strip(annotation)
        if is_table(inner):
            built = self._table(annotation, value, key)
            return built is not None, built
        if is_table_array(inner):
            return self._tables(get_args(inner)[0], value, key)
        try:
            good = msgspec.convert(value, annotation, dec_hook=self._path)
        except msgspec.ValidationError as error:
            self.problem(
                key, value, expected_of(annotation, str(error)), remedy_of(key, annotation)
            )
            return False, None
        suffix = extra_of(annotation, FILE_SUFFIX)
        if suffix and isinstance(good, str) and good.endswith(suffix):
            good = str(self._path(Path, good))
        return True, good

    def _table(self, annotation: object, value: object, key: str) -> msgspec.Struct | None:
        kinds = kinds_of(annotation)
        if kinds is not None:
            return self._build_kind(kinds, value, key)
        struct = strip(annotation)
        assert isinstance(struct, type)  # see is_table
        return self.build(struct, value, key)

    def _tables(self, element: object, value: object, key: str) -> tuple[bool, object]:
        if not isinstance(value, list):
            path = without_indexes(key)
            self.problem(key, value, "an array of tables", f"write [[{path}]] tables")
            return False, ()
        built = [self._table(element, item, f"{key}[{i}]") for i, item in enumerate(value)]
        return True, tuple(item for item in built if item is not None)

    def _path(self, kind: object, value: object) -> Path:
        """Return a file name of the file as a path; msgspec calls it for each ``Path``."""
        if kind is not Path or not isinstance(value, str) or not value:
            raise ValueError("Expected a file name")
        return (self.path.parent / value).absolute()


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name

"""Reads from the type of a configuration field how its value has to look in the file.

:mod:`gateway_agent.tables` reads a file with it: which keys a table has, which kinds it comes in,
what is expected and what to write instead.
"""

import functools
import re
import types
import typing
from pathlib import Path
from typing import Final, Union, get_args, get_origin

import msgspec

# Keys of ``Meta.extra``.
REMEDY: Final = "remedy"  # what to write instead, where an example is not enough
FILE_SUFFIX: Final = "file_suffix"  # a text that ends so is a file name, relative to the file


class DefaultTag(msgspec.Struct, frozen=True):
    """The kind of a table that names none: ``Annotated[A | B, DefaultTag("a")]``."""

    tag: str


class TableField(msgspec.Struct, frozen=True):
    """One key of a table. ``name`` is the field of the struct."""

    name: str
    annotation: object
    required: bool


class TableShape(msgspec.Struct, frozen=True):
    """The keys that a table may have; of a table that comes in kinds, those of its kind."""

    fields: dict[str, TableField]
    tag: str = ""  # the key that names the kind; empty: there is one kind only
    reason: str = ""  # `because kind = "node"`; empty: no kind, or an unknown one
    foreign: frozenset[str] = frozenset()  # keys that only other kinds have
    common: frozenset[str] = frozenset()  # keys that most kinds have


class TableKinds(msgspec.Struct, frozen=True):
    """The kinds that one table comes in: a tagged union. ``tag`` is the key that names the kind."""

    tag: str
    members: dict[str, type[msgspec.Struct]]
    default: str | None

    def shape(self, kind: str) -> TableShape:
        """Return the keys of a table of this kind."""
        fields = fields_of(self.members[kind])
        reason = f"because {self.tag} = {shown(kind)}"
        foreign = self._names() - fields.keys()
        return TableShape(fields, self.tag, reason, foreign, frozenset(self._common()))

    def common_shape(self) -> TableShape:
        """Return the keys that a table of most kinds has, in the same form."""
        fields = self._common()
        return TableShape(fields, self.tag, "", self._names() - fields.keys(), frozenset(fields))

    def _names(self) -> frozenset[str]:
        return frozenset(name for member in self.members.values() for name in fields_of(member))

    def _common(self) -> dict[str, TableField]:
        shapes = [fields_of(member) for member in self.members.values()]
        return {
            name: field
            for fields in shapes
            for name, field in fields.items()
            if 2 * sum(other.get(name) == field for other in shapes) > len(shapes)
        }


def shown(value: object) -> str:
    """Return a value as it stands in TOML, short enough for one line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, dict):
        text = "a table"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


@functools.cache
def fields_of(struct: type[msgspec.Struct]) -> dict[str, TableField]:
    """Return the fields of a struct by their keys in the file."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {
        field.encode_name: TableField(field.name, hints[field.name], field.required)
        for field in msgspec.structs.fields(struct)
    }


def kinds_of(annotation: object) -> TableKinds | None:
    """Return the kinds that a table of this type comes in; None if it has no tag."""
    default = None
    while get_origin(annotation) is typing.Annotated:
        annotation, *rest = get_args(annotation)
        default = next((item.tag for item in rest if isinstance(item, DefaultTag)), default)
    members = _members(annotation)
    field = members[0].__struct_config__.tag_field
    if field is None:
        return None
    return TableKinds(field, {str(item.__struct_config__.tag): item for item in members}, default)


def _members(annotation: object) -> list[type[msgspec.Struct]]:
    if get_origin(annotation) in (Union, types.UnionType):
        parts = get_args(annotation)
    else:
        parts = (annotation,)
    return [part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)]


def is_table(inner: object) -> bool:
    """Return whether values of this type (without ``Annotated``) are tables."""
    return bool(_members(inner))


def is_table_array(inner: object) -> bool:
    """Return whether values of this type (without ``Annotated``) are arrays of tables."""
    return get_origin(inner) is tuple and is_table(strip(get_args(inner)[0]))


def without_indexes(key: str) -> str:
    """Return ``bus[0].device`` as TOML names such a table: ``bus.device``."""
    return re.sub(r"\[\d+\]", "", key)


def _metas(annotation: object) -> list[msgspec.Meta]:
    metas: list[msgspec.Meta] = []
    if get_origin(annotation) is typing.Annotated:
        inner, *rest = get_args(annotation)
        metas = [meta for meta in rest if isinstance(meta, msgspec.Meta)] + _metas(inner)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            metas += _metas(part)
    return metas


def extra_of(annotation: object, name: str) -> str:
    """Return what a ``Meta`` of the type has under ``name`` in ``extra``, or an empty text."""
    for meta in _metas(annotation):
        if meta.extra and name in meta.extra:
            return str(meta.extra[name])
    return ""


def strip(annotation: object) -> object:
    """Return the type without ``Annotated`` and ``| None``."""
    if get_origin(annotation) is typing.Annotated:
        return strip(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not types.NoneType]
        if len(parts) == 1:
            return strip(parts[0])
    return annotation


def expected_of(annotation: object, message: str = "") -> str:
    """Return what a value of this type has to be; ``message`` is msgspec's own text."""
    for meta in _metas(annotation):
        if meta.description:
            return meta.description
    inner = strip(annotation)
    if get_origin(inner) is tuple:
        return "an array of tables" if is_table_array(inner) else "an array"
    if get_origin(inner) is typing.Literal:
        return "one of " + ", ".join(shown(value) for value in get_args(inner))
    if message.startswith("Expected "):
        return message.removeprefix("Expected ").split(", got")[0]
    names: dict[object, str] = {str: "text", int: "an integer", bool: "true or false"}
    names[Path] = "a file name"
    names[float] = "a number"
    return names.get(inner, "a table")


def remedy_of(key: str, annotation: object) -> str:
    """Return what to write for ``key`` instead of a wrong value, or of none."""
    own = extra_of(annotation, REMEDY)
    if own:
        return own
    name = key.rpartition(".")[2]
    for meta in _metas(annotation):
        for example in meta.examples or ():
            return f"write for instance {name} = {shown(example)}"
    inner = strip(annotation)
    if is_table_array(inner):
        return f"add a [[{without_indexes(key)}]] table"
    if get_origin(inner) is typing.Literal:
        return f"write for instance {name} = {shown(get_args(inner)[0])}"
    return f"set {name} as the example configuration does"

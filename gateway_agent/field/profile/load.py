"""Finds and reads profile files, with what they inherit, and checks them.

A profile that ``extends`` another one changes its points by name, key by key, adds its own, and
takes away those that it names in ``remove``. So a family of meters is one file with all points, and
a few lines for each model.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway_agent.tables import ConfigError, Problem, TableReader, read_toml
from protocols.wire.errors import LocalError

from .decode import template_of
from .language import MAX_POINTS, GroupSpec, PointSpec, ProfileHead
from .model import Profile
from .points import make_point
from .rules import mistakes

_MOST_LEVELS: Final = 5  # files that extend one another
_SHIPPED: Final = Path(__file__).with_name("shipped")
_OWN_KEYS: Final = ("name", "title", "source", "tried", "example", "extends", "remove")
_TABLES: Final = ("profile", "group", "point")

Table = dict[str, object]


class _Source:
    """A profile as it stands in its files: tables of TOML, the inherited ones merged in."""

    def __init__(self, path: Path, seen: tuple[Path, ...] = ()) -> None:
        self.reader = reader = TableReader(path)
        self.files: tuple[Path, ...] = (path,)
        tables = read_toml(path)
        for name in tables.keys() - set(_TABLES):
            reader.problem(name, tables[name], "one of " + ", ".join(_TABLES), "remove it")
        head = tables.get("profile")
        self.head: Table = dict(head) if isinstance(head, dict) else {}
        self.groups: dict[str, Table] = {}
        self.points: dict[str, Table] = {}
        self.keys: dict[str, str] = {}  # of the points that stand in this file
        self._has_head = isinstance(head, dict)
        base = self._base(path, (*seen, path))
        if base is not None:
            self._inherit(base)
        elif self.head.get("remove") and not self.head.get("extends"):
            reader.problem(
                "profile.remove",
                self.head["remove"],
                "nothing, because this profile extends no other",
                "remove it, or write extends",
            )
        groups = list(self._named("group", tables))
        self.groups |= dict(groups)
        reader.unique(
            [(f"group[{index}].name", name) for index, (name, _) in enumerate(groups)],
            "a name no other group has",
        )
        own = list(self._named("point", tables))
        names = [(f"{self.keys[name]}.name", name.rstrip()) for name, _ in own]
        reader.unique(names, "a name no other point has")
        for name, table in own:
            self.points[name] = self.points.get(name, {}) | table

    def _base(self, path: Path, seen: tuple[Path, ...]) -> "_Source | None":
        name = self.head.get("extends")
        if not isinstance(name, str) or not name:
            return None
        found = path.parent / name if name.endswith(".toml") else find_profile(name)
        if found.absolute() in seen or len(seen) > _MOST_LEVELS:
            chain = " extends ".join(item.name for item in (*seen, found))
            self.reader.problem(
                "profile.extends", name, f"at most {_MOST_LEVELS} files and no circle", chain
            )
            return None
        _check_shipped(name, str(self.reader.path), "profile.extends")
        base = _Source(found.absolute(), seen)
        base.build()  # its mistakes are reported by its own name
        return base

    def _inherit(self, base: "_Source") -> None:
        self.files += base.files
        inherited = {key: value for key, value in base.head.items() if key not in _OWN_KEYS}
        self.head = inherited | self.head
        self.groups = base.groups
        self.points = base.points
        removed = self.head.get("remove", ())
        for name in removed if isinstance(removed, list) else ():
            if self.points.pop(str(name), None) is None:
                known = ", ".join(base.points) or "none"
                self.reader.problem(
                    "profile.remove", name, "names of inherited points", f"they are: {known}"
                )

    def _named(self, kind: str, tables: Table) -> Iterator[tuple[str, Table]]:
        """Yield the tables of an array of tables with their names; one without gets its key."""
        array = tables.get(kind, [])
        if not isinstance(array, list):
            self.reader.problem(kind, array, "an array of tables", f"write [[{kind}]] tables")
            return
        for index, table in enumerate(array):
            key = f"{kind}[{index}]"
            name = table.get("name") if isinstance(table, dict) else None
            shown = name if isinstance(name, str) else key
            if kind == "point":
                while shown in self.keys:
                    shown += " "  # a name that is there twice is a problem of its own
                self.keys[shown] = key
            yield shown, table if isinstance(table, dict) else {"": table}

    def build(self) -> Profile:
        """Return the profile. ConfigError with every problem of this file."""
        reader = self.reader
        head = reader.build(ProfileHead, self.head if self._has_head else None, "profile")
        groups = [
            reader.build(GroupSpec, table, f"group[{index}]")
            for index, table in enumerate(self.groups.values())
        ]
        built = [
            (self.keys.get(name, f"point {name}"), table) for name, table in self.points.items()
        ]
        points = [(key, reader.build(PointSpec, table, key)) for key, table in built]
        good = [(key, point) for key, point in points if point is not None]
        known = [group.name for group in groups if group is not None]
        for key, point in good:
            if point.group and point.group not in known:
                reader.problem(
                    f"{key}.group", point.group, "the name of a [[group]] table", "add the table"
                )
            for mistake in mistakes(point, head) if head is not None else ():
                reader.problem(f"{key}.{mistake.key}", *mistake[1:])
        if not self.points and not any(item.key.startswith("point") for item in reader.problems):
            reader.problem("point", None, "an array of tables", "add a [[point]] table")
        elif len(self.points) > MAX_POINTS:
            count = f"1 to {MAX_POINTS} points"
            reader.problem("point", len(self.points), count, "take some away")
        head = reader.result(head)
        return Profile(
            head,
            tuple(make_point(point, head) for _, point in good),
            tuple(group for group in groups if group is not None),
            self.files,
        )


def shipped() -> list[str]:
    """Return the names of the profiles that come with the gateway."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def find_profile(name: str) -> Path:
    """Return the file of a profile: a shipped one, or the ``.toml`` file that is named."""
    if name.endswith(".toml"):
        return Path(name).absolute()
    return _SHIPPED / f"{name}.toml"


def _check_shipped(name: str, file: str, key: str) -> None:
    if not name.endswith(".toml") and name not in shipped():
        expected = "one of " + ", ".join(shipped())
        remedy = "name one of them, or a .toml file of your own"
        raise ConfigError([Problem(file, key, f'"{name}"', expected, remedy)])


def load_profile(name: str) -> Profile:
    """Read and check a profile. ConfigError with every problem."""
    _check_shipped(name, "profile", name)
    path = find_profile(name)
    profile = _Source(path).build()
    try:
        # The record format has rules of its own (reserved names, length of a record).
        template_of(profile.points, "check")
    except LocalError as error:
        raise ConfigError(
            [Problem(str(path), "point", str(error.got), str(error.expected), error.message)]
        ) from error
    return profile

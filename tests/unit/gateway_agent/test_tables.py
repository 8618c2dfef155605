"""The reader of tables on made-up structs: kinds, a kind that need not be named, file names."""

from pathlib import Path
from typing import Annotated, TypeAlias

import pytest
from msgspec import Meta, Struct

from gateway_agent.table_types import FILE_SUFFIX, REMEDY, DefaultTag
from gateway_agent.tables import ConfigError, TableReader, read_toml

FILE = Path("/etc/site/file.toml")


class Radio(Struct, frozen=True, kw_only=True, tag_field="type", tag="radio"):
    """A table of one kind."""

    name: str
    channel: Annotated[int, Meta(ge=1, le=9, description="a channel from 1 to 9")]


class Wire(Struct, frozen=True, kw_only=True, tag_field="type", tag="wire"):
    """The same table of another kind."""

    name: str
    pins: tuple[int, ...]
    log: Path | None = None


Link: TypeAlias = Annotated[Radio | Wire, DefaultTag("radio")]
Named: TypeAlias = Radio | Wire


class Whole(Struct, frozen=True, kw_only=True):
    """A file."""

    link: Link
    more: tuple[Named, ...] = ()
    files: tuple[Path, ...] = ()
    recipe: Annotated[str, Meta(extra={FILE_SUFFIX: ".toml"})] = "none"
    owner: Annotated[str, Meta(pattern="^[a-z]+$", extra={REMEDY: "ask the office"})] = "x"


def read(**tables: object) -> Whole:
    reader = TableReader(FILE)
    return reader.result(reader.build(Whole, tables, ""))


def problems(**tables: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(**tables)
    return [str(problem).removeprefix(f"{FILE}: ") for problem in caught.value.problems]


RADIO = {"name": "r", "channel": 3}


def test_a_kind_that_need_not_be_named() -> None:
    assert read(link=RADIO) == Whole(link=Radio(name="r", channel=3))
    assert read(link={"type": "radio", **RADIO}) == read(link=RADIO)
    wire = read(link={"type": "wire", "name": "w", "pins": [1, 2]})
    assert wire == Whole(link=Wire(name="w", pins=(1, 2)))


def test_a_kind_that_must_be_named() -> None:
    (line,) = problems(link=RADIO, more=[RADIO])
    assert line == (
        'more[0].type: expected one of "radio", "wire", got nothing; '
        'write for instance type = "radio"'
    )


def test_keys_of_another_kind() -> None:
    assert problems(link={**RADIO, "pins": [1]}) == [
        'link.pins: expected no pins, because type = "radio", got [1]; remove pins or change type'
    ]
    lines = problems(link={"type": "wire", **RADIO})
    assert [line.partition(",")[0] for line in lines] == [
        "link.channel: expected no channel",
        "link.pins: expected an array",
    ]


def test_a_wrong_kind_hides_nothing_that_all_kinds_have() -> None:
    lines = problems(link={"type": "smoke", "name": 5, "channel": 99, "nmae": "r"})
    assert [line.partition(":")[0] for line in lines] == ["link.type", "link.nmae", "link.name"]


def test_good_tables_are_found_by_type_with_their_keys() -> None:
    reader = TableReader(FILE)
    wire = {"type": "wire", "name": "w", "pins": []}
    reader.build(Whole, {"link": RADIO, "more": [wire, {"type": "radio"}]}, "")
    assert [key for key, _ in reader.built_of(Radio, Wire)] == ["link", "more[0]"]
    assert [key for key, _ in reader.built_of(Wire)] == ["more[0]"]


def test_file_names_are_relative_to_the_file() -> None:
    whole = read(link=RADIO, files=["a", "/b"], recipe="soup.toml")
    assert whole.files == (Path("/etc/site/a"), Path("/b"))
    assert whole.recipe == "/etc/site/soup.toml"
    assert read(link=RADIO, recipe="soup").recipe == "soup"
    (line,) = problems(link={"type": "wire", "name": "w", "pins": [], "log": ""})
    assert line.startswith('link.log: expected a file name, got ""')


def test_remedies_name_tables_as_toml_does() -> None:
    assert problems(link=RADIO, more=[5])[0].endswith("write a [more] table")
    assert problems(link=RADIO, more=5)[0].endswith("write [[more]] tables")


def test_a_remedy_of_its_own() -> None:
    (line,) = problems(link=RADIO, owner="5")
    assert line.endswith('got "5"; ask the office')


def test_what_stands_twice_is_reported_where_it_stands_again() -> None:
    reader = TableReader(FILE)
    reader.unique([("a", 1), ("b", 2), ("c", 1), ("d", 1)], "another number")
    assert [str(problem).removeprefix(f"{FILE}: ") for problem in reader.problems] == [
        "c: expected another number, got 1; a has it already: change one of them",
        "d: expected another number, got 1; a has it already: change one of them",
    ]


@pytest.mark.parametrize("text", ["a = " + 20_000 * "[", "a = " + 5_000 * "{b = "])
def test_brackets_without_an_end_are_a_problem_of_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="without an end; correct the brackets"):
        read_toml(path)

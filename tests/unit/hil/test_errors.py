"""The error tree: every error of the bench is a HilError, and no two have one name."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

import hil
from hil.errors import HilError, ImageError, ReplError, Unsupported


def errors() -> set[type[BaseException]]:
    """Every exception class that a module of hil defines."""
    found: set[type[BaseException]] = set()
    for module in pkgutil.walk_packages(hil.__path__, "hil."):
        if module.name.startswith(("hil.scenarios.", "hil.robot.", "hil.boot_rom.stand_in_node")):
            continue  # tests, keywords, and what MicroPython runs, which define none
        for value in vars(importlib.import_module(module.name)).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseException)
                and value.__module__.startswith("hil.")
            ):
                found.add(value)
    return found


def test_every_error_has_the_one_root() -> None:
    assert [error for error in errors() if not issubclass(error, HilError)] == []


def test_every_error_has_a_name_of_its_own() -> None:
    names = Counter(error.__name__ for error in errors())
    assert [name for name, count in names.items() if count > 1] == []


def test_errors_carry_what_the_reader_needs() -> None:
    refused = Unsupported("unix", "repl", "the console takes no input")
    assert str(refused) == "engine unix has no repl: the console takes no input"
    assert (refused.engine, refused.capability) == ("unix", "repl")
    assert ReplError("it raised", "Traceback").traceback == "Traceback"
    assert ImageError("no image", "build one").remedy == "build one"

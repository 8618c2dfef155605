"""The record store's C code, compiled for the host once per run."""

from ctypes import CDLL

import pytest

from hil.errors import NoCompilerError
from hil.flash.model import build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> CDLL:
    """``record_store.c`` as a shared library; skips loudly where there is no C compiler."""
    try:
        return build(tmp_path_factory.mktemp("record_store"))
    except NoCompilerError as error:
        pytest.skip(f"NOT TESTED: the record store's C code: {error}")

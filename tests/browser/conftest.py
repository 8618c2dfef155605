"""An option: where the pictures of the documents are written."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-pictures", action="store_true", help="renew docs/console/*.png")

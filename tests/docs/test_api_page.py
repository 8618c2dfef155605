"""docs/api.md lists the faces of the packages as they are."""

import pytest

from tests.tools import api_page


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert api_page.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_names_functions_with_their_parameters_and_constants_with_their_value() -> None:
    text = api_page.render()
    assert "| `open_batch(data, key_lookup)` | Read a batch: structure, signature," in text
    assert "| `GAP` | `3`; readings that are missing, and why |" in text
    assert "\n## gateway_agent.collector\n" in text

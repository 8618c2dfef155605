"""The vectors of an update are those that their tool makes without the product."""

from tests.tools.update_vectors import main


def test_the_file_is_what_the_tool_writes() -> None:
    assert main([]) == 0

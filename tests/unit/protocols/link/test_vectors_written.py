"""The vectors are those that the independent program writes."""

from tests.tools.link_vectors import TARGET, text


def test_the_file_is_what_the_program_writes() -> None:
    assert TARGET.read_text(encoding="utf-8") == text()

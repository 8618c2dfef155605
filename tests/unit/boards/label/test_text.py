"""The text in a label's code: any one wrong character is noticed."""

import string

import pytest

from boards.label import LabelError, LabelIdentity, check_characters, read_back

UID = "0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("ISO 79", "3W"),  # the example of ISO/IEC 7064
        ("iso79", "3W"),
        ("", "01"),
    ],
)
def test_the_check_characters_are_those_of_the_standard(text: str, check: str) -> None:
    assert check_characters(text) == check


def test_a_text_with_its_check_has_the_remainder_one() -> None:
    """As the standard defines the system: the whole number modulo 1271 is 1."""
    text = LabelIdentity("madeup405", UID).text
    digits = [int(each, 36) for each in text if each != "|"]
    assert sum(digit * 36**place for place, digit in enumerate(reversed(digits))) % 1271 == 1


def test_what_a_label_says_is_read_back_in_any_case() -> None:
    text = LabelIdentity("made_up_2", UID).text
    assert text.startswith(f"TF1|made_up_2|{UID}|")
    for scanned in (text, text.swapcase(), text.upper(), f" {text}\r\n"):
        assert read_back(scanned) == LabelIdentity("made_up_2", UID)


def test_every_wrong_character_and_every_swap_is_noticed() -> None:
    text = LabelIdentity("madeup405", UID).text
    wrong = [
        text[:at] + other + text[at + 1 :]
        for at in range(len(text))
        for other in string.digits + string.ascii_lowercase + "|"
        if other.lower() != text[at].lower()
    ]
    wrong += [
        text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        for at in range(len(text) - 1)
        if text[at] != text[at + 1]
    ]
    wrong += [text[:at] for at in range(len(text))]
    for each in wrong:
        with pytest.raises(LabelError):
            read_back(each)


def test_a_scanner_with_another_keyboard_layout_is_named() -> None:
    text = LabelIdentity("madeup405", UID).text.replace("|", "*")
    with pytest.raises(LabelError, match="keyboard layout"):
        read_back(text)

"""How the text of one setting is read and shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.settings import MASK, Kind, Reader, Setting, display, masked_url

NUMBER = Setting("", Kind.NUMBER, 7, "", low=1, high=65535)
SWITCH = Setting("", Kind.SWITCH, True, "")
TEXT = Setting("", Kind.TEXT, "", "")
SECRET = Setting("", Kind.TEXT, "", "", secret=True)
ADDRESS = Setting("", Kind.ADDRESS, "0.0.0.0", "")
URL = Setting("", Kind.URL, "", "", choices=("http", "https"))
CHOICE = Setting("", Kind.CHOICE, "gop", "", choices=("gop", "stream"))
CHOICES = Setting("", Kind.CHOICES, "a,b", "", choices=("a", "b", "c"))
RULES = Setting("", Kind.IP_RULES, "", "")


def read(described: Setting, text: str) -> tuple[Any, list[str], list[str]]:
    """Give the value, the warnings and the problems."""
    reader = Reader({"NAME": text})
    return reader.read("name", described, described.default), reader.warnings, reader.problems


@pytest.mark.parametrize("text", ["1", "+1", "0001", "65535"])
def test_numbers_are_decimal_digits_with_an_optional_plus(text: str) -> None:
    assert read(NUMBER, text) == (int(text), [], [])


@pytest.mark.parametrize(
    "text", ["abc", "-1", " 1", "1 ", "1_0", "1.0", "0x1", "++1", "٣", "4294967296", "9" * 99]
)
def test_what_is_no_number_gives_the_default_and_a_warning(text: str) -> None:
    value, warnings, problems = read(NUMBER, text)
    assert value == 7
    assert problems == []
    assert len(warnings) == 1
    assert warnings[0].startswith("NAME=")
    assert "the default 7 is used" in warnings[0]


@pytest.mark.parametrize("text", ["0", "65536", "4294967295"])
def test_a_number_out_of_range_is_a_problem(text: str) -> None:
    _, warnings, problems = read(NUMBER, text)
    assert warnings == []
    assert problems == [f"NAME: {text} is outside 1-65535"]


@pytest.mark.parametrize("described", [NUMBER, SWITCH, ADDRESS, URL, CHOICE, CHOICES, RULES])
def test_an_empty_text_is_unset(described: Setting) -> None:
    assert read(described, "") == (described.default, [], [])


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("TRUE", True), ("No", False), ("false", False)])
def test_switches_are_words_in_any_case(text: str, value: bool) -> None:
    assert read(SWITCH, text) == (value, [], [])


@pytest.mark.parametrize("text", ["1", "0", "on", "off", "y", "YES "])
def test_other_words_give_a_switchs_default_and_a_warning(text: str) -> None:
    value, warnings, problems = read(SWITCH, text)
    assert value is True
    assert problems == []
    assert "the default YES is used" in warnings[0]


def test_text_is_taken_as_it_is() -> None:
    assert read(TEXT, " a b ") == (" a b ", [], [])


def test_text_with_control_characters_is_a_problem_unless_secret() -> None:
    assert read(TEXT, "a\nb")[2] == ["NAME: control characters are not allowed"]
    assert read(SECRET, "a\nb") == ("a\nb", [], [])


def test_bytes_that_are_not_utf_8_give_the_default_and_never_show_a_secret() -> None:
    value, warnings, _ = read(SECRET, "hidden\udcff")
    assert value == ""
    assert "hidden" not in warnings[0]
    assert MASK in warnings[0]


def test_addresses_may_stand_in_brackets() -> None:
    assert read(ADDRESS, "[::]")[0] == "::"
    assert read(ADDRESS, "::")[0] == "::"


@pytest.mark.parametrize("text", ["http://h", "https://u:p@h:8080/x?y=z", "http://[::1]:80/"])
def test_urls_need_a_known_scheme_and_a_host(text: str) -> None:
    assert read(URL, text) == (text, [], [])


@pytest.mark.parametrize("text", ["http://h/x\n", " http://h/x \r\n", "http://h/x\t"])
def test_blanks_and_line_ends_around_a_url_are_no_part_of_it(text: str) -> None:
    assert read(URL, text) == ("http://h/x", [], [])
    assert read(URL, text.replace("http://h/x", "")) == ("", [], [])


@pytest.mark.parametrize(
    "text",
    ["h", "ftp://h", "http://h/a\nb", "http://", "http://[::1"],
)
def test_other_urls_are_a_problem_that_does_not_show_them(text: str) -> None:
    _, _, problems = read(URL, text)
    assert problems == ["NAME: not a URL that begins with http:// or https://"]


@pytest.mark.parametrize("text", ["http://h:0", "http://h:99999", "http://h:x"])
def test_a_url_with_an_impossible_port_is_a_problem_that_says_so(text: str) -> None:
    assert read(URL, text)[2] == ["NAME: a URL whose port is not a number from 1 to 65535"]


def test_a_header_holds_printable_ascii_only() -> None:
    header = Setting("", Kind.HEADER, "", "")
    assert read(header, "192.0.2.7") == ("192.0.2.7", [], [])
    for text in ("a\nb", "\u00e4"):
        assert read(header, text)[2] == ["NAME: holds characters that no HTTP header may hold"]


def test_several_choices_come_in_one_order() -> None:
    assert read(CHOICES, "c, A ,c") == ("a,c", [], [])
    assert read(CHOICES, "a,d") == ("a,b", [], ["NAME: 'd' is none of a, b, c"])
    assert read(CHOICES, "a,")[2] == ["NAME: '' is none of a, b, c"]


def test_a_choice_is_one_of_its_words() -> None:
    assert read(CHOICE, "Stream")[0] == "stream"
    assert read(CHOICE, "all") == ("gop", [], ["NAME: 'all' is none of gop, stream"])


def test_what_is_not_judged_gives_the_default() -> None:
    reader = Reader({"NAME": "0"})
    assert reader.read("name", NUMBER, 7, judged=False) == 7
    assert reader.problems == []
    unreadable = Reader({"NAME": "x"})
    assert unreadable.read("name", NUMBER, 7, judged=False) == 7
    assert unreadable.warnings == []


def test_an_alias_is_read_after_the_name_itself() -> None:
    described = Setting("", Kind.TEXT, "", "", aliases=("OLD",))
    only_alias = Reader({"OLD": "x"})
    assert only_alias.read("name", described, "") == "x"
    assert only_alias.warnings == ["OLD is an alias of NAME; better set NAME itself"]
    both = Reader({"OLD": "x", "NAME": "y"})
    assert both.read("name", described, "") == "y"
    assert both.warnings == ["OLD is ignored: it is an alias of NAME, which is set"]


def test_values_are_shown_as_they_would_be_written() -> None:
    assert display(True, SWITCH) == "YES"
    assert display(False, SWITCH) == "NO"
    assert display(5, NUMBER) == "5"
    assert display("", TEXT) == '""'
    assert display("", URL) == '""'


def test_secrets_are_shown_masked() -> None:
    assert display("hidden", SECRET) == MASK
    assert display("", SECRET) == '""'
    assert (
        masked_url("https://user:hidden@host:1/path?token=hidden#hidden") == "https://***@host:1/path?***#***"
    )
    assert masked_url("https://[") == MASK


def test_valid_values_are_described() -> None:
    assert NUMBER.valid == "1-65535"
    assert Setting("", Kind.NUMBER, 0, "").valid == "0 or more"
    assert CHOICE.valid == "gop, stream"
    assert CHOICES.valid == "a, b, c; several with commas"
    assert "CIDR" in RULES.valid
    assert SWITCH.valid == "YES or NO"


@given(st.sampled_from([NUMBER, SWITCH, TEXT, SECRET, ADDRESS, URL, CHOICE, CHOICES, RULES]), st.text())
def test_no_text_makes_reading_fail(described: Setting, text: str) -> None:
    _, warnings, problems = read(described, text)
    assert len(warnings) + len(problems) <= 1

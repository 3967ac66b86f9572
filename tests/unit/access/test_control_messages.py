from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.access.control_messages import MAX_PARAMETERS, parse, render
from rtmpsrv.errors import LocalProtocolError


def test_written_with_one_blank_and_no_line_break_at_the_end() -> None:
    assert render("HEARTBEAT") == "HEARTBEAT"
    assert render("PUBLISH-END", {"Stream-Channel": "a", "Stream-ID": "b"}) == (
        "PUBLISH-END\nStream-Channel: a\nStream-ID: b"
    )


@pytest.mark.parametrize("value", ["a\nStream-ID: x", "a\rb"])
def test_a_value_with_a_line_break_is_not_written(value: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        render("PUBLISH-REQUEST", {"Stream-Key": value})
    assert "x" not in str(caught.value).replace("Stream-Key", "")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("colon", [":", ": ", " : ", ":\t"])
@pytest.mark.parametrize("name", ["Request-ID", "request-id", "REQUEST-ID", "Request-Id"])
def test_s99_both_spellings_are_read(newline: str, colon: str, name: str) -> None:
    message = parse(newline.join(["PUBLISH-ACCEPT", f"{name}{colon}1", f"Stream-Id{colon}abc"]))
    assert message.kind == "PUBLISH-ACCEPT"
    assert message.request_id() == 1
    assert message.get("Stream-ID") == "abc"


def test_a_body_after_an_empty_line_is_ignored() -> None:
    message = parse("PUBLISH-DENY\r\nRequest-ID: 7\r\n\r\nRequest-ID: 8\nStream-ID: x")
    assert message.request_id() == 7
    assert message.get("Stream-ID") == ""


def test_values_keep_their_colons() -> None:
    assert parse("ERROR\nError-Message: a:b: c").get("Error-Message") == "a:b: c"


def test_the_first_of_two_equal_names_counts() -> None:
    assert parse("X\nA: 1\na: 2").get("A") == "1"


@pytest.mark.parametrize("text", ["", "\n", "X\nno colon here", "X\n: value", ":", "\r\n\r\n"])
def test_lines_that_are_no_parameters_are_skipped(text: str) -> None:
    assert not parse(text).parameters


@pytest.mark.parametrize("text", ["", "x", "-1", "+1", "1.0", "1 2", "1_0", "٣", "9" * 19])
def test_a_request_id_that_is_no_number_is_none(text: str) -> None:
    assert parse(f"PUBLISH-ACCEPT\nRequest-ID: {text}").request_id() is None


def test_parameters_are_bounded() -> None:
    text = "X\n" + "\n".join(f"Name-{number}: {number}" for number in range(MAX_PARAMETERS + 1))
    message = parse(text)
    assert len(message.parameters) == MAX_PARAMETERS
    assert message.get(f"Name-{MAX_PARAMETERS}") == ""


def test_values_show_in_no_repr() -> None:
    assert "hidden" not in repr(parse("PUBLISH-REQUEST\nStream-Key: hidden"))


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse(text).request_id()


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1)


@given(st.dictionaries(WORDS.map(str.lower), WORDS, max_size=MAX_PARAMETERS))
def test_what_is_written_is_read_back(parameters: dict[str, str]) -> None:
    assert parse(render("TYPE", parameters)).parameters == parameters

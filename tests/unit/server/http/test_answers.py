from __future__ import annotations

import pytest

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.server.http import answers

ORIGIN = "https://a.example"


def test_a_head() -> None:
    assert answers.head(404, [("A", "b")]) == b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nb: c", "ä", "\0"])
def test_a_value_never_ends_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="A: no value"):
        answers.head(200, [("A", value)])


def test_what_all_answers_have_may_be_said_otherwise() -> None:
    given = dict(answers.with_defaults([("cache-control", "max-age=5")]))
    assert given == {
        "cache-control": "max-age=5", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    }  # fmt: skip


def test_refusals() -> None:
    assert answers.status_of(AccessDenied("", "")) == 403
    assert answers.status_of(NoRoom("", "")) == 503
    assert answers.status_of(NotThere("", "")) == 404


def test_pages_of_nobody_may_read() -> None:
    assert answers.cross_origin(ORIGIN, "") == []


def test_pages_of_all_may_read() -> None:
    assert dict(answers.cross_origin("", "*"))["Access-Control-Allow-Origin"] == "*"


def test_pages_of_some_may_read() -> None:
    rule = f"https://b.example, {ORIGIN}"
    given = dict(answers.cross_origin(ORIGIN, rule))
    assert given["Access-Control-Allow-Origin"] == ORIGIN
    assert given["Access-Control-Allow-Credentials"] == "true"
    assert given["Vary"] == "Origin"
    for other in ("", "null", "https://a.example.evil", "https://b.example:1"):
        assert answers.cross_origin(other, rule) == [("Vary", "Origin")]


def test_options() -> None:
    assert ("Access-Control-Allow-Methods", "GET") in answers.options("GET")


def test_heads_that_were_made_before_are_told_apart() -> None:
    for _ in range(2):
        for status in (200, 404):
            for value in ("b", "c"):
                expected = answers.head(status, answers.with_defaults([("A", value)]))
                assert answers.known_head(status, (("A", value),)) == expected


def test_what_is_no_value_of_a_header_is_none_the_second_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="A: no value"):
            answers.known_head(200, (("A", "\n"),))

"""What a question says beside its path is read, or refused."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import MultiDict

from rtmpsrv.web.asked import (
    MAX_BLOCK_S,
    MAX_PLACES,
    MAX_REASON,
    Refused,
    block_and_reason,
    connection_id,
    page_of,
    places,
    places_text,
)

ID = "0123abcd-4567-89ab-cdef-0123456789ab"


def query(*pairs: tuple[str, str]) -> MultiDict[str, str]:
    return MultiDict(pairs)


@pytest.mark.parametrize(
    ("count", "pairs", "first", "length", "pages"),
    [
        (0, [], None, 0, 0),
        (250, [], 0, 100, 3),
        (250, [("page", "2")], 200, 50, 3),
        (250, [("page", "3")], None, 0, 3),
        (250, [("itemsPerPage", "50"), ("page", "4")], 200, 50, 5),
        (250, [("itemsPerPage", "1")], 0, 1, 250),
        (2500, [("itemsPerPage", "1000")], 0, 1000, 3),
        (2500, [("itemsPerPage", "1001"), ("page", "1")], 1000, 1000, 3),  # no more than 1000
        (2500, [("page", "999999999")], None, 0, 25),
    ],
)
def test_pages(count: int, pairs: list[tuple[str, str]], first: int | None, length: int, pages: int) -> None:
    page, of = page_of(range(count), query(*pairs))
    assert (page[0] if page else None, len(page), of) == (first, length, pages)


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1.0", "1e2", "x", "１", "1000000000", "0x1", "null"])
@pytest.mark.parametrize("name", ["page", "itemsPerPage"])
def test_what_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(Refused, match=f"^invalid {name}$") as caught:
        page_of([1], query((name, text)))
    assert caught.value.status == 400


def test_a_page_of_nothing_is_refused() -> None:
    with pytest.raises(Refused, match=r"^invalid itemsPerPage$"):
        page_of([1], query(("itemsPerPage", "0")))


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(Refused, match=r"^page is given more than once$"):
        page_of([1], query(("page", "0"), ("page", "0")))


def test_block_and_reason_have_limits() -> None:
    assert block_and_reason(query()) == (None, "")
    assert block_and_reason(query(("block", "0"))) == (0.0, "")
    longest = query(("block", str(MAX_BLOCK_S)), ("reason", "ü" * MAX_REASON))
    assert block_and_reason(longest) == (float(MAX_BLOCK_S), "ü" * MAX_REASON)
    with pytest.raises(Refused, match=f"^invalid block: {MAX_BLOCK_S} at most$"):
        block_and_reason(query(("block", str(MAX_BLOCK_S + 1))))
    with pytest.raises(Refused, match=f"^invalid reason: {MAX_REASON} characters at most$"):
        block_and_reason(query(("reason", "x" * (MAX_REASON + 1))))


def test_an_id_is_a_uuid_in_any_case() -> None:
    assert connection_id(ID) == ID
    assert connection_id(ID.upper()) == ID


@pytest.mark.parametrize("text", ["", "1", ID[:-1], ID + "0", "{" + ID + "}", ID.replace("-", ""), ID + "\n"])
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"^invalid UUID$"):
        connection_id(text)


@pytest.mark.parametrize("last", [{"": 0}, {"": 12}, {"1": 3, "2": 40, "keeper": 0}, {"": 1, "old": 5}])
def test_places_are_read_as_they_were_written(last: dict[str, int]) -> None:
    assert places(query(("after", places_text(last)))) == last


def test_without_a_place_all_is_told() -> None:
    assert places(query()) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "x",
        "1,",
        ":1",
        "a b:1",
        "a:",
        "a:b:1",
        "-1",
        "1" * 16,
        "1\n",
        ",".join(["1"] * (MAX_PLACES + 1)),
    ],
)
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"^invalid after$"):
        places(query(("after", text)))

"""What stands for a publisher's key."""

from __future__ import annotations

import pytest

from rtmpsrv.live.lock import NOBODYS, fits, lock_of, opens, shape_of


@pytest.mark.parametrize(
    ("key", "published", "answer"),
    [("k", b"k", True), ("k", b"other", False), ("", b"k", False), ("", b"", True), ("any", None, True)],
)
def test_key_fits_its_lock(key: str, published: bytes | None, answer: bool) -> None:
    assert fits(key, lock_of(published)) is answer


@pytest.mark.parametrize(
    ("key", "published", "answer"),
    [("k", b"k", True), ("k", b"other", False), ("any", None, True), (None, b"k", True), (None, None, True)],
)
def test_shape_of_a_key_opens_what_the_key_does(
    key: str | None, published: bytes | None, answer: bool
) -> None:
    assert opens(shape_of(key), lock_of(published)) is answer


def test_key_of_other_characters_is_that_of_its_bytes() -> None:
    assert opens(shape_of("\udcff\u00e9"), lock_of(b"\xff\xc3\xa9"))


def test_nobody_has_a_key_that_is_not_known() -> None:
    assert not fits("", NOBODYS)
    assert not fits("k", NOBODYS)


def test_a_lock_tells_no_key() -> None:
    assert b"secret" not in (lock_of(b"secret") or b"")
    assert b"secret" not in (shape_of("secret") or b"")

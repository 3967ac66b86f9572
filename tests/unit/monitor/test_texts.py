from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.monitor.texts import MAX_REASON, MAX_TEXT, bare_url, clean, one_line, secrets_of, without
from rtmpsrv.server.host import Asked, Client


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_becomes_one_that_can_be_sent(text: str) -> None:
    for shown in (clean(text), one_line(text), bare_url(text)):
        assert json.loads(json.dumps(shown).encode()) == shown
        assert len(shown.encode()) <= 12 * MAX_TEXT
    assert one_line(text).isprintable()


def test_texts_are_cut_and_what_is_none_is_empty() -> None:
    assert clean("x" * (MAX_TEXT + 1)) == "x" * MAX_TEXT
    assert clean("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert clean(5.0) == clean(None) == bare_url(None) == one_line(None) == ""
    assert one_line("y" * (MAX_REASON + 1)) == "y" * MAX_REASON
    assert clean("a\udcffb") == "a?b"
    assert one_line("a\nb\x1b[31m") == "a\\nb\\x1b[31m"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/watch?token=secret", "https://example.com/watch"),
        ("https://example.com/watch#secret", "https://example.com/watch"),
        ("https://user:secret@example.com:8080/a/b", "https://example.com:8080/a/b"),
        ("https://user:sec/ret@example.com/", "https://"),
        ("https://example.com:8080/@alice", "https://example.com:8080/@alice"),
        ("https://example.com/@alice", "https://example.com/@alice"),
        ("rtmp://h/channel/secret", "rtmp://h/channel"),
        ("RTMPS://h/channel/secret", "RTMPS://h/channel"),
        ("rtmp://h", "rtmp://h"),
        ("file.swf?secret", "file.swf"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert bare_url(url) == shown


def test_what_a_client_has_shown_is_in_no_text() -> None:
    client = Client(1, "192.0.2.1", 1935, False, app_query="token=of-the-app&user=alice&a=b")
    client.to_publish, client.to_play = Asked("k%y?pass=of-the-name"), Asked("other-key?bare-token")
    found = secrets_of(client, names_are_keys=True)
    assert found == {"k%y", "other-key", "of-the-app", "of-the-name", "bare-token"}
    assert secrets_of(client, names_are_keys=False) == found - {"k%y", "other-key"}
    assert secrets_of(Client(1, "192.0.2.1", 1935, False), names_are_keys=True) == set()
    client.app = "news/app-key/"
    assert secrets_of(client, names_are_keys=True) == found | {"app-key"}
    assert without(found, "http://h/other-key/x") == ""
    assert without(found, "http://h/k%25y") == ""
    assert without(found, "http://h/50%25") == "http://h/50%25"

"""What a URL means, in both layouts: tables of what clients send."""

from __future__ import annotations

import pytest

from rtmpsrv.access.login import Login
from rtmpsrv.access.names import (
    APP_STREAM,
    CHANNEL_KEY,
    MAX_PARAMETERS,
    MAX_SECRET_BYTES,
    IdRules,
    Names,
    StreamName,
    app_stream,
    channel_key,
    is_token,
)
from rtmpsrv.errors import AccessDenied
from tests.doubles.secrets import KEY, OTHER_KEY

CODE = "NetStream.Publish.BadName"
CHARACTERS = "only letters, digits, - and _ are allowed (ID_ALLOW_SPECIAL_CHARACTERS)"
NOT_THESE = ">, | and line feeds are not allowed"
NO_NAME = "No stream name provided: rtmp://HOST/APP/NAME is needed (URL_LAYOUT)"


@pytest.mark.parametrize(
    ("rules", "text", "why"),
    [
        (IdRules(), "aZ09_-", ""),
        (IdRules(), "", "it is empty (ID_ALLOW_EMPTY)"),
        (IdRules(allow_empty=True), "", ""),
        (IdRules(), "a" * 128, ""),
        (IdRules(), "a" * 129, "it has 129 bytes, 128 are allowed (ID_MAX_LENGTH)"),
        (IdRules(max_bytes=3), "abcd", "it has 4 bytes, 3 are allowed (ID_MAX_LENGTH)"),
        (IdRules(), "a b", CHARACTERS),
        (IdRules(), "a/b", CHARACTERS),
        (IdRules(), "ä", CHARACTERS),
        (IdRules(), "key\n", CHARACTERS),
        (IdRules(allow_special=True), "a b/ä?", ""),
        (IdRules(allow_special=True), "a>b", NOT_THESE),
        (IdRules(allow_special=True), "a|b", NOT_THESE),
        (IdRules(allow_special=True), "a\nb", NOT_THESE),
        (IdRules(max_bytes=2, allow_special=True), "ä", ""),
        (IdRules(max_bytes=1, allow_special=True), "ä", "it has 2 bytes, 1 are allowed (ID_MAX_LENGTH)"),
        (IdRules(allow_special=True), "\udcff", "it is not UTF-8"),
        (IdRules(), "\udcff", "it is not UTF-8"),
    ],
)
def test_names(rules: IdRules, text: str, why: str) -> None:
    if not why:
        rules.check(text, "Code", "Refused")
        return
    with pytest.raises(AccessDenied) as caught:
        rules.check(text, "Code", "Refused")
    assert (caught.value.code, caught.value.for_log) == ("Code", f"Refused: {why}")


# --- rtmp://HOST/CHANNEL/KEY ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "app_query", "name", "tc_url", "wanted"),
    [
        ("news", "", "k", "", StreamName("news", "k")),
        ("news", "", "k?cache=no", "", StreamName("news", "k", cache="no")),
        ("news", "", "k?cache=no&cache=clear", "", StreamName("news", "k", cache="clear")),
        ("news", "", "k?cache=other", "", StreamName("news", "k")),
        ("news", "cache=no", "k", "", StreamName("news", "k")),
        ("news", "", "k?token=a.b.c", "", StreamName("news", "k", "a.b.c")),
        ("news", "token=a.b.c", "k", "", StreamName("news", "k", "a.b.c")),
        ("news", "token=a.b.c/", "k", "", StreamName("news", "k", "a.b.c")),
        ("news", "", "k", "rtmp://h/news?token=a.b.c", StreamName("news", "k", "a.b.c")),
        ("news", "token=2", "k?token=1", "rtmp://h/news?token=3", StreamName("news", "k", "1")),
        ("news", "token=2", "k?token=", "rtmp://h/news?token=3", StreamName("news", "k", "2")),
        ("news", "", "k?token=1&token=2", "", StreamName("news", "k", "1")),
        ("news", "", "k?key=other", "", StreamName("news", "k")),
        ("news", "", "k?user=a&pass=b%2Fc", "", StreamName("news", "k", user="a", password="b/c")),
        ("news", "", "k?a?token=1", "", StreamName("news", "k")),
        ("news", "", "", "", StreamName("news", "")),
        ("a/b", "", "k", "", StreamName("a/b", "k")),
    ],
)
def test_channel_and_key(app: str, app_query: str, name: str, tc_url: str, wanted: StreamName) -> None:
    found = channel_key(app, app_query, name, tc_url)
    assert _essence(found) == _essence(wanted)
    assert (found.shown, found.path) == (found.key, f"/{app}/{found.key}")


# --- rtmp://HOST/APP/NAME ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "app_query", "name", "tc_url", "wanted"),
    [
        ("live", "", "alice", "rtmp://h/live", StreamName("live/alice")),
        ("live", "", "alice?key=k", "", StreamName("live/alice", "k")),
        ("live", "key=k", "alice", "", StreamName("live/alice", "k")),
        ("live", "", "alice", "rtmp://h/live?key=k", StreamName("live/alice", "k")),
        ("live", "key=2", "alice?key=1", "rtmp://h/live?key=3", StreamName("live/alice", "1")),
        ("live", "", "alice?key=%6b", "", StreamName("live/alice", "k")),
        ("live", "", "alice?token=t&cache=no", "", StreamName("live/alice", None, "t", cache="no")),
        ("live/room", "", "alice", "", StreamName("live/room/alice")),  # ffmpeg
        ("live", "", "room/alice", "", StreamName("live/room/alice")),  # OBS with two parts as its key
        ("live/alice", "", "", "", StreamName("live/alice")),  # GoPro
        ("live", "", "/alice/", "", StreamName("live/alice")),
        ("live", "", "", "", StreamName("live")),
        ("", "", "live/alice", "", StreamName("live/alice")),
    ],
)
def test_app_and_stream(app: str, app_query: str, name: str, tc_url: str, wanted: StreamName) -> None:
    found = app_stream(app, app_query, name, tc_url)
    assert _essence(found) == _essence(wanted)
    assert (found.shown, found.path) == (wanted.key or wanted.token, f"/{wanted.channel}")


def _essence(name: StreamName) -> tuple[object, ...]:
    return (name.channel, name.key, name.token, name.user, name.password, name.cache)


@pytest.mark.parametrize(
    ("app", "name", "why"),
    [
        ("live", "alice", ""),
        ("live", "a" * 123, ""),
        ("live", "a" * 124, "Invalid stream name: APP/NAME has 129 bytes, 128 are allowed (ID_MAX_LENGTH)"),
        ("live", None, NO_NAME),
        ("live", "", NO_NAME),
        (
            "live",
            "a b",
            f"Invalid stream name: {CHARACTERS}",
        ),
        (
            "live",
            "a?key=a b",
            f"Invalid stream key provided: {CHARACTERS}",
        ),
        ("live", "a?token=a%20b", "Invalid token provided"),
        ("live", "a?token=" + "x" * MAX_SECRET_BYTES, ""),
        ("live", "a?token=x" + "x" * MAX_SECRET_BYTES, "Invalid token provided"),
    ],
)
def test_paths_that_are_refused(app: str, name: str | None, why: str) -> None:
    names = Names(IdRules(), APP_STREAM)
    if not why:
        assert names.read(app, "", name, "", CODE).channel.startswith("live/a")
        return
    with pytest.raises(AccessDenied) as caught:
        names.read(app, "", name, "", CODE)
    assert (caught.value.code, caught.value.for_log) == (CODE, why)


@pytest.mark.parametrize("part", [".", ".."])
def test_no_path_leads_upwards_whatever_is_allowed(part: str) -> None:
    names = Names(IdRules(allow_special=True), APP_STREAM)
    assert names.read("live", "", "a.b", "", CODE).channel == "live/a.b"
    with pytest.raises(AccessDenied, match=r"\. and \.\. are not allowed"):
        names.read("live", "", f"{part}/a", "", CODE)
    with pytest.raises(AccessDenied, match=r"\. and \.\. are not allowed"):
        names.check_app(f"live/{part}")


def test_apps_may_have_parts_where_channels_do() -> None:
    Names(IdRules(), APP_STREAM).check_app("live/room")
    with pytest.raises(AccessDenied, match="only letters"):
        Names(IdRules()).check_app("live/room")
    for app in ("", "/", "a b", "live/a b"):
        with pytest.raises(AccessDenied) as caught:
            Names(IdRules(), APP_STREAM).check_app(app)
        assert caught.value.code == "NetConnection.Connect.Rejected"


def test_a_missing_key_is_refused_where_the_key_is_the_stream_name() -> None:
    with pytest.raises(AccessDenied, match="No stream key provided"):
        Names(IdRules()).read("news", "", None, "", CODE)
    with pytest.raises(AccessDenied, match="it is empty"):
        Names(IdRules()).read("news", "", "?key=k", "", CODE)
    assert Names(IdRules(allow_empty=True)).read("news", "", "", "", CODE).key == ""


def test_a_token_that_is_none_is_no_matter_where_the_key_counts() -> None:
    assert Names(IdRules()).read("news", "", "k?token=%20", "", CODE).shown == "k"
    assert [is_token(text) for text in ("", "a.b-c_d", " ", "é")] == [True, True, False, False]


def test_no_more_parameters_are_read_than_backends_use() -> None:
    filling = "&".join(["a=b"] * (MAX_PARAMETERS - 1))
    assert app_stream("live", "", f"alice?{filling}&key=k", "").key == "k"
    assert app_stream("live", "", f"alice?{filling}&a=b&key=k", "").key is None


def test_secrets_show_in_no_repr() -> None:
    name = f"alice?key={KEY}&token={OTHER_KEY}&user=u&pass={KEY}"
    for found in (app_stream("live", "", name, ""), channel_key("live", "", f"{KEY}?token={OTHER_KEY}", "")):
        assert KEY not in repr(found)
        assert OTHER_KEY not in repr(found)


def test_a_channel_that_somebody_else_chose_is_held_to_the_same_rules() -> None:
    Names(IdRules()).check_channel("news", "code")
    Names(IdRules(), APP_STREAM).check_channel("live/news", "code")
    for layout, channel in ((CHANNEL_KEY, "live/news"), (APP_STREAM, "live"), (APP_STREAM, "live/a b")):
        with pytest.raises(AccessDenied):
            Names(IdRules(), layout).check_channel(channel, "code")
    for channel in ("live//news", "/live/news", "live/news/"):
        with pytest.raises(AccessDenied, match="slashes"):
            Names(IdRules(), APP_STREAM).check_channel(channel, "code")


@pytest.mark.parametrize(
    ("layout", "app", "pattern", "may"),
    [
        (CHANNEL_KEY, "news", "news", True),
        (CHANNEL_KEY, "news", "n*", True),
        (CHANNEL_KEY, "news", "live", False),
        (APP_STREAM, "live", "live/*", True),
        (APP_STREAM, "live", "live/alice", True),
        (APP_STREAM, "live", "*", True),
        (APP_STREAM, "live", "li?e/x", True),
        (APP_STREAM, "live", "other/*", False),
        (APP_STREAM, "live", "live", False),
        (APP_STREAM, "live/room", "live/*", True),
        (APP_STREAM, "/live/", "live/room/alice", True),
        (APP_STREAM, "lively", "live/*", False),
    ],
)
def test_an_app_may_hold_channels_of_a_pattern(layout: str, app: str, pattern: str, may: bool) -> None:
    assert Names(IdRules(allow_special=True), layout).may_hold(app, pattern) == may


def test_who_connects_may_have_shown_something_already() -> None:
    names = Names(IdRules())
    assert names.offers_nothing("lang=en", "rtmp://h/live")
    assert not names.offers_nothing("key=x", "")
    assert not names.offers_nothing("", "rtmp://h/live?token=x")


def test_a_login_behind_the_app_is_read_with_the_name() -> None:
    found = Names(IdRules()).read("live", "authmod=adobe&user=alice", "key", "", "code")
    assert found.login == Login("alice")
    for layout in (CHANNEL_KEY, APP_STREAM):
        again = Names(IdRules(), layout).read_again("live", "authmod=adobe&user=alice", "key", "")
        assert again.login == Login("alice"), "who has moved is judged by it too"


ONE_PART = "it has one part, and channels are called APP/NAME (URL_LAYOUT)"
SLASHES = "slashes stand between the parts of a name only"
NO_REGEX = "patterns are those of a shell, not regular expressions"


@pytest.mark.parametrize(
    ("layout", "special", "pattern", "why"),
    [
        (CHANNEL_KEY, False, "news", ""),
        (CHANNEL_KEY, False, "n*[!a-c]?", ""),
        (CHANNEL_KEY, False, "live/alice", "channels have no / in this layout (URL_LAYOUT)"),
        (CHANNEL_KEY, False, "live/*", "channels have no / in this layout (URL_LAYOUT)"),
        (CHANNEL_KEY, True, "live/*", ""),
        (CHANNEL_KEY, False, "a b*", CHARACTERS),
        (CHANNEL_KEY, False, "a" * 129, "it has 129 bytes, 128 are allowed (ID_MAX_LENGTH)"),
        (CHANNEL_KEY, True, "a|b", NOT_THESE),
        (CHANNEL_KEY, False, "~^live", NO_REGEX),
        (CHANNEL_KEY, False, "~live", NO_REGEX),
        (CHANNEL_KEY, True, "~^live", NO_REGEX),
        (CHANNEL_KEY, True, "~live", ""),
        (APP_STREAM, False, "live/alice", ""),
        (APP_STREAM, False, "*", ""),
        (APP_STREAM, False, "ali*", ""),
        (APP_STREAM, False, "live/*", ""),
        (APP_STREAM, False, "live/", SLASHES),
        (APP_STREAM, False, "/live/*", SLASHES),
        (APP_STREAM, False, "live//*", SLASHES),
        (APP_STREAM, False, "alice", ONE_PART),
        (APP_STREAM, True, "live/../*", ". and .. are not allowed"),
        (APP_STREAM, False, "live/a.b", CHARACTERS),
    ],
)
def test_patterns_that_no_channel_can_fit(layout: str, special: bool, pattern: str, why: str) -> None:
    assert Names(IdRules(allow_special=special), layout).why_never(pattern) == why


def test_who_was_shown_is_the_user_of_a_login_or_of_the_query() -> None:
    assert StreamName("c").who == ""
    assert StreamName("c", user="alice").who == "alice"
    assert StreamName("c", user="alice", login=Login("bob")).who == "bob"

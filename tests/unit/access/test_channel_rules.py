"""What may stand in the file of channels, what is said of the rest, and which rule counts."""

from __future__ import annotations

import hashlib

import pytest

from rtmpsrv.access import channel_rules
from rtmpsrv.access.channel_rules import MAX_KEYS, MAX_RULES, NO_RULE, ChannelRule, fits, read_rules
from rtmpsrv.errors import ConfigError
from tests.doubles.secrets import KEY, OTHER_KEY

HASHED = hashlib.sha256(OTHER_KEY.encode()).hexdigest()
EVERYTHING = f"""# of the studio
[[channel]]
name = "live/*"
publish_keys = ["{KEY}", "sha256:{HASHED.upper()}"]
play_access = "key"
play_keys = ["viewers"]
max_players = 500
max_bitrate = 8_000_000
max_seconds = 14_400
second_publisher = "stalled"
reconnect_seconds = 3600

[[channel]]
name = "*"
"""


def problems_of(text: str | bytes, *, has_tokens: bool = True) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_rules(text.encode() if isinstance(text, str) else text, has_tokens=has_tokens)
    assert KEY not in str(caught.value)
    return caught.value.problems


def entry(text: str) -> str:
    return f'[[channel]]\nname = "a"\n{text}\n'


def test_everything_that_may_stand_in_it() -> None:
    rules = read_rules(EVERYTHING.encode(), has_tokens=False)
    found = rules.find("live/alice")
    assert (found.name, found.play_access) == ("live/*", "key")
    assert (found.max_players, found.max_bitrate, found.max_seconds) == (500, 8_000_000, 14_400)
    assert (found.second_publisher, found.reconnect_seconds) == ("stalled", 3600)
    for key in (KEY, OTHER_KEY):
        assert fits(key, found.publish_keys)
        assert not fits(key, found.play_keys)
    assert fits("viewers", found.play_keys)
    assert KEY not in repr(found)
    assert rules.find("news") == ChannelRule("*")


@pytest.mark.parametrize("key", ["", None, KEY.lower(), KEY + "x", HASHED, f"sha256:{HASHED}", "\udcff"])
def test_keys_that_do_not_fit(key: str | None) -> None:
    assert not fits(key, read_rules(EVERYTHING.encode(), has_tokens=False).find("live/a").publish_keys)


def test_no_key_fits_where_the_empty_one_would() -> None:
    assert not fits(None, (hashlib.sha256(b"").digest(),))


def test_the_first_rule_whose_pattern_fits_counts() -> None:
    text = "".join(f'[[channel]]\nname = "{name}"\n' for name in ("live/a?c", "live/[xy]", "live/*", "Live"))
    rules = read_rules(text.encode(), has_tokens=False)
    wanted = {
        "live/abc": "live/a?c",
        "live/ac": "live/*",
        "live/x": "live/[xy]",
        "live/room/alice": "live/*",
        "live": NO_RULE.name,
        "Live": "Live",
    }
    for _ in range(2):  # found, and remembered
        assert {channel: rules.find(channel).name for channel in wanted} == wanted
    assert rules.find("nobody") is NO_RULE


def test_only_so_many_channels_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_rules, "FOUND_KEPT", 3)
    rules = read_rules(EVERYTHING.encode(), has_tokens=False)
    for number in range(10):
        assert rules.find(f"live/{number}").name == "live/*"
        assert len(rules._found) <= 3


ODD_USER = "line 3: a user's name has up to 64 characters of ASCII, but for blanks, &, = and ?"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (entry("publish_key = []"), ["line 3: unknown key; the nearest is publish_keys"]),
        (entry(f'"{KEY}" = 5'), ["line 3: unknown key"]),
        (entry("users = {}"), ["line 3: users must be a table of names and passwords"]),
        (entry('users = ["alice"]'), ["line 3: users must be a table of names and passwords"]),
        (entry('users = { "a&b" = "x" }'), [ODD_USER]),
        (entry('users = { "a b" = "x" }'), [ODD_USER]),
        (entry(f'users = {{ "{"a" * 65}" = "x" }}'), [ODD_USER]),
        (entry("users = { alice = 5 }"), ["line 3: a user's password must be a text"]),
        (entry('[channel.users]\nalice = ""'), ["line 3: a user's password must be a text"]),
        (entry("users = { " + ", ".join(f'u{n} = "x"' for n in range(1001)) + " }"),
            ["line 3: more than 1000 users"]),
        (entry('users = { alice = "x" }\npublish_keys = ["y"]'),
            ["line 3: a channel has users or publish_keys, not both"]),
        (entry("record.format = \"avi\""), ["line 3: format must be one of flv, mp4"]),
        (entry("record.segment_mb = -1"), ["line 3: segment_mb must be a whole number from 0 to 1048576"]),
        (entry("record = 7"), ["line 3: record must be true, false or a table"]),
        (entry("record.where = \"x\""), ["line 3: record has format, segment_seconds and segment_mb"]),
        (entry('second_publisher = "replace"'),
            ["line 3: second_publisher must be one of refuse, stalled, takeover"]),
        (entry("second_publisher = []"),
            ["line 3: second_publisher must be one of refuse, stalled, takeover"]),
        *[(entry(f"reconnect_seconds = {odd}"),
            ["line 3: reconnect_seconds must be a whole number from 0 to 3600"])
          for odd in ("-1", "3601", "true", "1.5", '"5"')],
        (entry(f'publish_keys = "{KEY}"'), ["line 3: keys must be a list of texts"]),
        (entry("publish_keys = []"), ["line 3: keys must be a list of texts"]),
        (entry('publish_keys = [""]'), ["line 3: keys must be a list of texts"]),
        (entry("publish_keys = [5]"), ["line 3: keys must be a list of texts"]),
        (entry('play_keys = ["sha256:abc"]'), ["line 3: sha256: is to be followed by 64 hexadecimal digits"]),
        (entry('play_access = "closed"'), ["line 3: play_access must be one of key, open, token"]),
        (entry("play_access = []"), ["line 3: play_access must be one of key, open, token"]),
        (entry("max_players = 0"), ["line 3: must be a whole number above 0"]),
        (entry("max_players = true"), ["line 3: must be a whole number above 0"]),
        (entry("max_bitrate = 1.5"), ["line 3: must be a whole number above 0"]),
        (entry("max_seconds = 9007199254740993"), ["line 3: must be a whole number above 0"]),
        (entry('play_access = "open"\nplay_keys = ["x"]'),
            ['line 4: play_keys are of no use without play_access = "key"']),
        ("[[channel]]\nmax_players = 5\n", ["line 1: name is missing"]),
        ("[[channel]]\nname = 5\n", ["line 2: name must be a text, a pattern of channels"]),
        ('[[channel]]\nname = ""\n', ["line 2: name must be a text, a pattern of channels"]),
        (entry("") + entry(""), ["line 5: this name was there before, and the first one counts"]),
        (f"{KEY} = 5\n" + entry(""), ["line 1: only [[channel]] may stand here"]),
        ("channel = 5", ["line 1: channels are written as [[channel]]"]),
        ("channel = [5]", ["line 1: channels are written as [[channel]]"]),
        ('channel = [{ name = "a", x = 5 }]', ["unknown key"]),
        ("", ["there is no [[channel]] in it"]),
        ("# nothing", ["there is no [[channel]] in it"]),
        ("channels = 5", ["line 1: only [[channel]] may stand here", "there is no [[channel]] in it"]),
        (f"\n[[channel]]\nname = {KEY}", ["line 3: invalid value"]),
        (entry(f'"{KEY}" = 5\n"{KEY}" = 6'), ["line 4: cannot overwrite a value"]),
        (entry(f'users = {{ "{KEY}" = 5, "{KEY}" = 6 }}'), ["line 3: not TOML"]),
        ('[[channel]]\nname = "a', ["line 2: unterminated string"]),
        (b"[[channel]]\n\xff", ["not UTF-8"]),
        ("channel = " + "[" * 100_000, ["nested too deep"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str | bytes, problems: list[str]) -> None:
    assert problems_of(text) == problems


def test_tokens_need_keys_of_their_own() -> None:
    text = entry('play_access = "token"')
    assert read_rules(text.encode(), has_tokens=True).find("a").play_access == "token"
    assert problems_of(text, has_tokens=False) == [
        "line 3: tokens need TOKEN_SECRET, TOKEN_JWKS_URL or TOKEN_JWKS_FILE"
    ]


def test_there_are_limits() -> None:
    keys = ", ".join(f'"{number}"' for number in range(MAX_KEYS))
    assert (
        len(read_rules(entry(f"play_keys = [{keys}]").encode(), has_tokens=False).find("a").play_keys)
        == MAX_KEYS
    )
    assert problems_of(entry(f'play_keys = [{keys}, "x"]')) == ["line 3: more than 1000 keys"]
    many = "".join(f'[[channel]]\nname="{number}"\n' for number in range(MAX_RULES + 1))
    assert problems_of(many) == ["more than 10000 channels"]


def test_a_mark_at_the_beginning_is_no_matter() -> None:
    assert read_rules(b"\xef\xbb\xbf" + entry("").encode(), has_tokens=False).find("a").name == "a"


def test_users_are_found_in_all_rules_that_may_hold() -> None:
    text = "".join(
        f'[[channel]]\nname = "{name}"\nusers = {{ {users} }}\n'
        for name, users in (("a/*", 'alice = "one"'), ("b/*", 'alice = "two", bob = "three"'))
    )
    rules = read_rules((text + '[[channel]]\nname = "c"\n').encode(), has_tokens=False)
    assert rules.passwords("alice", lambda pattern: True) == ["one", "two"]
    assert rules.passwords("bob", lambda pattern: pattern == "a/*") == []
    assert rules.passwords("alice", lambda pattern: pattern == "c") is None
    assert "three" not in repr(rules.find("b/x"))


def idle(*names: str) -> list[str]:
    """Return the lines of entries that are warned of, by the name."""
    text = "".join(f'[[channel]]\nname = "{name}"\n' for name in names)
    found = read_rules(text.encode(), has_tokens=False).warnings
    assert all(one.endswith("counts for no channel: one before it fits all that it fits") for one in found)
    numbers = [int(one.removeprefix("line ").partition(":")[0]) for one in found]
    return [names[number // 2 - 1] for number in numbers]


def test_entries_behind_a_wider_one_are_warned_of() -> None:
    assert idle("live/alice", "live/*", "*") == []
    assert idle("*", "live/*", "news") == ["live/*", "news"]
    assert idle("live/*", "live/alice", "studio/*", "live/*/hd", "live/[ab]", "live/?") == [
        "live/alice", "live/*/hd", "live/[ab]", "live/?",
    ]  # fmt: skip
    assert idle("live/?", "live/a", "live/*", "live/[ab]c") == ["live/a", "live/[ab]c"]
    assert idle("a?", "a*", "a[b]") == ["a[b]"], "the first is not wider than the second"
    assert idle("*b", "a[bc]", "[ab]b") == ["[ab]b"]
    assert idle("*b*", "a[b]", "a[bc]") == []


def test_entries_that_no_channel_can_fit_are_warned_of_and_not_quoted() -> None:
    text = '[[channel]]\nname = "*"\n[[channel]]\nname = "secret"\n'
    rules = read_rules(
        text.encode(), has_tokens=False, why_never=lambda pattern: "no" if pattern == "secret" else ""
    )
    assert rules.warnings == ["line 4: this entry fits no channel: no"]
    assert rules.find("secret").name == "*"


def test_only_so_many_patterns_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_rules, "MAX_WIDER", 1)
    assert idle("a*", "b*", "ab", "bb") == ["ab"]

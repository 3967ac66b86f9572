"""What an operator wrote about channels, a TOML text of patterns with keys and limits: read, and looked up.

Pure. Keys are kept as digests, whatever the operator wrote, and no text of an error quotes what is in the
file: people mistype names, and put secrets in the wrong place.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from rtmpsrv.access.login import MAX_USER
from rtmpsrv.access.names import OTHERS
from rtmpsrv.access.record_rule import RecordRule, read_record
from rtmpsrv.access.second_publisher import MAX_RECONNECT_S, MODES
from rtmpsrv.access.terms import NO_LIMIT
from rtmpsrv.errors import ConfigError

MAX_RULES = 10_000
MAX_KEYS = 1000  # of one rule; all are compared
MAX_NUMBER = 1 << 53
MAX_WIDER = 30  # patterns that later entries are compared with
FOUND_KEPT = 10_000  # channels whose rule is remembered

_HASHED = "sha256:"
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_ACCESS = ("key", "open", "token")
_TO_COME = frozenset(("push", "pull", "pull_when", "fallback", "on_publish"))
_ENTRY = re.compile(r"\s*\[\[\s*channel\s*\]\]")
_KEY = re.compile(r"""\s*(?:\[\s*channel\s*\.\s*)?["']?([\w-]+)["']?\s*[.=\]]""")
_USER = re.compile(r"[!-~]+")
_PLAIN_WORDS = re.compile(r"[A-Za-z ,.-]+")  # texts of the library that quote nothing


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What holds for the channels of one pattern."""

    name: str = "*"
    publish_keys: tuple[bytes, ...] = field(default=(), repr=False)  # SHA-256
    users: Mapping[str, str] = field(default_factory=dict, repr=False)  # who log in to publish: passwords
    play_access: str = ""  # "": as all channels
    play_keys: tuple[bytes, ...] = field(default=(), repr=False)
    max_players: int = NO_LIMIT
    max_bitrate: int = NO_LIMIT  # bits per second
    max_seconds: int = NO_LIMIT
    second_publisher: str = ""  # "": as all channels
    reconnect_seconds: int | None = None  # None: likewise
    record: RecordRule | None = None  # None: likewise


NO_RULE = ChannelRule()


class ChannelRules:
    """All rules, in the order of the file: the first one whose pattern fits a channel counts."""

    def __init__(self, rules: Sequence[ChannelRule] = (), warnings: Sequence[str] = ()) -> None:
        self.warnings = warnings  # of entries that count for no channel
        self._rules = [(re.compile(fnmatch.translate(rule.name)).match, rule) for rule in rules]
        self._found: dict[str, ChannelRule] = {}
        self._with_users = [rule for rule in rules if rule.users]

    def passwords(self, user: str, may_hold: Callable[[str], bool]) -> list[str] | None:
        """Return those of a user, in rules whose pattern `may_hold`; None where none has users."""
        rules = [rule for rule in self._with_users if may_hold(rule.name)]
        return [rule.users[user] for rule in rules if user in rule.users] if rules else None

    def find(self, channel: str) -> ChannelRule:
        """Return the rule of a channel, NO_RULE for none."""
        found = self._found.get(channel)
        if found is None:
            found = next((rule for fits, rule in self._rules if fits(channel)), NO_RULE)
            if len(self._found) >= FOUND_KEPT:  # names are the clients' choice
                self._found.clear()
            self._found[channel] = found
        return found


def fits(key: str | None, digests: tuple[bytes, ...]) -> bool:
    """Tell whether a key is one of these. The time that it takes tells nothing."""
    own = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
    # A list, not a generator: every one is compared.
    return any([hmac.compare_digest(own, one) for one in digests]) and key is not None  # noqa: C419


def read_rules(
    contents: bytes, *, has_tokens: bool, why_never: Callable[[str], str] = lambda pattern: ""
) -> ChannelRules:
    """Return the rules of a file. Raises ConfigError with a sentence for all that is wrong, and its line.

    `why_never` says why no channel can be one of a pattern, "" where there may be some.
    """
    try:
        text = contents.decode("utf-8-sig")
        tables = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(["not UTF-8"]) from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError([_told(str(exc), contents.count(b"\n") + 1)]) from None
    except RecursionError:
        raise ConfigError(["nested too deep"]) from None
    lines = _Lines(text)
    problems = [f"{lines.of(name)}only [[channel]] may stand here" for name in tables if name != "channel"]
    listed = tables.get("channel", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ConfigError([f"{lines.of('channel')}channels are written as [[channel]]"])
    if not listed:  # most likely somebody is writing it, and nobody means to open all doors
        problems.append("there is no [[channel]] in it")
    if len(listed) > MAX_RULES:
        raise ConfigError([f"more than {MAX_RULES} channels"])
    rules = [_read_rule(one, number, lines, problems) for number, one in enumerate(listed)]
    problems += _odd(rules, lines, has_tokens)
    if problems:
        raise ConfigError(problems)
    return ChannelRules(rules, list(_idle(rules, lines, why_never)))


def _read_rule(table: dict[str, Any], number: int, lines: _Lines, problems: list[str]) -> ChannelRule:
    values: dict[str, Any] = {}
    for name, value in table.items():
        try:
            values[name] = _reader(name)(value)
        except _Wrong as exc:
            problems.append(f"{lines.of(name, number)}{exc}")
    if "name" not in table:
        problems.append(f"{lines.of('', number)}name is missing")
    return ChannelRule(**values)


def _odd(rules: list[ChannelRule], lines: _Lines, has_tokens: bool) -> Iterator[str]:
    """Find what is right by itself and wrong with the rest."""
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.name in seen:
            yield f"{lines.of('name', number)}this name was there before, and the first one counts"
        seen.add(rule.name)
        if rule.users and rule.publish_keys:
            yield f"{lines.of('users', number)}a channel has users or publish_keys, not both"
        if rule.play_keys and rule.play_access not in ("", "key"):
            yield f'{lines.of("play_keys", number)}play_keys are of no use without play_access = "key"'
        if rule.play_access == "token" and not has_tokens:
            where = lines.of("play_access", number)
            yield f"{where}tokens need TOKEN_SECRET, TOKEN_JWKS_URL or TOKEN_JWKS_FILE"


def _idle(rules: list[ChannelRule], lines: _Lines, why_never: Callable[[str], str]) -> Iterator[str]:
    """Find entries that count for no channel."""
    wider: list[tuple[str, Callable[[str], object], bool]] = []
    for number, rule in enumerate(rules):
        where = lines.of("name", number)
        if why := why_never(rule.name):
            yield f"{where}this entry fits no channel: {why}"
            continue
        fixed, *_ = OTHERS.split(rule.name, maxsplit=1)
        shape = OTHERS.sub("\0", rule.name)  # which only a `*` fits
        is_name = shape == rule.name
        if any(
            shape.startswith(beginning) and (is_name or has_stars_only) and fits(shape)
            for beginning, fits, has_stars_only in wider
        ):
            yield f"{where}this entry counts for no channel: one before it fits all that it fits"
        elif not is_name and len(wider) < MAX_WIDER:
            has_stars_only = not {"?", "["}.intersection(rule.name)
            wider.append((fixed, re.compile(fnmatch.translate(rule.name)).match, has_stars_only))


class _Wrong(ValueError):
    """A value or a name in a rule is wrong; the text says how, and quotes nothing."""


def _reader(name: str) -> Callable[[object], object]:
    found = _READERS.get(name)
    if found is not None:
        return found
    if name in _TO_COME:
        raise _Wrong(f"{name} is to come")
    nearest = get_close_matches(name, _READERS, 1, 0.5)
    raise _Wrong("unknown key" + (f"; the nearest is {nearest[0]}" if nearest else ""))


def _pattern(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("name must be a text, a pattern of channels")
    return value


def _keys(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value) or not value:
        raise _Wrong("keys must be a list of texts")
    if len(value) > MAX_KEYS:
        raise _Wrong(f"more than {MAX_KEYS} keys")
    return tuple(_key_digest(one) for one in value)


def _users(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise _Wrong("users must be a table of names and passwords")
    if len(value) > MAX_KEYS:
        raise _Wrong(f"more than {MAX_KEYS} users")
    for name, password in value.items():
        if not _USER.fullmatch(name) or len(name) > MAX_USER or set("&=?").intersection(name):
            raise _Wrong(
                f"a user's name has up to {MAX_USER} characters of ASCII, but for blanks, &, = and ?"
            )
        if not isinstance(password, str) or not password:
            raise _Wrong("a user's password must be a text")
    return value


def _key_digest(key: str) -> bytes:
    if not key.startswith(_HASHED):
        return hashlib.sha256(key.encode()).digest()
    hashed = key.removeprefix(_HASHED)
    if not _DIGEST.fullmatch(hashed):
        raise _Wrong("sha256: is to be followed by 64 hexadecimal digits")
    return bytes.fromhex(hashed)


def _access(value: object) -> str:
    if value not in _ACCESS:
        raise _Wrong(f"play_access must be one of {', '.join(_ACCESS)}")
    return str(value)


def _number(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_NUMBER:
        raise _Wrong("must be a whole number above 0")
    return value


def _second(value: object) -> str:
    if value not in MODES:
        raise _Wrong(f"second_publisher must be one of {', '.join(MODES)}")
    return str(value)


def _reconnect(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_RECONNECT_S:
        raise _Wrong(f"reconnect_seconds must be a whole number from 0 to {MAX_RECONNECT_S}")
    return value


_READERS: dict[str, Callable[[object], object]] = {
    "name": _pattern,
    "publish_keys": _keys,
    "users": _users,
    "play_access": _access,
    "play_keys": _keys,
    "max_players": _number,
    "max_bitrate": _number,
    "max_seconds": _number,
    "second_publisher": _second,
    "reconnect_seconds": _reconnect,
    "record": lambda value: read_record(value, _Wrong),
}


class _Lines:
    """Where things stand in the text, as far as that can be seen without parsing it."""

    def __init__(self, text: str) -> None:
        self._top: dict[str, int] = {}
        self._entries: list[dict[str, int]] = []
        here = self._top
        for number, line in enumerate(text.splitlines(), 1):
            if _ENTRY.match(line):
                here = {"": number}
                self._entries.append(here)
                continue
            key = _KEY.match(line)
            if key is not None:
                here.setdefault(key[1], number)

    def of(self, name: str, entry: int | None = None) -> str:
        """Return `line N: ` for a name, of an entry or outside of all; "" where it cannot be found."""
        if entry is None:
            found = self._top.get(name)
        elif entry < len(self._entries):
            found = self._entries[entry].get(name, self._entries[entry][""])
        else:
            found = None
        return f"line {found}: " if found is not None else ""


def _told(message: str, last_line: int) -> str:
    """Return what the library says about a text, with its line and without any part of the text."""
    what, _mark, where = message.partition(" (at ")
    line = re.match(r"line (\d+)", where)
    shown = what[0].lower() + what[1:] if _PLAIN_WORDS.fullmatch(what) else "not TOML"
    return f"line {line[1] if line else last_line}: {shown}"

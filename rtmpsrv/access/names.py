"""Which channel a client means, and which secrets it offers, by what it sent. Pure; decides about nobody.

The one place that knows how a URL is laid out: `rtmp://HOST/CHANNEL/KEY`, or `rtmp://HOST/APP/NAME` where the
channel is `APP/NAME`. What stands behind a `?` of stream name, app or tcUrl are secrets and choices.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from rtmpsrv.access.gate import INVALID_KEY
from rtmpsrv.access.login import Login, read_login
from rtmpsrv.errors import AccessDenied

CHANNEL_KEY = "channel-key"
APP_STREAM = "app-stream"
PATHS = {CHANNEL_KEY: "CHANNEL/KEY", APP_STREAM: "APP/NAME"}  # what follows the host, for people

MAX_PARAMETERS = 32  # of one query; backends use a handful
MAX_SECRET_BYTES = 4096  # tokens with long claims and RSA signatures have a quarter of that

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]*")
_NEVER_IN_ID = frozenset(">|\n")  # they separate the arguments of commands
_NEVER_IN_PATH = frozenset((".", ".."))  # the channel may become a path of files
_WILDCARD = re.compile(r"[*?\[]")
OTHERS = re.compile(r"\[!?\]?[^\]]*\]|[*?]")  # what stands for other characters in a pattern
_SECRET = re.compile(r"[!-~]*")
_SECRETS = frozenset(("key", "token", "user", "pass"))
_CACHE_CHOICES = frozenset(("no", "clear"))


@dataclass(frozen=True, slots=True)
class StreamName:
    """What a client asks for, and what it shows for it; secrets show in no repr."""

    channel: str
    key: str | None = field(default=None, repr=False)  # None: none offered
    token: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    cache: str = ""  # where a player wants to start: "no", "clear", or as usual
    shown: str = field(default="", repr=False)  # what a callback or control server is told as the key
    path: str = field(default="", repr=False)  # as its own publisher is told of it
    login: Login | None = field(default=None, repr=False)

    @property
    def who(self) -> str:
        """The name of a user that was shown; "" for none."""
        return self.login.user if self.login is not None else self.user


@dataclass(frozen=True, slots=True)
class IdRules:
    """What channel names and stream keys may look like (docs/settings.md, ID_...)."""

    max_bytes: int = 128
    allow_empty: bool = False
    allow_special: bool = False

    def check(self, text: str, code: str, beginning: str) -> None:
        """Raise AccessDenied when `text` may not name a channel or be a key; its text goes on with why."""
        found = self.fault(text)
        if found is not None:
            why, variable = found
            raise AccessDenied(code, f"{beginning}: {why}", variable)

    def fault(self, text: str) -> tuple[str, str] | None:
        """Return what is wrong with `text`, and which variable says so; None for nothing."""
        if not text:
            return None if self.allow_empty else ("it is empty", "ID_ALLOW_EMPTY")
        try:
            length = len(text.encode())
        except UnicodeEncodeError:  # it could leave this process neither in JSON nor as text
            return "it is not UTF-8", ""
        if length > self.max_bytes:
            return f"it has {length} bytes, {self.max_bytes} are allowed", "ID_MAX_LENGTH"
        if self.allow_special:
            return (">, | and line feeds are not allowed", "") if _NEVER_IN_ID.intersection(text) else None
        if _PLAIN_ID.fullmatch(text) is None:
            return "only letters, digits, - and _ are allowed", "ID_ALLOW_SPECIAL_CHARACTERS"
        return None


class Names:
    """The layout in force with the rules for names: reads what clients send, or refuses it."""

    def __init__(self, rules: IdRules, layout: str = CHANNEL_KEY) -> None:
        self._rules = rules
        self._read = _READERS[layout]
        self._has_paths = layout == APP_STREAM
        self.app_is = "app" if self._has_paths else "channel"  # what an app that may be is called

    def check_app(self, app: str) -> None:
        """Raise AccessDenied for an app that cannot be, or begin, the name of a channel."""
        code, beginning = "NetConnection.Connect.Rejected", "Invalid application name"
        if self._has_paths:
            self._check_parts(_parts(app) or [""], code, beginning)
        else:
            self._rules.check(app, code, beginning)

    def check_channel(self, channel: str, code: str) -> None:
        """Raise AccessDenied for what cannot be a channel, whoever chose it."""
        beginning = "Invalid channel name"
        if not self._has_paths:
            self._rules.check(channel, code, beginning)
            return
        self._check_path(StreamName(channel), code)
        if channel != "/".join(_parts(channel)):
            raise AccessDenied(code, f"{beginning}: slashes stand between its parts only")

    def may_hold(self, app: str, pattern: str) -> bool:
        """Tell whether there may be channels of a pattern for clients that have named this app only."""
        if not self._has_paths:
            return fnmatch.fnmatchcase(app, pattern)
        beginning, path = _WILDCARD.split(pattern, maxsplit=1)[0], "/".join(_parts(app)) + "/"
        return beginning.startswith(path) or (beginning != pattern and path.startswith(beginning))

    def why_never(self, pattern: str) -> str:
        """Say why no channel can be one of a pattern; "" where there may be some. Quotes nothing."""
        if pattern.startswith("~^") or (pattern.startswith("~") and not self._rules.allow_special):
            return "patterns are those of a shell, not regular expressions"
        rest = OTHERS.sub("", pattern)
        is_name = rest == pattern
        if self._has_paths:
            if pattern.startswith("/") or "//" in pattern or (is_name and pattern.endswith("/")):
                return "slashes stand between the parts of a name only"
            if is_name and "/" not in pattern:
                return "it has one part, and channels are called APP/NAME (URL_LAYOUT)"
            if {".", ".."}.intersection(pattern.split("/")):
                return ". and .. are not allowed"
            rest = rest.replace("/", "")
        elif "/" in rest and not self._rules.allow_special:
            return "channels have no / in this layout (URL_LAYOUT)"
        why, variable = (self._rules.fault(rest) if rest else None) or ("", "")
        return f"{why} ({variable})" if variable else why

    def offers_nothing(self, app_query: str, tc_url: str) -> bool:
        """Tell whether a client that connects has shown no secret so far."""
        return not _offered("", app_query, tc_url)

    def by_web(self, channel: str, query: str) -> tuple[str, str]:
        """Return app and stream name that mean what somebody asks for by HTTP: a channel, and a query."""
        if self._has_paths:
            app, _slash, rest = channel.partition("/")
            return app, f"{rest}?{query}"
        return channel, f"{_offered(query, '', '').get('key', '')}?{query}"

    def read(
        self,
        app: str,
        app_query: str,
        name: str | None,
        tc_url: str,
        code: str,
        *,
        needs_key: bool = True,
    ) -> StreamName:
        """Return what is meant by app and stream name; raises AccessDenied with `code`.

        Without `needs_key` there may be none where a URL has a place for it.
        """
        if name is None:
            if self._has_paths:
                raise _no_name(code)
            raise AccessDenied(code, "No stream key provided")
        found = self._read(app, app_query, name, tc_url)
        if self._has_paths:
            self._check_path(found, code)
        elif found.key or needs_key:
            self._rules.check(found.key or "", code, INVALID_KEY)
        return found

    def read_again(self, app: str, app_query: str, name: str, tc_url: str) -> StreamName:
        """Return what was meant by somebody who was let in, perhaps by another process, with other rules."""
        return self._read(app, app_query, name, tc_url)

    def _check_path(self, found: StreamName, code: str) -> None:
        beginning = "Invalid stream name"
        parts = _parts(found.channel)
        if len(parts) < 2:
            raise _no_name(code)
        self._check_parts(parts, code, beginning)
        length = len(found.channel.encode())
        if length > self._rules.max_bytes:
            why = f"APP/NAME has {length} bytes, {self._rules.max_bytes} are allowed"
            raise AccessDenied(code, f"{beginning}: {why}", "ID_MAX_LENGTH")
        if found.key:
            self._rules.check(found.key, code, INVALID_KEY)
        if not is_token(found.token):  # backends are told of it
            raise AccessDenied(code, "Invalid token provided")

    def _check_parts(self, parts: list[str], code: str, beginning: str) -> None:
        for part in parts:
            self._rules.check(part, code, beginning)
            if part in _NEVER_IN_PATH:
                raise AccessDenied(code, f"{beginning}: . and .. are not allowed")


def is_token(text: str) -> bool:
    """Tell whether a text can be a token, or none at all: printable ASCII, and not too long."""
    return len(text) <= MAX_SECRET_BYTES and _SECRET.fullmatch(text) is not None


def channel_key(app: str, app_query: str, name: str, tc_url: str) -> StreamName:
    """Read `rtmp://HOST/CHANNEL/KEY`. Judges nothing."""
    key, query = _split(name)
    offered = _offered(query, app_query, tc_url)
    return StreamName(
        app,
        key,
        offered.get("token", ""),
        offered.get("user", ""),
        offered.get("pass", ""),
        cache=_cache(query),
        shown=key,
        path=f"/{app}/{key}",
        login=read_login(app_query),
    )


def app_stream(app: str, app_query: str, name: str, tc_url: str) -> StreamName:
    """Read `rtmp://HOST/APP/NAME`. Judges nothing.

    Where one ends and the other begins is up to the client: ffmpeg calls two parts of `a/b/c` the app, OBS
    what its user wrote into which field, and GoPro all of it. So slashes are no more than separators.
    """
    stream, query = _split(name)
    offered = _offered(query, app_query, tc_url)
    channel = "/".join(_parts(f"{app}/{stream}"))
    return StreamName(
        channel,
        offered.get("key"),
        offered.get("token", ""),
        offered.get("user", ""),
        offered.get("pass", ""),
        _cache(query),
        offered.get("key") or offered.get("token", ""),
        f"/{channel}",
        read_login(app_query),
    )


_READERS = {CHANNEL_KEY: channel_key, APP_STREAM: app_stream}


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _no_name(code: str) -> AccessDenied:
    """Return the refusal of one part only, as in a URL of the other layout."""
    return AccessDenied(code, "No stream name provided: rtmp://HOST/APP/NAME is needed", "URL_LAYOUT")


def _split(name: str) -> tuple[str, str]:
    """Split a stream name into itself and its query text, which a second `?` ends."""
    stream, _mark, query = name.partition("?")
    return stream, query.partition("?")[0]


def _offered(query: str, app_query: str, tc_url: str) -> dict[str, str]:
    """Return the secrets of three queries by name, decoded; the first one that is not empty counts."""
    found: dict[str, str] = {}
    # A slash at the end is that of a URL field.
    for text in (query, app_query.rstrip("/"), tc_url.partition("?")[2].rstrip("/")):
        for pair in text.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
            name, _mark, value = pair.partition("=")
            if name in _SECRETS and value:
                found.setdefault(name, unquote(value))
    return found


def _cache(query: str) -> str:
    """Return the last value of `cache`, if it is one; pairs need exactly one "=", nothing is decoded."""
    value = ""
    for pair in query.split("&"):
        parts = pair.split("=")
        if len(parts) == 2 and parts[0] == "cache":
            value = parts[1]
    return value if value in _CACHE_CHOICES else ""

"""Variables that nobody reads, though whoever set them meant a setting: found by their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import SequenceMatcher

# How names of settings begin and hardly those of others: what begins so is meant for us. Of other names those
# count that are a setting's with words left out, or so near to one (1 is equal).
PREFIXES = (
    "BIND_", "CALLBACK_", "CONCURRENT_", "CONTROL_", "GOP_", "JWT_", "LOG_", "PLAYER_", "REDIS_", "RTMP_",
    "SSL_",
)  # fmt: skip
ALIKE = 0.8
MEANT = {"LOG_LEVEL": "LOG_DEBUG", "REDIS_URL": "REDIS_HOST"}  # names of other servers, by what they do here
OTHERS = {"SSL_CERT_FILE", "SSL_CERT_DIR"}  # OpenSSL's
# What Kubernetes and Docker set in every container for a service called `redis` or `rtmp`.
SERVICE_PARTS = ("_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP", "_ENV_")


def misspelt(environ: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Give a sentence for each variable that is set, unknown and near to a known name. Shows no values."""
    for name in sorted(environ):
        if environ[name] and name.isascii() and name not in OTHERS and name not in known:
            nearest = MEANT.get(name.upper()) or max(known, key=lambda one: _nearness(name.upper(), one))
            shortened, ratio = _nearness(name.upper(), nearest)
            ours = name.upper().startswith(PREFIXES) and not any(part in name for part in SERVICE_PARTS)
            if shortened or ratio >= ALIKE or ours:
                yield f"{name} is no setting and is ignored; the nearest is {nearest}"


def _nearness(name: str, known: str) -> tuple[bool, float]:
    """Rate how near two names are: whether one is the other with words left out, then equal letters."""
    words, known_words = name.split("_"), known.split("_")
    shortened = len(words) > 1 and words[0] == known_words[0] and set(words) <= set(known_words)
    return shortened, SequenceMatcher(None, name, known, autojunk=False).ratio()

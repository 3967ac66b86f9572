"""Every bound of an endpoint. Seconds, bytes and counts; change them with `dataclasses.replace`."""

from __future__ import annotations

from dataclasses import dataclass, fields

MIB = 1 << 20
MAX_CHUNK_SIZE = 0xFFFFFF  # bytes: no message is longer
# Clients of a registration that are gone and wait all the same: for room, and for `accept`. Who leaves at the
# end of a stream loses nothing of it; those that come only to leave are many.
MAX_DEPARTED = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults suit a program that serves some hundred clients."""

    handshake_s: float = 10.0  # from accept to the end of the handshake, TLS included
    request_s: float = 10.0  # from there to publish or play, and from a stop to the next
    approval_s: float = 10.0  # for the registrant to answer
    silence_s: float = 30.0  # a client that sends nothing for so long is dropped
    ping_s: float = 10.0  # below silence_s: watchers send little else than answers
    stall_s: float = 10.0  # a watcher that takes nothing, or a registrant that consumes nothing, for so long
    watcher_lag_bytes: int = 8 * MIB  # a watcher further behind skips to the newest keyframe
    watcher_lag_s: float = 10.0
    queue_messages: int = 1024  # media is put on a registrant's queue only below this
    queue_bytes: int = 32 * MIB  # likewise; payload bytes. Also of all that wait for `accept`, together
    unaccepted: int = 256  # clients that wait for `accept`; who comes then is disconnected
    message_bytes: int = 16 * MIB - 1  # longest media message taken from a publisher
    cache_bytes: int = 64 * MIB  # kept of one stream for watchers that join; 0: they wait for a keyframe
    cache_total_bytes: int = 512 * MIB  # of all streams
    merge_messages: int = 8  # merged into one write to watchers when busy
    connections: int = 1000
    connections_per_address: int = 1000
    chunk_size: int = 4096
    close_s: float = 5.0  # for connections to end when the endpoint is closed

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int | float if item.type == "float" else int) or isinstance(value, bool):
                raise TypeError(f"limit {item.name} is a number, not {value!r}")
            lowest = 0 if item.name.endswith("_s") or item.name.startswith("cache_") else 1
            if value < lowest:
                raise ValueError(f"limit {item.name} is {value}, the least is {lowest}")
        if not 0 < self.ping_s < self.silence_s:
            raise ValueError(f"limit ping_s is {self.ping_s}, not between 0 and silence_s, {self.silence_s}")
        if self.chunk_size > MAX_CHUNK_SIZE:
            raise ValueError(f"limit chunk_size is {self.chunk_size}, the most is {MAX_CHUNK_SIZE}")

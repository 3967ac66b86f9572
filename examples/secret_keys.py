"""Publish under a secret key, watch under a public one: secret_keys.py SECRET=PUBLIC... [PORT]

Publish to rtmp://127.0.0.1/publish/SECRET, watch rtmp://127.0.0.1/watch/PUBLIC.
"""

from __future__ import annotations

import signal
import sys

import gevent

from rtmpsrv import (
    Endpoint,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    PublisherRegistration,
    WatcherRegistration,
)


def relay(publishers: PublisherRegistration, watchers: WatcherRegistration, public_name: str) -> None:
    """Relay whoever publishes one secret key to its public name."""
    for publisher in publishers.accept():  # one after the other: a key has one publisher
        for data in publisher:
            watchers.send(public_name, data)
        watchers.end(public_name)


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    pairs = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    ports = [int(word) for word in sys.argv[1:] if "=" not in word]
    with Endpoint() as endpoint:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        watching = ListenForWatchers(rtmp_app="watch", port=ports[0] if ports else 1935)
        watchers = endpoint.register(watching).discard_messages()
        relays = []
        for secret, public_name in pairs.items():
            # One registration for each key: all other keys are refused by the endpoint.
            publishing = ListenForPublishers(
                rtmp_app="publish", rtmp_stream_key=Exact(secret), port=watchers.port
            )
            relays.append(gevent.spawn(relay, endpoint.register(publishing), watchers, public_name))
        print(f"watch rtmp://127.0.0.1:{watchers.port}/watch/PUBLIC", flush=True)
        gevent.joinall(relays, raise_error=True)


if __name__ == "__main__":
    main()

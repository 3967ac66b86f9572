"""Publish under a secret key, watch under a public one: secret_keys.py SECRET=PUBLIC... [PORT]

Publish to rtmp://127.0.0.1/publish/SECRET, watch rtmp://127.0.0.1/watch/PUBLIC.
"""

from __future__ import annotations

import signal
import sys

import gevent
from gevent.queue import Queue

from rtmpsrv import (
    ConnectionId,
    Endpoint,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    PublisherMessage,
    PublisherRegistration,
    PublishingStopped,
    WatcherMessage,
    WatcherRegistration,
)


def relay(endpoint: Endpoint, public_names: dict[str, str], port: int) -> None:
    """Relay each secret key to its public name."""
    messages: Queue[PublisherMessage | WatcherMessage] = Queue()
    names: dict[ConnectionId, str] = {}
    handles: list[PublisherRegistration | WatcherRegistration] = []
    try:
        watchers = endpoint.register(ListenForWatchers(rtmp_app="watch", port=port), messages)
        handles.append(watchers)
        for secret in public_names:
            # One registration for each key: all other keys are refused by the endpoint.
            request = ListenForPublishers(
                rtmp_app="publish", rtmp_stream_key=Exact(secret), port=watchers.port
            )
            handles.append(endpoint.register(request, messages))
        print(f"watch rtmp://127.0.0.1:{watchers.port}/watch/PUBLIC", flush=True)
        for message in messages:
            match message:
                case NewPublisherConnected(client=client):
                    names[client.connection_id] = public_names[client.stream_key]
                case NewMediaData(publisher=publisher, data=data):
                    watchers.send(names[publisher], data)
                case PublishingStopped(connection_id=publisher):
                    watchers.end(names.pop(publisher))
    finally:
        for handle in handles:
            handle.close()


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    pairs = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    ports = [int(word) for word in sys.argv[1:] if "=" not in word]
    with Endpoint() as endpoint:
        server = gevent.spawn(relay, endpoint, pairs, ports[0] if ports else 1935)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        server.get()


if __name__ == "__main__":
    main()

"""A relay made of the endpoint's API, for the benchmark: endpoint_relay.py PORT MERGE [CERTIFICATE KEY]

App "live", any key: what is published can be watched. Unpatched, as an embedding program may be.
"""

from __future__ import annotations

import signal
import sys

import gevent
from gevent import ssl
from gevent.queue import Queue

from rtmpsrv import (
    ConnectionId,
    Endpoint,
    Limits,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
)

APP = "live"
CONNECTIONS = 100_000


def relay(endpoint: Endpoint, port: int, tls: bool) -> None:
    """Send what publishers send to the watchers of the same key, until the endpoint is closed."""
    keys: dict[ConnectionId, str] = {}
    messages: Queue[object] = Queue()
    watchers = endpoint.register(ListenForWatchers(rtmp_app=APP, port=port, use_tls=tls), messages)
    endpoint.register(ListenForPublishers(rtmp_app=APP, port=port, use_tls=tls), messages)
    for message in messages:
        match message:
            case NewMediaData(publisher=publisher, data=data):
                watchers.send(keys[publisher], data)
            case NewPublisherConnected(client=client):
                keys[client.connection_id] = client.stream_key
            case PublishingStopped(connection_id=publisher):
                watchers.end(keys.pop(publisher))


def main() -> None:
    """Run until SIGTERM."""
    port, merge, *pair = sys.argv[1:]
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    limits = Limits(
        connections=CONNECTIONS, connections_per_address=CONNECTIONS, merge_messages=int(merge), stall_s=30.0
    )
    with Endpoint("127.0.0.1", context, limits) as endpoint:
        gevent.signal_handler(signal.SIGTERM, gevent.spawn, endpoint.close)
        gevent.spawn(relay, endpoint, int(port), context is not None).join()


if __name__ == "__main__":
    main()

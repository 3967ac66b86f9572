"""Relay app "live", after asking an HTTP server about each publisher: relay_with_approval.py URL [PORT]

The server gets a POST of {"key", "address", "arguments"} as JSON; status 200 admits, any other refuses.
`requests` waits in plain sockets, so this program patches them first: the endpoint itself would not need it.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import signal
import sys

import gevent
import requests
from gevent.pool import Pool

from rtmpsrv import Endpoint, ListenForPublishers, ListenForWatchers, Publisher, WatcherRegistration

HTTP_TIMEOUT_S = 5.0  # below the endpoint's own limit for answers
QUESTIONS = 20  # asked at one time


def is_approved(url: str, publisher: Publisher) -> bool:
    """Ask the HTTP server about a publisher; one that fails admits nobody."""
    client = publisher.client
    about = {
        "key": client.stream_key,
        "address": str(client.address),
        "arguments": dict(client.arguments),
    }
    try:
        answer = requests.post(url, json=about, timeout=HTTP_TIMEOUT_S)
    except requests.RequestException:
        return False
    return bool(answer.status_code == requests.codes.ok)


def relay(url: str, publisher: Publisher, watchers: WatcherRegistration, questions: Pool) -> None:
    """Relay what a publisher sends to the watchers of the same key, once it is approved."""
    # Of a pool, so that a slow HTTP server has no more of them to answer than it can.
    if not questions.apply(is_approved, (url, publisher)):
        publisher.reject("Not approved")
        return
    publisher.approve()
    for data in publisher:
        watchers.send(publisher.key, data)
    watchers.end(publisher.key)


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    questions = Pool(QUESTIONS)
    with Endpoint() as endpoint:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        watchers = endpoint.register(ListenForWatchers(rtmp_app="live", port=port)).discard_messages()
        publishing = ListenForPublishers(rtmp_app="live", port=watchers.port, requires_approval=True)
        publishers = endpoint.register(publishing)
        print(f"relaying rtmp://127.0.0.1:{watchers.port}/live/KEY", flush=True)
        for publisher in publishers.accept():
            gevent.spawn(relay, sys.argv[1], publisher, watchers, questions)


if __name__ == "__main__":
    main()

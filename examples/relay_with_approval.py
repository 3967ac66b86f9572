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
from gevent.queue import Queue

from rtmpsrv import (
    ConnectionId,
    Endpoint,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    PublisherMessage,
    PublisherRequiringApproval,
    PublishingStopped,
    WatcherMessage,
)

HTTP_TIMEOUT_S = 5.0  # below the endpoint's own limit for answers
QUESTIONS = 20  # asked at one time


def ask(url: str, question: PublisherRequiringApproval) -> None:
    """Answer one question with what the HTTP server says; a server that fails admits nobody."""
    client = question.client
    about = {
        "key": client.stream_key,
        "address": str(client.address),
        "arguments": dict(client.arguments),
    }
    try:
        answer = requests.post(url, json=about, timeout=HTTP_TIMEOUT_S)
    except requests.RequestException:
        question.reject("Approval is not available")
        return
    if answer.status_code == requests.codes.ok:
        question.approve()
    else:
        question.reject("Not approved")


def relay(endpoint: Endpoint, url: str, port: int) -> None:
    """Relay what approved publishers send to the watchers of the same key."""
    keys: dict[ConnectionId, str] = {}
    messages: Queue[PublisherMessage | WatcherMessage] = Queue()  # both registrations report here
    questions = Pool(QUESTIONS)
    watching = ListenForWatchers(rtmp_app="live", port=port)
    with endpoint.register(watching, messages) as watchers:
        publishing = ListenForPublishers(rtmp_app="live", port=watchers.port, requires_approval=True)
        with endpoint.register(publishing, messages):
            print(f"relaying rtmp://127.0.0.1:{watchers.port}/live/KEY", flush=True)
            for message in messages:
                match message:
                    case PublisherRequiringApproval():
                        # In a greenlet of its own: media of others must not wait for the HTTP server.
                        if questions.full():
                            message.reject("Too busy")
                        else:
                            questions.spawn(ask, url, message)
                    case NewPublisherConnected(client=client):
                        keys[client.connection_id] = client.stream_key
                    case NewMediaData(publisher=publisher, data=data):
                        watchers.send(keys[publisher], data)
                    case PublishingStopped(connection_id=publisher) if publisher in keys:
                        # One that was refused ends too, and was never in `keys`.
                        watchers.end(keys.pop(publisher))


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    with Endpoint() as endpoint:
        server = gevent.spawn(relay, endpoint, sys.argv[1], port)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        server.get()


if __name__ == "__main__":
    main()

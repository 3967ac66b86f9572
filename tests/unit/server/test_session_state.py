from __future__ import annotations

import pickle

from rtmpsrv.server.host import Client
from rtmpsrv.server.session_state import NEVER, SessionSettings, begin


def test_a_new_connection_has_until_its_handshake_deadline() -> None:
    client = Client(1, "192.0.2.1", 1935, False)
    state = begin(client, SessionSettings(handshake_s=7.0, message_bytes=1000), 100.0)
    assert (state.accepted_at, state.heard_at, state.deadline) == (100.0, 100.0, 107.0)
    assert state.next_ping == NEVER
    assert state.connection.publisher_limits.media_bytes == 1000


def test_it_is_plain_data() -> None:
    client = Client(1, "192.0.2.1", 1935, True, "app", {"tcUrl": "rtmp://h/app", "audioCodecs": 3191.0})
    state = begin(client, SessionSettings(), 100.0)
    state.connection.receive_data(b"\x03" + bytes(1000))
    state.outlet.pending.append(b"half of a")
    copy = pickle.loads(pickle.dumps(state))
    assert copy == state
    assert copy.connection is not state.connection


def test_it_tells_no_secrets() -> None:
    client = Client(1, "192.0.2.1", 1935, True, "app", {"tcUrl": "rtmp://h/app?key=secret"})
    state = begin(client, SessionSettings(), 100.0)
    state.outlet.answers.append(b"secret")
    assert "secret" not in repr(state)

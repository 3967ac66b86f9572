from __future__ import annotations

import pytest
from gevent import socket as gsocket

from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.errors import AccessDenied
from rtmpsrv.workers.conversation import Conversation
from rtmpsrv.workers.inherited import InheritedAuthority
from rtmpsrv.workers.wire import Wire

PATIENCE_S = 5.0


def test_the_predecessor_is_told_of_each_end_once_by_its_own_serial() -> None:
    one, other = gsocket.socketpair(gsocket.AF_UNIX)
    talk, far = Conversation(Wire(one)), Wire(other)
    authority = InheritedAuthority(talk)
    grant = Grant("app", "key", "10.0.0.1", "id", 7)
    authority.adopted(grant, 70)
    assert authority.own_serials([70, 71]) == {7}
    authority.ended(grant)
    authority.ended(grant)
    assert authority.own_serials([70, 71]) == set()
    assert authority.wait_idle(PATIENCE_S)
    talk.tell({"kind": "last"})
    assert far.receive(PATIENCE_S) == ({"kind": "ended", "serial": 70}, [])
    assert far.receive(PATIENCE_S) == ({"kind": "last"}, [])
    talk.close()
    assert authority.wait_idle(0)
    authority.close()
    far.close()


def test_it_grants_nothing() -> None:
    one, other = gsocket.socketpair(gsocket.AF_UNIX)
    talk = Conversation(Wire(one))
    with pytest.raises(AccessDenied, match="being replaced"):
        InheritedAuthority(talk).authorise(PublishRequest("app", "key", "10.0.0.1"))
    talk.close()
    other.close()

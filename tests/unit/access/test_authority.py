from __future__ import annotations

from rtmpsrv.access.authority import OpenAuthority
from rtmpsrv.access.grants import Grant, PublishRequest
from tests.doubles.secrets import KEY


def test_where_nobody_is_asked_everybody_publishes_under_an_id_that_is_not_the_key() -> None:
    authority = OpenAuthority()
    request = PublishRequest("news", KEY, "10.0.0.1")
    one, other = authority.authorise(request), authority.authorise(request)
    assert len({one, other, KEY}) == 3
    assert authority.key_names_stream
    authority.ended(Grant("news", KEY, "10.0.0.1", one))
    assert authority.wait_idle(0)
    authority.close()

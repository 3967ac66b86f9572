from __future__ import annotations

import pytest

from rtmpsrv.server.http.site import Site
from tests.unit.server.http.stage import ViewingHost


def test_one_handler_for_each_kind() -> None:
    site = Site(ViewingHost())
    site.add("page", lambda _request, _reply: None)
    with pytest.raises(ValueError, match="two handlers for page"):
        site.add("page", lambda _request, _reply: None)
    assert not site.leaving()

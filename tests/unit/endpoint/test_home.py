from __future__ import annotations

import asyncio

import gevent
import pytest
from gevent import monkey

from rtmpsrv.endpoint.home import Home, refuse_in_asyncio


def test_only_its_own_thread_may_call() -> None:
    home = Home()
    home.check("anything")
    assert home.is_here
    elsewhere = gevent.get_hub().threadpool
    assert not elsewhere.apply(lambda: home.is_here)
    with pytest.raises(RuntimeError, match="register was called in another thread"):
        elsewhere.apply(home.check, ("register",))


def test_a_running_loop_of_asyncio_is_refused_where_greenlets_do_not_run_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_in_asyncio("register")

    async def inside() -> None:
        refuse_in_asyncio("register")  # this program is patched
        monkeypatch.setattr(monkey, "is_module_patched", lambda name: False)
        with pytest.raises(RuntimeError, match="asyncio"):
            refuse_in_asyncio("register")

    asyncio.run(inside())
    refuse_in_asyncio("register")

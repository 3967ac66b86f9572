"""The thread that an endpoint belongs to: who calls from elsewhere is told so, and does not wait for ever."""

from __future__ import annotations

import sys

from gevent import monkey

# That of the system, in patched programs too: greenlets of one thread may call.
_get_ident = monkey.get_original("_thread", "get_ident")

ELSEWHERE = "it belongs to the thread in which it was made; from other threads and asyncio use rtmpsrv.Portal"


class Home:
    """Remembers the thread in which it was made."""

    __slots__ = ("_thread",)

    def __init__(self) -> None:
        self._thread = _get_ident()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is that one."""
        return bool(_get_ident() == self._thread)

    def check(self, what: str) -> None:
        """Raise RuntimeError in any other thread. Never blocks."""
        if _get_ident() != self._thread:
            raise RuntimeError(f"{what} was called in another thread: {ELSEWHERE}")


def refuse_in_asyncio(what: str) -> None:
    """Raise RuntimeError where the loop of asyncio has the thread: greenlets would never run beside it.

    In a patched program that loop waits through gevent, and both are served.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or monkey.is_module_patched("select"):
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{what} was called inside a running asyncio loop, which serves nobody: {ELSEWHERE}")

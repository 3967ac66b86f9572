"""What is shown of a process and may be done to it, put together: for an application, or a keeper."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import log
from .access.names import CHANNEL_KEY
from .admission import Admission
from .config import Config
from .monitor.actions import Actions
from .monitor.counters import Tallies
from .monitor.monitor import Monitor
from .monitor.observer import Observer
from .monitor.recorded import Recordings
from .monitor.report import Report, Standing
from .relay import Relay
from .workers.estate import Estate

if TYPE_CHECKING:
    from .access.callback_hooks import CallbackHooks
    from .live.registry import Registry
    from .monitor.keeper import KeeperMonitor
    from .server.reloader import CertificateReloader
    from .viewers_side import ViewersSide
    from .workers.membership import Membership

PREFIX = "API"


class _Blocks:
    """Blocks of a process that is alone."""

    def __init__(self, admission: Admission, relay: Relay) -> None:
        self.block = admission.block
        self.turn_away = relay.turn_away


def monitor_of_app(
    config: Config,
    registry: Registry[str],
    relay: Relay,
    estate: Estate,
    admission: Admission | Membership,
    observer: Observer,
    standing: Callable[[], Standing],
    worker: str,
    viewers: ViewersSide,
    recordings: Recordings,
) -> Monitor:
    """Return the monitor of a process that serves; `worker` is its name among several."""
    turns = estate.parts.turns
    report = Report(
        worker, registry, relay.on_air, estate.listeners, observer, turns, relay.watching,
        recordings, viewers.made, names_are_keys=config.url_layout == CHANNEL_KEY,
    )  # fmt: skip
    blocks = _Blocks(admission, relay) if isinstance(admission, Admission) else admission

    def publisher_of(channel: str) -> str | None:
        client = relay.on_air.publisher_of(channel)
        return client.id if client is not None else None

    actions = Actions(
        report.find, publisher_of, relay.give_up, admission.kills.kill, blocks, observer, recordings,
        log.get(PREFIX),
    )  # fmt: skip
    closed = admission.gate.blocks if isinstance(admission, Admission) else dict
    return Monitor(report, actions, observer, standing, turns, worker, closed)


def monitor_of_keeper(admission: Admission) -> KeeperMonitor:
    """Return the monitor of the process that decides for several workers."""
    from .monitor.keeper import KeeperMonitor  # others need nothing of it

    counted = Tallies()
    if admission.callbacks is not None:
        admission.callbacks.count_posts(counted.posted)

    def standing() -> Standing:
        return standing_of(admission, [])

    return KeeperMonitor(
        standing, admission.block, admission.kills.kill, counted, log.get(PREFIX), admission.gate.blocks
    )


def standing_of(
    admission: Admission | Membership,
    obstacles: list[str],
    hooks: CallbackHooks | None = None,
    certificates: CertificateReloader | None = None,
    *,
    succeeded: bool = False,
) -> Standing:
    """Return what an application, or a keeper, knows of itself; `obstacles` are why it lets nobody in.

    It is `succeeded` when another process serves in its place.
    """
    callbacks, redis, coordinator = admission.callbacks, admission.redis, admission.coordinator
    not_ready = list(obstacles)
    if coordinator is not None and not coordinator.connected:
        not_ready.append("the control server is not connected")
    return {
        "not_ready": not_ready,
        "succeeded": succeeded,
        "certificate_expires_at": certificates.expires_at if certificates is not None else None,
        "callback_queue_length": sum([one.waiting for one in (callbacks, hooks) if one is not None]),
        "redis_connected": redis.subscribed if redis is not None else None,
        "control_connected": coordinator.connected if coordinator is not None else None,
    }

"""The stand-alone server put together, and its life: start, serve, drain, stop. The only composer.

What needs large libraries is imported when its settings ask for it: requests, redis, websocket, PyJWT (all
in `admission`), cryptography and OpenSSL together take longer to load than all else, and 15 MB.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.pool import Group

from . import __version__, greeting, log
from .access.refusals import RefusalDelay
from .admin import AdminSide, ask_alone
from .admission import Admission, callback_hooks, connection_limits, longest_answer_s
from .advice import what_waits
from .av.process import AvProcess
from .bounds import agreed, live_limits, raise_descriptor_limit, session_settings
from .config import SETTINGS, Config
from .entrance import entrance_from
from .errors import try_all
from .groups import LOGS
from .listing import Listing
from .live.registry import Registry
from .monitor.observer import Observer
from .monitor.report import Standing
from .monitoring import monitor_of_app, standing_of
from .recording import is_wanted, recordings_of
from .relay import Relay
from .room import play_policy
from .server.clock import LoopClock
from .server.ingest import Ingest
from .server.listener import Listener
from .server.parts import ServerParts, Slots
from .server.ports import NO_PORTS, Ports, listening
from .server.proxies import Proxies
from .server.trim import keep_large_blocks_apart, tune_collector
from .server.turns import Turns
from .viewers_side import ViewersSide
from .watch.pages import Pages
from .workers.estate import Estate, Numbers
from .workers.succession import Succession
from .workers.successor import Abandoned, Successor

if TYPE_CHECKING:
    from .server.certificates import CertificatePair
    from .server.reloader import CertificateReloader
    from .server.tls import TlsListener
    from .workers.membership import Membership

MIB = 1 << 20


class App:
    """One stand-alone server process."""

    def __init__(
        self,
        config: Config,
        ports: Ports = NO_PORTS,
        membership: Membership | None = None,
        login_secret: bytes = b"",
    ) -> None:
        """Take over `ports` that others have opened; open those that are not among them.

        With a membership it is one of several workers, and the keeper decides who may publish and connect.
        `login_secret` is that of the process before this one. Raises ConfigError for an unusable file.
        """
        self.log = log.get()
        self._ports = ports
        self._drain_s = float(config.drain_timeout_seconds)
        self._config = config
        self._stopping = Event()
        clock = LoopClock()
        self.registry: Registry[str] = Registry(
            clock, live_limits(config), config.gop_cache_total_mb * MIB, config.rtmp_chunk_size
        )
        turns = Turns()
        worker = membership.name if membership is not None else ""
        observer = Observer(worker)
        self._membership = membership
        self._admission: Admission | Membership = membership or Admission(config, turns, keeps_stops=True)
        self.gate = self._admission.gate
        secret = login_secret or (membership.login_secret() if membership else os.urandom(32))
        self._entrance = entrance_from(config, turns, secret)
        self._hooks = callback_hooks(config, turns)
        self.relay = Relay(
            self.registry,
            self.gate,
            self._entrance,
            play_policy(config.rtmp_play_whitelist),
            RefusalDelay(self._tell_refusals),
            self._hooks,
        )
        self.av = AvProcess(log.get("AV"))
        self.recordings = recordings_of(
            config, self.registry, self.relay, self._entrance, self._hooks, self.av.init, observer.recorded
        )
        slots: Slots = membership.slots if membership is not None else connection_limits(config)
        # With MSG_BUFFER_SIZE=1 the operator asked for the lowest latency: reads are not merged either.
        ingest = Ingest(clock, enabled=config.msg_buffer_size > 1)
        proxies = Proxies(config.proxy_protocol_from, config.max_connections)
        numbers = Numbers()
        self.listeners: list[Listener] = []
        self.viewers = ViewersSide(config, self.relay.watching, self.listeners, self.av)
        Pages(Listing(config, self.registry, self.relay, self._entrance)).add_to(self.viewers.site)
        self._parts = ServerParts(
            session_settings(config), slots, self.registry.budget, clock, turns, ingest, numbers, proxies,
            tally=observer, site=self.viewers.site,
        )  # fmt: skip
        self.viewers.show(self.registry, self._parts)
        admission = self._admission
        self.estate = Estate(
            self.registry, self.gate, admission.kills, self._parts, numbers, self.listeners, agreed(config),
            self.relay.tell, admission.callbacks, admission.redis, login_secret=secret,
            tied=[admission.coordinator] if admission.coordinator else [], made=self.viewers.shown,
            turned_away=self.relay.room.turned_away, past=observer.history if membership is None else None,
        )  # fmt: skip
        if isinstance(admission, Admission) and admission.coordinator is not None:
            admission.coordinator.on_link_lost = lambda: self.estate.link_lost(admission.authority)
        for sender in (admission.callbacks, self._hooks):
            if sender is not None:
                sender.count_posts(observer.counted.posted)
        self.monitor = monitor_of_app(
            config, self.registry, self.relay, self.estate, admission, observer, self._standing, worker,
            self.viewers, self.recordings,
        )  # fmt: skip
        self.succession = Succession(
            self.estate,
            self.log,
            start_s=float(config.handover_timeout_seconds),
            linger_s=float(config.linger_seconds),
            over=self.stop,
        )
        self._successor: Successor | None = None  # this process, until it serves
        self._failed = False
        self.viewers.site.leaving = lambda: self._stopping.is_set() or self.succession.begun
        ask = None if membership is not None else ask_alone(self.monitor.answer, self.log)
        self.admin = AdminSide(config, ask, self.estate.doors)
        self.on_serving: Callable[[], None] = lambda: None  # clients are let in from now on
        if membership is not None:
            membership.join(self.relay, self.estate, config.spread_players, self.describe)
            membership.link.calls["monitor"] = self.monitor.answer
        self._tls_listener: TlsListener | None = None  # none before the first good certificate
        self._certificates = self._certificate_reloader(config) if config.tls_enabled else None

    def start(self, successor: Successor | None = None) -> None:
        """Open the ports. Raises OSError when the plain port cannot be bound, ConfigError for the others.

        As the successor of another process it lets nobody in before that has handed over.
        """
        config = self._config
        self.registry.budget.limit_descriptors(raise_descriptor_limit())
        tune_collector()
        keep_large_blocks_apart()
        plain = listening(self._ports.plain)
        listener = Listener(config.bind_address, config.rtmp_port, self.relay, self._parts, plain)
        for line in greeting.where_to_publish(config, self._ports, listener.port):
            self.log.info("%s", line)
        fields = {"event": "started", "version": __version__}
        self.log.info("RTMP server rtmpsrv (%s)", __version__, extra={"fields": fields})
        self.log.info("Play policy: %s", config.play_policy)
        self._entrance.start()
        self.listeners.append(listener)
        self._successor = successor
        try_all(
            lambda: self.viewers.open(self._parts, self._ports.http, binds=self._membership is None),
            lambda: self.admin.open(self._ports.admin, patient=successor is not None),
        )
        if successor is None:
            self._serve()
        else:
            self._admission.start_commands()
            gevent.spawn(self._take_over, successor)

    def run(self) -> int:
        """Serve until `stop` was asked for, then drain; return the exit code. Blocks."""
        self._stopping.wait()
        if self._failed:
            return 1
        self._drain()
        return 0

    @property
    def handed_over(self) -> bool:
        """Whether another process serves now."""
        return self.succession.succeeded

    def hand_over(self) -> None:
        """Start a process that succeeds this one, and hand everything over to it. Blocks for the fork."""
        if self._successor is None:
            self.succession.begin()
        else:
            self.log.info("succession: this process does not serve yet")

    def stop(self, drain_s: float | None = None) -> None:
        """Ask `run` to end, within DRAIN_TIMEOUT_SECONDS or `drain_s`. Never blocks.

        May be called from a signal handler.
        """
        if drain_s is not None:
            self._drain_s = drain_s
        self._stopping.set()

    def reload(self, config: Config | None = None) -> None:
        """Look at all files now, and take over what may change of new settings. Never blocks."""
        if self._certificates is not None:
            self._certificates.ask()
        self.admin.reload()
        self._entrance.ask()
        if config is None:
            return
        log.switch_levels(config)
        self.log.info("Settings read again")
        changed = [
            name.upper()
            for name, described in SETTINGS.items()
            if described.group != LOGS and getattr(config, name) != getattr(self._config, name)
        ]
        for line in what_waits(changed):
            self.log.warning("%s", line)

    def _serve(self) -> None:
        """Let clients in."""
        self._successor = None
        self.listeners[0].start()
        self.viewers.start()
        if self._certificates is not None:
            self._certificates.start()
        self._admission.start()
        self.monitor.start_watching()
        self.admin.start()
        if is_wanted(self._config):
            self.recordings.begin()
        self.on_serving()

    def _take_over(self, successor: Successor) -> None:
        """Succeed another process; the top of a greenlet."""
        try:
            successor.run(self.estate, self._serve)
        except Abandoned as exc:
            self.log.error("succession failed, this process ends: %s", exc)
            self._failed = True
        except Exception:  # a bug of ours: the other process goes on
            self.log.exception("succession failed, this process ends")
            self._failed = True
        finally:
            if self._failed:
                log.flush()  # the other process kills this one as soon as it has lost it
            successor.close()
        if self._failed:
            self.stop()

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know, as values that any program can read."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            **self.registry.describe(),
            "listeners": [listener.describe() for listener in self.listeners],
            "sessions": [one.describe() for listener in self.listeners for one in list(listener.sessions)],
        }

    def _standing(self) -> Standing:
        """Return whether it lets clients in, and what it depends on."""
        obstacles = [
            (self._stopping.is_set(), "it is shutting down"),
            (self._successor is not None, "it takes over from another process"),
            (self.succession.begun, "it hands over to another process"),
            (self._membership is not None and self._membership.link.line is None, "there is no keeper"),
        ]
        why = [sentence for is_so, sentence in obstacles if is_so]
        return standing_of(self._admission, why, self._hooks, self._certificates, succeeded=self.handed_over)

    def _tell_refusals(self, count: int, address: str) -> None:
        self.log.info("requests refused since the last such line: %d, the last from %s", count, address)

    def _certificate_reloader(self, config: Config) -> CertificateReloader:
        from .server.reloader import CertificateReloader  # loads cryptography and OpenSSL
        from .server.tls import TlsListener

        return CertificateReloader(
            config.ssl_cert,
            config.ssl_key,
            float(config.ssl_check_reload_seconds),
            self._install_certificate,
            log.get(TlsListener.prefix),
        )

    def _install_certificate(self, pair: CertificatePair) -> None:
        """Let new RTMPS connections use `pair`; opens the port with the first one."""
        from .server.tls import TlsListener, make_context  # loads ssl; `_certificate_reloader` did already

        context = make_context(pair)
        self.viewers.install(context)
        if self._tls_listener is not None:
            self._tls_listener.context = context
            return
        config = self._config
        address, port, secure = config.ssl_bind_address, config.ssl_port, listening(self._ports.secure)
        listener = TlsListener(address, port, self.relay, self._parts, context, secure)
        listener.start()
        self._tls_listener = listener
        self.listeners.append(listener)

    def _drain(self) -> None:
        """Stop accepting, end publications so that players are told, wait for all, bounded."""
        timeout_s = self._drain_s
        deadline = monotonic() + timeout_s
        reason = "server is shutting down"
        self.succession.cancel()
        self.log.info("Shutting down, %d connections", sum(len(one.sessions) for one in self.listeners))
        if self._certificates is not None:
            self._certificates.close()
        self._entrance.close()
        if self._membership is not None:
            self._membership.leave()
        for listener in self.listeners:
            listener.close()
        self.relay.close()
        for listener in self.listeners:
            listener.end_publications(reason)
        reports = gevent.spawn(self.gate.close, timeout_s)
        stops = Group()
        over = all(stops.map(lambda listener: listener.stop_sessions(reason, timeout_s), self.listeners))
        over = bool(reports.get()) and over
        self.viewers.close()
        over = self.recordings.close(max(1.0, deadline - monotonic())) and over
        self.av.close()
        if self._hooks is not None:  # players have left by now
            over = self._hooks.finish(max(0.0, deadline - monotonic())) and over
        self._admission.stop_commands()
        self.monitor.stop_watching()
        fields = {"event": "succeeded" if self.handed_over else "stopped"}
        self.log.info("Stopped%s", "" if over else ", not everything ended in time", extra={"fields": fields})


def membership(config: Config, name: str, run_dir: str) -> Membership:
    """Return what makes an application one of several workers, of which this one has a new name."""
    from .workers.membership import Membership  # a single process needs nothing of it

    return Membership(name, run_dir, connection_limits(config), longest_answer_s(config), log.get("WORKER"))

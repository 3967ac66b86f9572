from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.errors import CertificateError
from rtmpsrv.server.certificates import CertificatePair
from rtmpsrv.server.reloader import DAY_S, CertificateReloader
from tests.doubles.pairs import Issued, issue


class Scene:
    """A folder with a pair, a reloader over it, and what it did and said."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture, interval_s: float = 0.0) -> None:
        self.folder = folder
        self.installed: list[int] = []
        self.failure: Exception | None = None
        self.now = datetime.now(UTC)
        self.clock_s = 1000.0
        self._caplog = caplog
        self.reloader = CertificateReloader(
            str(folder / "fullchain.pem"),
            str(folder / "privkey.pem"),
            interval_s,
            self._install,
            log.get("SERVER:TLS"),
            today=lambda: self.now,
            clock=lambda: self.clock_s,
        )

    def _install(self, pair: CertificatePair) -> None:
        if self.failure is not None:
            raise self.failure
        self.installed.append(pair.serial)

    def store(self, issued: Issued) -> Issued:
        issued.write(self.folder)
        return issued

    def said(self) -> list[str]:
        """Return the lines above DEBUG since the last call."""
        lines = [
            f"{record.levelname} {record.getMessage()}"
            for record in self._caplog.records
            if record.levelno > logging.DEBUG
        ]
        self._caplog.clear()
        return lines


@pytest.fixture(autouse=True)
def _visible(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")


@pytest.fixture
def scene(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Scene:
    return Scene(tmp_path, caplog)


def test_the_first_pair_is_loaded_and_its_expiry_told(scene: Scene) -> None:
    issued = scene.store(issue())
    ends = [scene.reloader.expires_at]
    assert scene.reloader.check()
    ends.append(scene.reloader.expires_at)
    assert ends[0] is None
    assert 59 * 86400 <= (ends[1] or 0.0) - time.time() <= 60 * 86400
    assert scene.installed == [issued.serial]
    loaded, expiry = scene.said()
    assert loaded == f"INFO TLS configuration loaded: CN=localhost serial={issued.serial:x}"
    assert expiry.startswith("INFO TLS certificate expires in 59 days, on 20")


def test_unchanged_files_are_not_installed_again_even_when_touched(scene: Scene) -> None:
    issued = scene.store(issue())
    scene.reloader.check()
    scene.said()
    scene.store(issued)
    assert scene.reloader.check()
    assert len(scene.installed) == 1
    assert scene.said() == []
    assert scene.reloader.check(asked=True)
    assert scene.said() == ["INFO TLS configuration has not changed"]


def test_s110_a_new_pair_is_installed(scene: Scene) -> None:
    first = scene.store(issue(kind="rsa"))
    scene.reloader.check()
    scene.said()
    second = scene.store(issue())
    scene.reloader.check()
    assert scene.installed == [first.serial, second.serial]
    assert scene.said()[0].startswith("INFO TLS configuration reloaded: ")


def test_s109_a_missing_pair_is_told_once_and_taken_when_it_comes(scene: Scene) -> None:
    assert not scene.reloader.check()
    (line,) = scene.said()
    assert line.startswith("ERROR TLS configuration cannot be used: ")
    assert line.endswith(
        "fullchain.pem cannot be read: No such file or directory; RTMPS is off until that is put right"
    )
    assert not scene.reloader.check()
    assert scene.said() == []
    scene.store(issue())
    assert scene.reloader.check()
    assert len(scene.installed) == 1


def test_s111_a_half_renewed_pair_keeps_the_old_one_and_is_told_once(scene: Scene) -> None:
    first, second = scene.store(issue()), issue()
    scene.reloader.check()
    scene.said()
    (scene.folder / "fullchain.pem").write_bytes(second.pem)
    for _ in range(3):
        assert not scene.reloader.check()
    assert scene.installed == [first.serial]
    assert scene.said() == [
        "ERROR TLS configuration cannot be used: the private key does not match the certificate; "
        "the old pair stays in use"
    ]
    (scene.folder / "privkey.pem").write_bytes(second.key)
    assert scene.reloader.check()
    assert scene.installed == [first.serial, second.serial]


def expired() -> Issued:
    return issue(ends=timedelta(minutes=-1))


def test_s109_a_pair_with_a_flaw_is_better_than_none(scene: Scene) -> None:
    first, second, good = scene.store(expired()), expired(), issue()
    assert scene.reloader.check()
    loaded, flaw, _ = scene.said()
    assert loaded.startswith("INFO TLS configuration loaded: ")
    assert flaw.startswith("WARNING TLS configuration is used all the same: certificate 1 expired on ")
    scene.store(second)
    assert scene.reloader.check(), "nor is the one in use better"
    scene.store(good)
    assert scene.reloader.check()
    assert scene.installed == [first.serial, second.serial, good.serial]
    scene.said()
    scene.store(second)
    assert not scene.reloader.check()
    (line,) = scene.said()
    assert line.startswith("ERROR TLS configuration cannot be used: certificate 1 expired on ")
    assert line.endswith("; the old pair stays in use")


def test_a_pair_in_use_that_has_expired_gives_way_to_one_with_a_flaw(scene: Scene) -> None:
    first = scene.store(issue(ends=timedelta(hours=1)))
    scene.reloader.check()
    second = issue()
    scene.store(second)
    (scene.folder / "fullchain.pem").write_bytes(second.pem + issue().pem)
    assert not scene.reloader.check()
    scene.now += timedelta(hours=2)
    assert scene.reloader.check()
    assert scene.installed == [first.serial, second.serial]


def test_another_bad_pair_and_a_question_are_answered_again(scene: Scene) -> None:
    scene.store(issue())
    scene.reloader.check()
    scene.said()
    scene.store(expired())
    scene.reloader.check()
    assert len(scene.said()) == 1
    scene.reloader.check(asked=True)
    assert len(scene.said()) == 1
    scene.store(expired())
    scene.reloader.check()
    assert len(scene.said()) == 1


def test_the_same_bad_pair_is_told_again_after_the_good_one_came_back(scene: Scene) -> None:
    good, bad = issue(), expired()
    for issued in (good, bad, good, bad):
        scene.store(issued)
        scene.reloader.check()
    assert scene.installed == [good.serial]
    assert sum(line.startswith("ERROR") for line in scene.said()) == 2


def test_a_pair_that_becomes_valid_is_taken_without_a_change(scene: Scene) -> None:
    scene.store(issue())
    scene.reloader.check()
    scene.store(issue(begins=timedelta(hours=1)))
    assert not scene.reloader.check()
    scene.now += timedelta(hours=2)
    assert scene.reloader.check()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (OSError(98, "In use"), "RTMPS port: In use (SSL_BIND_ADDRESS, SSL_PORT)"),
        (CertificateError("OpenSSL refuses the pair: x"), "OpenSSL refuses the pair: x"),
    ],
)
def test_what_cannot_be_installed_is_tried_again(scene: Scene, failure: Exception, reason: str) -> None:
    scene.store(issue())
    scene.failure = failure
    assert not scene.reloader.check()
    assert not scene.reloader.check()
    (line,) = scene.said()
    assert reason in line
    scene.failure = None
    assert scene.reloader.check()
    assert len(scene.installed) == 1


def test_expiry_is_told_daily_below_14_days(scene: Scene) -> None:
    scene.store(issue(ends=timedelta(days=14, hours=1)))
    scene.reloader.check()
    assert scene.said()[1].startswith("INFO TLS certificate expires in 14 days")
    scene.reloader.remind()
    assert scene.said() == []
    scene.clock_s += DAY_S
    scene.now += timedelta(days=1)
    scene.reloader.remind()
    scene.reloader.remind()
    (line,) = scene.said()
    assert line.startswith("WARNING TLS certificate expires in 13 days, on ")
    scene.clock_s += DAY_S
    scene.now += timedelta(days=14)
    scene.reloader.remind()
    (line,) = scene.said()
    assert line.startswith("ERROR TLS certificate expired on ")


def test_expiry_far_away_is_not_told_daily(scene: Scene) -> None:
    scene.reloader.remind()
    scene.store(issue())
    scene.reloader.check()
    scene.said()
    scene.clock_s += DAY_S
    scene.reloader.remind()
    assert scene.said() == []


def test_the_greenlet_looks_at_each_interval(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path, caplog, interval_s=0.001)
    scene.reloader.start()
    try:
        assert scene.installed == []
        issued = scene.store(issue())
        with gevent.Timeout(5):
            while not scene.installed:
                gevent.sleep(0.001)  # a thread may be at it
    finally:
        scene.reloader.close()
    assert scene.installed == [issued.serial]
    scene.store(issue())
    gevent.sleep(0.005)
    assert len(scene.installed) == 1, "closed means no more looking"


def test_s112_without_an_interval_it_looks_only_when_asked(scene: Scene) -> None:
    scene.reloader.close()
    scene.store(issue())
    scene.reloader.start()
    try:
        second = scene.store(issue())
        gevent.sleep(0.005)
        assert len(scene.installed) == 1
        scene.reloader.ask()
        gevent.sleep(0.005)
        assert scene.installed[1:] == [second.serial]
    finally:
        scene.reloader.close()

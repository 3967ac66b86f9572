"""The file of publications whose end was not reported yet."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rtmpsrv import log
from rtmpsrv.access import journal as module
from rtmpsrv.access.facts import Facts
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.access.journal import Journal, JournaledAuthority, Kept
from tests.doubles.secrets import KEY

from .conftest import LogLines


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def opened(path: str) -> Journal:
    return Journal(path, log.get("KEEPER"))


def grant(serial: int = 1, channel: str = "news") -> Grant:
    return Grant(channel, KEY, "10.0.0.1", f"id-{serial}", serial)


def kept_by_the_next(path: str) -> dict[int, Kept]:
    journal = opened(path)
    journal.close()
    return journal.kept


def test_nothing_is_kept_at_first(path: str) -> None:
    assert opened(path).kept == {}


def test_what_was_not_reported_is_known_after_a_crash(path: str) -> None:
    journal = opened(path)  # which nobody closes
    for serial in range(4):
        journal.began(grant(serial), "w1")
    journal.passed_on(1, "w2")
    journal.ended(grant(2))
    journal.ended(grant(3))
    journal.reported(grant(3))
    assert kept_by_the_next(path) == {
        0: Kept(grant(0), "w1"),
        1: Kept(grant(1), "w2"),
        2: Kept(grant(2), "w1", ended=True),
    }


def test_each_change_is_written_once_and_what_is_unknown_not_at_all(path: str) -> None:
    journal = opened(path)
    journal.began(grant(), "w1")
    size = os.stat(path).st_size
    journal.passed_on(1, "w1")
    journal.passed_on(2, "w1")
    journal.reported(grant(2))
    assert os.stat(path).st_size == size
    journal.ended(grant())
    size = os.stat(path).st_size
    journal.ended(grant())
    assert os.stat(path).st_size == size


def test_closed_channels_are_known_after_a_crash(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BLOCKS", 2)
    monkeypatch.setattr(module, "COMPACT_LINES", 6)
    journal = opened(path)
    for channel, until in [("a", 10.0), ("b", 20.0), ("c", 30.0), ("b", 25.0), ("c", 0.0), ("d", 40.0)]:
        journal.closed_until(channel, until)
    again = opened(path)
    assert list(again.closed.items()) == [("b", 25.0), ("d", 40.0)]
    assert again.kept == {}
    assert list(opened(path).closed) == ["b", "d"]


def test_an_end_is_kept_though_nobody_told_of_the_beginning(path: str) -> None:
    opened(path).ended(grant())
    assert kept_by_the_next(path) == {1: Kept(grant(), ended=True)}


def test_names_of_any_kind_come_back(path: str) -> None:
    odd = Grant('a"\n ä', "\u2028", "::1", "", 1 << 62)
    opened(path).began(odd)
    assert kept_by_the_next(path) == {1 << 62: Kept(odd)}


def test_a_line_that_was_cut_short_costs_that_line_only(path: str) -> None:
    journal = opened(path)
    journal.began(grant(1))
    whole = os.stat(path).st_size
    journal.began(grant(2))
    os.truncate(path, whole + 10)
    journal = opened(path)
    assert journal.kept == {1: Kept(grant(1))}
    journal.began(grant(3))
    assert kept_by_the_next(path) == {1: Kept(grant(1)), 3: Kept(grant(3))}


@pytest.mark.parametrize("line", [b"\xff", b"[]", b"7", b"{}", b'{"serial":1,"grant":[1]}'])
def test_lines_that_are_none_are_left_out(path: str, line: bytes) -> None:
    Path(path).write_bytes(line + b"\n")
    assert opened(path).kept == {}


def test_the_file_is_for_its_owner_only(path: str) -> None:
    Path(path).write_bytes(b"")
    os.chmod(path, 0o644)
    opened(path)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_file_stays_small(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_LINES", 20)
    journal = opened(path)
    journal.began(grant(0))
    for serial in range(1, 100):
        journal.began(grant(serial))
        journal.reported(grant(serial))
        assert len(Path(path).read_bytes().splitlines()) <= 20
    assert kept_by_the_next(path) == {0: Kept(grant(0))}


def lines_of(path: str) -> int:
    return len(Path(path).read_bytes().splitlines())


def open_files(path: str) -> int:
    """How many descriptors there are of a file, and of the one that is to take its place."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(path) for link in links if os.path.islink(link))


@pytest.fixture
def being_anew(path: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal that is written anew, with one piece done: 5 publications, 15 closed channels."""
    monkeypatch.setattr(module, "COMPACT_LINES", 20)
    monkeypatch.setattr(module, "PIECE_LINES", 3)
    journal = opened(path)
    for serial in range(5):
        journal.began(grant(serial))
    for number in range(4 * 20 - 4):
        journal.closed_until(str(number % 15), 10.0 + number)
    assert (lines_of(path), lines_of(f"{path}.new")) == (81, 3)
    return journal


def test_the_file_is_written_anew_in_pieces_and_loses_nothing_that_comes_meanwhile(
    path: str, being_anew: Journal
) -> None:
    journal, before = being_anew, os.stat(path).st_ino
    changes: list[Callable[[], None]] = [
        lambda: journal.reported(grant(0)),  # which is in the new file already
        lambda: journal.reported(grant(4)),  # which is not yet
        lambda: journal.passed_on(1, "w2"),
        lambda: journal.began(grant(7)),
        lambda: journal.closed_until("1", 0.0),
        lambda: journal.closed_until("2", 99.0),
    ]
    for number, change in enumerate(changes, 1):
        assert os.stat(path).st_ino == before
        written = lines_of(f"{path}.new") if number > 1 else 3
        change()
        if number < len(changes):
            assert lines_of(f"{path}.new") - written == 3
            assert lines_of(path) == 81 + number, "it is the journal still"
    assert os.stat(path).st_ino != before
    assert lines_of(path) == 5 + 15 + len(changes)
    assert not os.path.exists(f"{path}.new")
    journal.began(grant(8))
    again = opened(path)
    assert again.kept == journal.kept == {n: journal.kept[n] for n in (1, 2, 3, 7, 8)}
    assert list(again.closed.items()) == list(journal.closed.items())


def test_a_crash_while_it_is_written_anew_loses_nothing(path: str, being_anew: Journal) -> None:
    being_anew.reported(grant(0))
    again = opened(path)  # nobody closed the other
    assert again.kept == being_anew.kept == {n: Kept(grant(n)) for n in range(1, 5)}
    assert list(again.closed.items()) == list(being_anew.closed.items())
    assert not os.path.exists(f"{path}.new")


def test_who_closes_it_while_it_is_written_anew_leaves_no_second_file(path: str, being_anew: Journal) -> None:
    assert open_files(path) == 2
    being_anew.close()
    assert open_files(path) == 0
    assert not os.path.exists(f"{path}.new")
    assert kept_by_the_next(path) == being_anew.kept


def test_a_new_file_that_cannot_be_written_is_given_up_and_another_one_begins(
    path: str, being_anew: Journal, log_lines: LogLines
) -> None:
    journal = being_anew
    assert journal._fresh is not None
    unwritable = os.open(f"{path}.new", os.O_RDONLY)
    os.dup2(unwritable, journal._fresh.fd, inheritable=False)
    os.close(unwritable)
    journal.began(grant(7))
    assert log_lines.count("1 lines of the journal not written") == 1
    assert open_files(path) == 1
    assert not os.path.exists(f"{path}.new")
    for serial in range(8, 16):
        journal.began(grant(serial))
    before = os.stat(path).st_ino
    while os.stat(path).st_ino == before:
        journal.closed_until("1", 50.0)
    assert kept_by_the_next(path) == journal.kept


def test_many_publications_are_not_written_anew_with_each_line(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_LINES", 20)
    journal = opened(path)
    before = os.stat(path).st_ino
    for serial in range(30):
        journal.began(grant(serial))
    assert os.stat(path).st_ino == before


def test_a_file_that_cannot_be_written_is_told_of_and_hurts_nobody(path: str, log_lines: LogLines) -> None:
    journal = opened(path)
    os.close(journal._fd)
    journal._fd = os.open(os.devnull, os.O_RDONLY)
    journal.began(grant())
    assert log_lines.count("1 lines of the journal not written") == 1
    journal.close()
    journal.close()
    journal.began(grant(2))
    assert log_lines.count("not written") == 1


def test_a_folder_that_is_not_there_is_an_error(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        opened(f"{path}/journal")


def test_a_file_that_cannot_be_replaced_is_an_error_without_a_leak(path: str) -> None:
    os.mkdir(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IsADirectoryError):
        opened(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_beginning_that_fails_leaves_nothing_open(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*paths: str) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        opened(path)
    assert open_files(path) == 0
    assert not os.path.exists(f"{path}.new")


class Desk:
    key_names_stream = True

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.closed = False

    def authorise(self, request: PublishRequest) -> str:
        return "id"

    def ended(self, grant: Grant) -> None:
        self.ends.append(grant.stream_id)

    def wait_idle(self, timeout_s: float) -> bool:
        return timeout_s > 1

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("reports_later", [False, True])
def test_a_report_is_kept_until_it_is_known_to_be_done(path: str, reports_later: bool) -> None:
    journal, desk = opened(path), Desk()
    authority = JournaledAuthority(desk, journal, reports_later=reports_later)
    gate = Gate(authority)
    granted = gate.admit(PublishRequest("news", KEY, "10.0.0.1"), lambda reason: None)
    journal.began(granted)
    gate.release(granted)
    assert desk.ends == ["id"]
    assert [kept.ended for kept in journal.kept.values()] == ([True] if reports_later else [])
    journal.reported(granted)
    assert journal.kept == {}
    assert gate.close(4)
    assert desk.closed


def test_what_backends_of_other_formats_are_told_comes_back(path: str) -> None:
    facts = Facts("4711", 7, "live", "", "alice", "token=x", asked_at=12.5)
    given = Grant("public", KEY, "10.0.0.1", "id-1", 5, facts, "live/alice")
    journal = Journal(path, log.get("JOURNAL"))
    journal.began(given)
    journal.close()
    assert Journal(path, log.get("JOURNAL")).kept == {5: Kept(given)}

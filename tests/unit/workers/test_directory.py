"""A worker's replica of who serves which channel."""

from __future__ import annotations

import pytest

from rtmpsrv import log
from rtmpsrv.workers import directory as directory_module
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.link import Link


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def directory(changes: list[str]) -> Directory:
    link = Link("w1", log.get("WORKER"))
    directory = Directory(link)
    directory.on_change = changes.append
    for name, arguments in [
        ("directory", ({"mine": "w1", "news": "w2", "sport": "w3"}, {"old": 7})),
        ("directory", ({"mine": "w1", "news": "w2", "sport": "w2"}, {"news": 5})),
    ]:
        link.tells[name](*arguments)
    changes.clear()
    return directory


def tell(directory: Directory, name: str, channel: str, worker: str) -> None:
    if name == "on":
        directory._on_air(channel, worker, 0)
    else:
        directory._off_air(channel, worker)


def test_own_channels_are_not_elsewhere(directory: Directory) -> None:
    assert [directory.elsewhere(name) for name in ("mine", "news", "sport", "none")] == [
        None, "w2", "w2", None
    ]  # fmt: skip
    assert len(directory) == 2
    assert sorted(directory.names()) == ["news", "sport"]


@pytest.mark.parametrize(
    ("told", "owner", "changed"),
    [
        (("on", "news", "w2"), "w2", False),  # known
        (("on", "news", "w3"), "w3", True),
        (("on", "news", "w1"), None, True),  # it is here now
        (("on", "new", "w2"), "w2", True),
        (("on", "new", "w1"), None, False),
        (("off", "news", "w2"), None, True),
        (("off", "news", "w3"), "w2", False),  # late: another one has it
        (("off", "new", "w3"), None, False),
    ],
)
def test_changes(
    directory: Directory, changes: list[str], told: tuple[str, str, str], owner: str | None, changed: bool
) -> None:
    tell(directory, *told)
    assert directory.elsewhere(told[1]) == owner
    assert changes == ([told[1]] if changed else [])


def test_who_had_a_channel_last_is_remembered(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "FORMER_KEPT", 2)
    assert [directory.last(name) for name in ("mine", "news", "none")] == [None, "w2", None]
    tell(directory, "off", "news", "w2")
    assert (directory.elsewhere("news"), directory.last("news")) == (None, "w2")
    tell(directory, "on", "news", "w3")
    tell(directory, "off", "news", "w3")
    assert directory.last("news") == "w3"
    directory._replace({}, {})
    assert directory.last("sport") == "w2", "its end was told by a keeper that died"
    tell(directory, "on", "new", "w2")
    tell(directory, "off", "new", "w2")
    assert [directory.last(name) for name in ("news", "sport", "new")] == [None, "w2", "w2"]
    tell(directory, "on", "sport", "w1")
    assert directory.last("sport") is None, "it was here"


def test_what_a_new_keeper_tells_is_all_there_is(directory: Directory, changes: list[str]) -> None:
    directory._replace({"news": "w2", "new": "w3"}, {})
    assert [directory.elsewhere(name) for name in ("news", "sport", "new")] == ["w2", None, "w3"]
    assert sorted(changes) == ["new", "sport"]


def test_how_many_may_play_there_goes_with_the_publication(directory: Directory) -> None:
    def limits() -> list[int]:
        return [directory.max_players(name) for name in ("news", "sport", "old")]

    assert limits() == [5, 0, 0]
    directory._on_air("sport", "w2", 9)
    directory._off_air("sport", "w3")  # late
    assert limits() == [5, 9, 0]
    directory._on_air("news", "w2", 0)
    directory._off_air("sport", "w2")
    assert limits() == [0, 0, 0]
    directory._on_air("news", "w3", 4)
    assert limits() == [4, 0, 0]


def test_of_own_channels_no_limit_is_kept(directory: Directory) -> None:
    directory._on_air("news", "w1", 9)
    assert directory.max_players("news") == 0, "the relay knows it"
    directory._replace({"mine": "w1"}, {"mine": 9})
    assert directory.max_players("mine") == 0

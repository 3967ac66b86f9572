"""What a channel has to tell of its players, and to whom it returns it."""

from __future__ import annotations

from rtmpsrv.live.news import News
from tests.unit.live.stage import AVC, Stage, inter, key, many, playing


def test_nothing_happened_most_of_the_time() -> None:
    stage = Stage(live=False)
    stage.join()
    assert stage.channel.start("key") == []
    assert stage.channel.append([AVC, key("0")]) == []
    stage.channel.stop()
    assert stage.channel.append([key("1")]) == []
    assert stage.channel.take_news() == []


def test_start_returns_the_players_with_another_key() -> None:
    stage = Stage(live=False)
    sinks = [stage.join(key=one) for one in ("key", "other", "key", "third")]
    news = stage.channel.start("key")
    assert {player for _, player in news} == {stage.player(sinks[1]), stage.player(sinks[3])}
    assert [what for what, _ in news] == [News.REFUSED] * 2
    assert stage.channel.take_news() == []


def test_a_joiner_with_another_key_is_news_of_its_join() -> None:
    stage = Stage()
    sink = stage.join(key="other")
    assert stage.channel.take_news() == [(News.REFUSED, stage.player(sink))]
    assert sink.received == b""
    assert stage.channel.players == set()


def test_append_returns_the_players_that_jumped_meanwhile() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("0"))
    sink.room = 0
    stage.publish(*many(6), key("1"))
    assert stage.channel.take_news() == []
    sink.open()
    assert stage.channel.append([inter("2")]) == [(News.JUMPED, stage.player(sink))]
    assert stage.channel.append([inter("3")]) == []

from __future__ import annotations

import pytest

from rtmpsrv.live.crowd import Crowd, LeftOut
from rtmpsrv.live.player import Player, PlayerState
from tests.unit.live.fakes import FakeClock, FakeSink
from tests.unit.live.stage import HEADERS, META, Stage, framed, inter, key, many, tone


def test_a_player_counts_from_its_coming_to_its_leaving() -> None:
    crowd = Crowd(LeftOut())
    sink = FakeSink(FakeClock())
    player = Player(sink, PlayerState())
    sink.sent_bytes = 100
    crowd.add(player)
    assert crowd.sent_bytes == 0
    sink.sent_bytes = 150
    crowd.add(player)
    assert (crowd.sent_bytes, list(crowd.players)) == (50, [player])
    crowd.discard(player)
    sink.sent_bytes = 999
    crowd.discard(player)
    assert (crowd.sent_bytes, list(crowd.players)) == (50, [])
    crowd.add(player)
    sink.sent_bytes += 1
    assert crowd.sent_bytes == 51


def test_all_that_players_are_sent_is_counted_on_every_lane() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    fast, tls, slow, other = (
        stage.join(),
        stage.join(can_sendfile=False),
        stage.join(room=40),
        stage.join(msid=2),
    )
    sinks = [fast, tls, slow, other]
    stage.publish(inter("1", 40), tone("2", 50))
    assert stage.follows(fast)
    assert not stage.follows(slow)
    sent = sum([len(sink.received) for sink in sinks])
    assert stage.channel.describe()["sent_bytes"] == sent > 4 * 40
    for sink in sinks:
        stage.channel.leave(stage.player(sink))
    assert stage.channel.describe()["sent_bytes"] == sent


def test_the_sum_goes_on_with_the_next_publication_and_when_a_player_is_refused() -> None:
    stage = Stage()
    sink = stage.join(key="key")
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    before = stage.channel.describe()["sent_bytes"]
    stage.start("another")
    assert stage.player(sink) not in stage.channel.players
    assert stage.channel.describe()["sent_bytes"] == before == len(sink.received)


def test_the_sum_moves_with_the_channel_and_its_players() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(*HEADERS, key("0"))
    before = stage.channel.describe()["sent_bytes"]
    other = stage.hand_over()
    assert other.channel.describe()["sent_bytes"] == before
    other.publish(inter("1", 40))
    assert (
        other.channel.describe()["sent_bytes"] == before + len(framed(inter("1", 40))) == len(sink.received)
    )


def test_a_mirror_counts_its_own_players_only() -> None:
    stage = Stage()
    stage.join()
    stage.publish(*HEADERS, key("0"))
    assert stage.channel.snapshot([], moves=False)["crowd"] is None
    crowd = Crowd(LeftOut())
    crowd.adopt(None)
    assert crowd.snapshot() == (0, [0, 0, 0])


@pytest.mark.parametrize("to_the_end", [False, True])
def test_what_a_laggard_leaves_out_is_counted_by_kind(to_the_end: bool) -> None:
    stage = Stage(lag_bytes=3000)
    stage.publish(*HEADERS, key("0"))
    sink = stage.join(room=0)
    left_out = [META, tone("1", 1), inter(bytes(900), 2), tone("2", 3), inter(bytes(900), 4), META]
    stage.publish(*left_out, *([] if to_the_end else [key(bytes(4000), 6)]))
    if to_the_end:
        stage.publish(inter(bytes(9000), 8))
    player = stage.player(sink)
    assert player.state.jumps == 0
    stage.output().skip_if_behind(player)
    assert player.state.jumps == 1
    counts = stage.registry.left_out.by_kind()
    assert sum(counts.values()) == stage.channel.describe()["frames_dropped"] == player.state.skipped_messages
    assert counts["data"] >= 2
    assert counts["audio"] >= 2
    assert counts["video"] >= (3 if to_the_end else 2)


def test_left_out_over_several_segments_stays_for_all_channels() -> None:
    stage = Stage(lag_bytes=1000, cache_bytes=1 << 30)
    stage.publish(*HEADERS, key("0"))
    sink = stage.join(room=0)
    stage.batch(many(700, 1000))
    stage.publish(key("1", 800))
    player = stage.player(sink)
    stage.output().skip_if_behind(player)
    assert stage.output().log.describe()["segments"] > 1
    assert player.state.skipped_messages == stage.channel.describe()["frames_dropped"] > 690
    other = stage.hand_over()
    assert other.channel.describe()["frames_dropped"] == player.state.skipped_messages
    stage.registry.release("channel")
    assert stage.registry.left_out.by_kind()["video"] >= 700

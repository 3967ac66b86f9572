from __future__ import annotations

import pytest

from tests.unit.live.stage import HEADERS, Stage, inter, key


def test_a_player_lags_from_its_message_to_the_newest() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    sink = stage.join()
    assert stage.player(sink).describe()["lag_s"] == 0.0
    sink.room = 0
    for number in range(4):
        stage.clock.advance(0.5)
        stage.publish(inter("1", 40 * number))
    stage.clock.advance(100)  # a pause of the publisher is no lag
    assert stage.player(sink).describe()["lag_s"] == pytest.approx(1.5)
    stage.output().log.cut()
    assert stage.player(sink).describe()["lag_s"] == pytest.approx(1.5)


def test_a_player_that_has_all_and_waits_for_more_does_not_lag() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    sink = stage.join()
    player = stage.player(sink)
    stage.output().fall_behind(player)
    about = player.describe()
    assert (about["behind_bytes"], about["lag_s"]) == (0, 0.0)


def test_a_channel_has_begun_when_its_publication_did() -> None:
    stage = Stage()
    begun = stage.channel.describe()["began_at"]
    assert begun == stage.clock.time_s
    stage.publish(*HEADERS, key("0"))
    stage.clock.advance(5)
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    assert stage.hand_over().channel.describe()["began_at"] == begun

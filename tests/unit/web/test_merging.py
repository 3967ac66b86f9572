"""One channel in several processes becomes one."""

from __future__ import annotations

from rtmpsrv.web.merging import merge_channels
from tests.doubles.monitor_values import id_of, on_air, recording, waited_for

FIRST, SECOND = (id_of("first"), "rtmpConn"), (id_of("second"), "rtmpsConn")


def test_channels_of_one_process_stay_as_they_are_but_for_their_order() -> None:
    channels = [on_air("b"), waited_for("a"), on_air("c")]
    assert merge_channels(channels) == [channels[1], channels[0], channels[2]]


def test_the_owner_tells_the_facts_and_the_mirrors_have_players() -> None:
    mirror = on_air(
        "live/x",
        worker="w1",
        publisher=None,
        publisher_kind=None,
        vitals=None,
        players=2,
        forms={"rtmp": 1, "flv": 1},
        waiting=1,
        readers=[FIRST],
        sent_bytes=10,
        frames_dropped=3,
        cache_bytes=1,
    )
    owner = on_air(
        "live/x", worker="w2", players=1, readers=[SECOND], sent_bytes=5, frames_dropped=1, cache_bytes=7,
        forms={"rtmp": 1}, recording=recording(),
    )  # fmt: skip
    (merged,) = merge_channels([mirror, owner])
    assert merged == {
        **owner,
        "players": 3,
        "forms": {"rtmp": 2, "flv": 1},
        "waiting": 1,
        "readers": [FIRST, SECOND],
        "sent_bytes": 15,
        "frames_dropped": 4,
    }
    assert owner["players"] == 1  # values of others are not written to


def test_who_is_on_the_air_knows_more_than_who_waits() -> None:
    waits = waited_for("x", worker="w1", players=1)
    held = waited_for("x", worker="w2", suspended=True, players=2)
    mirror = on_air("x", worker="w3", publisher=None, players=4)
    (merged,) = merge_channels([waits, held])
    assert (merged["worker"], merged["players"]) == ("w2", 3)
    (merged,) = merge_channels([waits, held, mirror])
    assert (merged["worker"], merged["players"]) == ("w3", 7)

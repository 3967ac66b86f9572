"""Which kinds of media may be announced, and when."""

from __future__ import annotations

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.contents import Contents
from rtmpsrv.live.framing import RtmpFraming
from rtmpsrv.live.lobby import SETTLING_S, TRUSTED_S, Lobby
from rtmpsrv.live.player import Player, PlayerState
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from tests.unit.live.fakes import CHUNK_SIZE, FakeClock, FakeSink

AUDIO_HEADER, VIDEO_HEADER = (8, b"\xaf\0"), (9, b"\x17\0")


class Scene:
    def __init__(self, frames: int = 0) -> None:
        self.clock = FakeClock()
        self.contents = Contents(RtmpFraming(CHUNK_SIZE), Budget(1 << 20), self.clock.time_s, False)
        self.lobby = Lobby(self.clock, frames)
        self.calls = 0

    def player(self, wants: int = AUDIO | VIDEO | DATA) -> Player:
        player = Player(FakeSink(self.clock), PlayerState())
        player.filter(wants, paused=False)
        return player

    def admit(self, player: Player, *headers: tuple[int, bytes]) -> int | None:
        return Lobby.admit(self.lobby, player, self.contents, headers, self._call)

    def _call(self) -> None:
        self.calls += 1
        self.lobby.take_waiting()


def test_headers_of_both_kinds_are_enough_at_the_beginning() -> None:
    scene = Scene()
    assert scene.admit(scene.player(), AUDIO_HEADER, VIDEO_HEADER) == AUDIO | VIDEO
    scene.clock.advance(TRUSTED_S)
    assert scene.admit(scene.player(), AUDIO_HEADER, VIDEO_HEADER) is None, "no frame ever came"


def test_one_kind_is_enough_when_the_other_had_its_time() -> None:
    scene = Scene(VIDEO)
    first, second = scene.player(), scene.player()
    assert scene.admit(first) is None
    assert scene.admit(second) is None
    assert list(scene.lobby.waiting) == [first, second]
    assert len(scene.clock.timers) == 1
    scene.clock.advance(SETTLING_S)
    assert scene.calls == 1
    assert scene.admit(first) == VIDEO
    scene.lobby.forget(second)
    assert not scene.lobby.waiting


def test_nothing_is_announced_before_a_frame_came() -> None:
    scene = Scene()
    player = scene.player()
    scene.clock.advance(10)
    assert scene.admit(player) is None
    assert not scene.clock.timers
    assert scene.lobby.note_frame(AUDIO)
    assert not scene.lobby.note_frame(AUDIO)
    assert scene.admit(player) == AUDIO


def test_new_header_announces_its_kind_for_a_while() -> None:
    scene = Scene(VIDEO)
    scene.clock.advance(10)
    scene.lobby.note_header(AUDIO, scene.clock.time_s)
    assert scene.admit(scene.player()) == AUDIO | VIDEO
    scene.clock.advance(TRUSTED_S)
    assert scene.admit(scene.player()) == VIDEO


def test_player_that_wants_one_kind_waits_for_no_other() -> None:
    scene = Scene(VIDEO)
    assert scene.admit(scene.player(VIDEO)) == VIDEO


def test_nobody_waits_in_a_closed_one() -> None:
    scene = Scene()
    scene.admit(scene.player())
    scene.lobby.close()
    assert not scene.lobby.waiting
    assert not scene.clock.timers

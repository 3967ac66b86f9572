"""What viewers of FLV get of a publication."""

from __future__ import annotations

import pytest

from rtmpsrv.live import flv_way
from rtmpsrv.live.beside import MAX_BEGIN_BYTES
from rtmpsrv.live.log import Log
from tests.unit.live.fakes import FakeSink
from tests.unit.live.flv_viewers import ended, media, sent, shown, tags, view
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import AAC, AVC, AVC_2, HEADERS, META, Stage, data, inter, key, sound, tone, video

HEVC = video(b"\x90hvc1\x01config")
MP3_TONE = sound(b"\x2fmp3 frame")
FIRST = (*HEADERS, key("0"), tone("a", 5), inter("1", 40))


def on_air(**options: object) -> Stage:
    """A channel with both kinds of media, old enough for viewers to start at once."""
    stage = Stage(**options)  # type: ignore[arg-type]
    stage.publish(*FIRST)
    stage.clock.advance(3)
    return stage


def follows(stage: Stage, sink: FakeSink) -> bool:
    output = stage.player(sink).output
    return output is not None and output.audience.follows(stage.player(sink))


# --- the same as was published --------------------------------------------------------------------


def test_viewer_from_the_beginning_gets_all_as_published(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    sink = view(stage, can_sendfile=can_sendfile)
    stage.publish(key("0"), tone("a", 5), inter("1", 40), inter(bytes(300), 80))
    assert shown(sink).has_audio
    assert shown(sink).has_video
    assert media(sink) == sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40), inter(bytes(300), 80))
    assert follows(stage, sink)


def test_late_viewer_starts_at_the_newest_keyframe_with_headers_at_its_time(can_sendfile: bool) -> None:
    stage = on_air()
    stage.publish(key("2", 1000), tone("b", 1005))
    sink = view(stage, can_sendfile=can_sendfile)
    stage.publish(inter("3", 1040))
    late = view(stage, can_sendfile=can_sendfile)
    expected = [(1000, AAC[3]), (1000, AVC[3]), *sent(key("2", 1000), tone("b", 1005), inter("3", 1040))]
    assert media(sink) == media(late) == expected
    assert [one.timestamp for one in tags(late) if one.type_id == 18] == [0]
    assert sink.sendfiles == (1 if can_sendfile else 0) or sink.sendfiles > 1


def test_rtmp_players_get_what_they_always_got() -> None:
    stage = on_air()
    player, viewer = stage.join(), view(stage)
    stage.publish(inter("2", 80))
    assert player.frames()[-1] == inter("2")[3]
    assert media(viewer)[-1] == (80, inter("2")[3])
    assert not stage.output().audience.follows(stage.player(viewer))


def test_times_begin_with_the_publication_and_fit_a_sign() -> None:
    stage = Stage()
    start = 0xFFFFFFF0
    stage.publish(*HEADERS, key("0", start), tone("a", start - 7), inter("1", (start + 40) & 0xFFFFFFFF))
    sink = view(stage)
    stage.publish(inter("2", start + (1 << 24) & 0xFFFFFFFF))
    assert [time for time, _ in media(sink)] == [0, 0, 0, 0, 40, 1 << 24]


def test_when_no_time_is_left_viewers_come_again() -> None:
    stage = on_air()
    sink = view(stage)
    stage.publish(inter("2", (1 << 31) - 1))
    assert not ended(sink)
    stage.publish(key("3", 1 << 31), inter("4", (1 << 31) + 40))
    assert ended(sink)
    assert media(sink)[-1] == ((1 << 31) - 1, inter("2")[3])
    again = view(stage)
    assert media(again)[-2:] == [(0, key("3")[3]), (40, inter("4")[3])]


def test_metadata_says_which_kinds_there_are_and_nothing_of_a_file() -> None:
    stage = on_air()
    (first, *_) = tags(view(stage))
    assert first.type_id == 18
    assert b"hasAudio\x01\x01" in first.payload
    assert b"width" in first.payload


def test_data_in_between_comes_at_0_and_empty_messages_do_not() -> None:
    stage = on_air()
    sink = view(stage)
    stage.publish(META, sound(b"", 60), data(b"\x02\x00\x05onCue\x05", 70), inter("2", 80))
    assert [(one.type_id, one.timestamp) for one in tags(sink)][-3:] == [(18, 0), (18, 0), (9, 80)]


# --- tracks ---------------------------------------------------------------------------------------


def track(number: int, content: bytes, timestamp: int) -> tuple[int, int, int, bytes, int]:
    return sound(b"\x95\x01Opus" + bytes([number]) + content, timestamp)


def test_viewers_get_the_first_track_of_each_kind() -> None:
    stage = Stage()
    header = sound(b"\x90OpusOpusHead")
    second = sound(b"\x95\x00Opus\x01OpusHead")
    frame = sound(b"\x91Opusfirst", 10)
    stage.publish(META, AVC, header, second, key("0"), frame, track(1, b"second", 10))
    sink = view(stage)
    stage.publish(track(1, b"second", 30), track(0, b"first", 30), inter("1", 40))
    heard = [payload for _, payload in media(sink) if payload[0] >> 4 == 9]
    assert heard == [header[3], frame[3], b"\x91Opusfirst"]
    assert stage.join().frames()[-2:] == [track(0, b"first", 30)[3], inter("1")[3]]


def test_stream_without_a_first_track_gives_the_lowest() -> None:
    stage = Stage()
    stage.publish(META, AVC, sound(b"\x95\x00Opus\x02OpusHead"), sound(b"\x95\x00Opus\x03OpusHead"))
    stage.publish(key("0"), track(2, b"two", 10), track(3, b"three", 10))
    sink = view(stage)
    assert [payload for _, payload in media(sink)] == [
        AVC[3], b"\x90OpusOpusHead", key("0")[3], b"\x91Opustwo",
    ]  # fmt: skip


# --- what an FLV stream cannot say ----------------------------------------------------------------


def test_viewer_waits_until_it_is_known_what_comes() -> None:
    stage = Stage()
    sink = view(stage)
    stage.publish(AVC, key("0"), inter("1", 40))
    assert not sink.received
    stage.publish(tone("a", 50))
    assert shown(sink).has_audio
    assert media(sink) == sent(AVC, key("0"), inter("1", 40), tone("a", 50))


def test_stream_without_audio_announces_none_after_a_second() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    sink = view(stage)
    assert not sink.received
    stage.clock.advance(1)
    assert not shown(sink).has_audio
    assert shown(sink).has_video
    assert media(view(stage)) == media(sink) == sent(AVC, key("0"))


def test_audio_that_appears_later_ends_those_who_were_told_of_none() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    stage.clock.advance(3)
    sink, slow = view(stage), view(stage, room=30)
    stage.publish(AAC)
    told = view(stage)
    assert shown(told).has_audio
    stage.publish(tone("a", 50), inter("1", 60))
    assert ended(sink)
    assert ended(slow)
    assert not ended(told)
    assert media(sink) == sent(AVC, key("0"), AAC)
    slow.open()
    assert media(slow) == sent(AVC), "what was told before media was begun"
    assert media(told)[-1] == (60, inter("1")[3])
    assert shown(view(stage)).has_audio


def test_audio_that_was_announced_long_ago_and_never_came_is_not_announced() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    stage.clock.advance(5)
    assert not shown(view(stage)).has_audio


def test_audio_is_known_from_what_the_log_forgot(small_segments: None) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), tone("a", 5))
    stage.clock.advance(5)
    stage.publish(*[key(b"%d" % number * 60, 40 * number) for number in range(1, 6)])
    assert stage.output().log.begin > 0
    sink = view(stage)
    assert shown(sink).has_audio
    assert len(media(sink)) == 3


def test_another_codec_ends_viewers_and_a_new_configuration_does_not() -> None:
    stage = on_air()
    sink, slow = view(stage), view(stage, room=0)
    stage.publish(AVC_2, key("2", 80))
    assert media(sink)[-2:] == sent((AVC_2[0], 0, 1, AVC_2[3], 6), key("2", 80))
    stage.publish(HEVC)
    assert ended(sink)
    assert not ended(slow)
    stage.publish(video(b"\x91hvc1\0\0\0key", 120))
    again = view(stage)
    assert [payload for _, payload in media(again)] == [HEVC[3], AAC[3], b"\x91hvc1\0\0\0key"]
    assert again is not sink
    slow.open()
    assert ended(slow)
    assert media(slow)[-1] == (80, key("2")[3])


def test_sound_without_headers_is_a_kind_like_any_other() -> None:
    stage = Stage()
    stage.publish(MP3_TONE)
    stage.clock.advance(1)
    stage.publish(MP3_TONE)
    sink = view(stage)
    assert not shown(sink).has_video
    stage.publish(MP3_TONE)
    assert len(media(sink)) == 3


# --- publishers come and go -----------------------------------------------------------------------


def test_end_of_a_publication_ends_the_connection() -> None:
    stage = on_air()
    sink, waiting = view(stage), stage.join()
    slow = view(stage, room=10)
    stage.publish(inter("2", 80))
    stage.channel.stop()
    assert ended(sink)
    assert not ended(slow)
    slow.open()
    assert ended(slow)
    assert media(slow) == media(sink)
    stage.start()
    stage.publish(*FIRST)
    assert media(sink)[-1] == (80, inter("2")[3])
    assert waiting.frames()[-1] == inter("1")[3]
    assert stage.channel.describe()["ended_outputs"] == 0


def test_viewer_waits_for_a_publisher() -> None:
    stage = Stage(live=False)
    sink = view(stage)
    stage.start()
    stage.publish(*FIRST)
    assert media(sink)[0] == (0, AAC[3])


def test_viewer_that_was_told_nothing_waits_for_the_next_publisher() -> None:
    stage = Stage()
    sink = view(stage)
    stage.publish(AVC, key("0"))
    stage.channel.stop()
    assert not ended(sink)
    stage.start()
    stage.publish(*FIRST)
    assert media(sink)[0] == (0, AAC[3])


def test_viewer_with_another_key_is_refused() -> None:
    stage = on_air()
    sink = view(stage, key="wrong")
    assert not sink.received
    assert [what.value for what, _ in stage.news()] == ["refused"]
    assert media(view(stage, key="key"))


def test_viewers_stay_while_a_publisher_is_waited_for() -> None:
    stage = on_air()
    sink = view(stage)
    stage.channel.suspend(10)
    stage.clock.advance(2)
    late = view(stage)
    stage.channel.go_on("key")
    stage.publish(META, AAC, AVC, key("2", 7), tone("b", 7), inter("3", 47))
    assert not ended(sink)
    times = [time for time, _ in media(sink)]
    assert times == sorted(times)
    assert [payload for _, payload in media(sink)][-3:] == [key("2")[3], tone("b")[3], inter("3")[3]]
    assert [payload for _, payload in media(late)] == [
        AAC[3], AVC[3], key("2")[3], tone("b")[3], inter("3")[3],
    ]  # fmt: skip
    stage.channel.suspend(10)
    stage.clock.advance(11)
    assert ended(sink)


def test_viewer_that_leaves_is_forgotten_wherever_it_is() -> None:
    stage = Stage()
    waits = view(stage)
    stage.publish(AVC, key("0"))
    stage.channel.leave(stage.player(waits))
    stage.publish(tone("a"))
    sink = view(stage)
    stage.channel.leave(stage.player(sink))
    stage.publish(inter("1", 40))
    assert not waits.received
    assert media(sink)[-1] == (0, tone("a")[3])


# --- what it costs --------------------------------------------------------------------------------


def test_log_of_tags_is_there_only_while_somebody_views() -> None:
    stage = on_air()
    before = stage.used_bytes()
    sink = view(stage)
    stage.publish(inter("2", 80))
    beside = stage.output().beside
    assert beside is not None
    assert stage.used_bytes() > before
    stage.channel.leave(stage.player(sink))
    stage.clock.advance(flv_way.IDLE_S / 2)
    stage.publish(inter("3", 120))
    assert stage.output().beside is beside
    stage.clock.advance(flv_way.IDLE_S)
    stage.publish(inter("4", 160))
    assert stage.output().beside is None
    stage.registry.budget.relieve()
    stage.channel.stop()
    assert stage.used_bytes() == 0


def test_nothing_is_held_when_all_is_over() -> None:
    stage = on_air()
    sink, slow = view(stage), view(stage, room=0)
    stage.channel.stop()
    slow.open()
    for one in (sink, slow):
        stage.channel.leave(stage.player(one))
    assert stage.used_bytes() == 0
    assert stage.registry.budget.describe()["descriptors"] == 0


def test_laggard_skips_to_the_newest_keyframe() -> None:
    stage = on_air(lag_bytes=1000)
    slow = view(stage, room=100)
    for number in range(1, 6):
        stage.publish(key(bytes([number]) * 400, 1000 * number))
    slow.open()
    assert [kind.value for kind, _ in stage.news()] == ["jumped"]
    assert media(slow)[-1][0] == 5000
    assert len(media(slow)) < 10


def test_process_that_holds_too_much_takes_the_tags_first() -> None:
    stage = on_air()
    sink, slow = view(stage), view(stage, room=10)
    stage.shed()
    assert stage.output().log.joint is not None
    stage.shed()
    assert stage.output().log.joint is None
    stage.channel.skip_laggards()
    stage.publish(key("2", 80))
    assert media(sink)[-1] == (80, key("2")[3])
    slow.open()
    assert media(slow)[-1] == (80, key("2")[3])
    assert media(view(stage))[-1] == (80, key("2")[3])


def test_stream_whose_cache_is_large_begins_at_the_live_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), tone("a"), inter(bytes(MAX_BEGIN_BYTES >> 1), 40))
    stage.publish(inter(bytes(MAX_BEGIN_BYTES >> 1), 80))
    sink = view(stage)
    stage.publish(inter("3", 120), tone("b", 121), key("4", 160))
    assert [payload for _, payload in media(sink)] == [AAC[3], AVC[3], tone("b")[3], key("4")[3]]


def test_viewer_that_wants_no_cache_begins_at_the_next_keyframe() -> None:
    stage = on_air()
    sink = view(stage, cache="no")
    stage.publish(inter("2", 80), key("3", 120))
    assert media(sink) == [(40, AAC[3]), (40, AVC[3]), (120, key("3")[3])]


def test_channel_without_cache_serves_viewers_all_the_same() -> None:
    stage = on_air(cache_bytes=0)
    sink = view(stage)
    stage.publish(inter("2", 80), key("3", 120))
    assert media(sink)[-1] == (120, key("3")[3])
    assert isinstance(stage.output().log, Log)


def test_sound_alone_can_be_joined() -> None:
    stage = Stage()
    stage.publish(AAC, tone("0"))
    stage.clock.advance(3)
    first = view(stage)
    for number in range(1, 9):
        stage.clock.advance(1)
        stage.publish(tone(str(number), 1000 * number))
    sink = view(stage)
    assert not shown(sink).has_video
    assert len(media(sink)) < 5
    assert media(first)[-1] == media(sink)[-1] == (8000, tone("8")[3])


# --- to another process ---------------------------------------------------------------------------


def test_viewers_go_on_in_another_process_where_they_were() -> None:
    stage = on_air()
    sink, slow = view(stage), view(stage, room=200)
    waits = view(stage, key="key")
    stage.publish(inter(bytes(400), 80))
    other = stage.hand_over()
    other.publish(inter("3", 120), key("4", 160))
    slow.open()
    expected = [*sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40)), (80, inter(bytes(400))[3])]
    expected += sent(inter("3", 120), key("4", 160))
    assert media(sink) == media(slow) == media(waits) == expected
    assert follows(other, sink)
    assert media(view(other))[-1] == (160, key("4")[3])


def test_viewer_that_knows_only_what_is_forgotten_goes_on_at_a_keyframe(small_segments: None) -> None:
    stage = on_air()
    slow = view(stage, room=100)
    for number in range(2, 8):
        stage.publish(key(bytes([number]) * 100, 1000 * number))
    assert stage.output().log.begin > stage.player(slow).position
    other = stage.hand_over()
    other.publish(inter("8", 8000))
    slow.open()
    times = [time for time, _ in media(slow)]
    assert times[-1] == 8000
    assert times[-2] >= 6000


def test_viewers_of_an_ended_publication_read_the_rest_in_another_process() -> None:
    stage = on_air()
    sink = view(stage, room=40)
    stage.channel.stop()
    other = stage.hand_over()
    sink.open()
    assert ended(sink)
    assert media(sink) == sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40))
    other.channel.leave(other.player(sink))
    other.clock.advance(10)
    assert other.used_bytes() == 0


def test_viewer_that_moves_without_the_channel_goes_on() -> None:
    stage = on_air()
    sink, slow = view(stage), view(stage, room=30)
    sink, slow = stage.move(sink), stage.move(slow)
    stage.publish(inter("2", 80))
    slow.open()
    assert (
        media(sink) == media(slow) == sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40), inter("2", 80))
    )


def test_mirror_makes_its_own_and_viewers_move_both_ways() -> None:
    stage = on_air()
    mirrored = Mirrored(stage)
    there, here = view(mirrored.stage), view(stage)
    stage.publish(inter("2", 80))
    frozen = stage.freeze(here)
    mirrored.stage.take_in(here, frozen)
    stage.publish(inter("3", 120))
    frozen = mirrored.stage.freeze(there)
    stage.take_in(there, frozen)
    stage.publish(inter("4", 160))
    expected = sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40), inter("2", 80), inter("3", 120))
    assert media(here) == media(there) == [*expected, (160, inter("4")[3])]


def test_viewer_that_knows_more_than_the_mirror_waits_for_it() -> None:
    stage = on_air()
    mirrored = Mirrored(stage, arrives=False)
    mirrored.arrive()
    here, gone = view(stage), view(stage)
    stage.publish(inter("2", 80))
    for sink in (here, gone):
        mirrored.stage.take_in(sink, stage.freeze(sink))
    mirrored.stage.channel.leave(mirrored.stage.player(gone))
    stage.publish(inter("3", 120))
    assert media(here)[-1] == (80, inter("2")[3])
    mirrored.arrive()
    assert media(here)[-2:] == [(80, inter("2")[3]), (120, inter("3")[3])]
    assert media(gone)[-1] == (80, inter("2")[3])


def test_viewer_that_waited_for_a_mirror_is_told_its_end() -> None:
    stage = on_air()
    mirrored = Mirrored(stage, arrives=False)
    mirrored.arrive()
    here = view(stage)
    stage.publish(inter("2", 80))
    mirrored.stage.take_in(here, stage.freeze(here))
    mirrored.mirror.lost()
    assert ended(here)


def test_viewer_whose_publication_nobody_knows_is_told_its_end() -> None:
    stage = on_air()
    sink = view(stage)
    frozen = stage.freeze(sink)
    stage.channel.stop()
    stage.clock.advance(10)
    stage.start()
    stage.publish(*FIRST)
    stage.take_in(sink, frozen)
    assert ended(sink)
    assert media(sink) == sent(AAC, AVC, key("0"), tone("a", 5), inter("1", 40))


def test_header_that_configures_no_codec_ends_nobody() -> None:
    stage = on_air()
    sink = view(stage)
    colour = video(b"\x94avc1colour", 80)
    stage.publish(colour, inter("2", 80))
    assert not ended(sink)
    assert media(sink)[-2:] == sent(colour, inter("2", 80))


def test_viewer_that_returns_to_what_was_forgotten_meanwhile_goes_on_at_a_keyframe() -> None:
    stage = on_air()
    view(stage)
    away = view(stage)
    stage.shed()
    stage.shed()
    frozen = stage.freeze(away)
    stage.publish(inter("2", 80), inter("3", 120))
    stage.channel.skip_laggards()
    stage.take_in(away, frozen)
    stage.publish(inter("4", 160), key("5", 200))
    assert media(away)[-2:] == [(40, inter("1")[3]), (200, key("5")[3])]

"""FLV made of a publication, compared with what was published, packet by packet, by a reader of FFmpeg's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.live import lane
from rtmpsrv.media import flv
from rtmpsrv.media.flv import Tag
from tests.media_files import SAMPLES, make_samples, packets_of
from tests.unit.live.fakes import fake_sendfile, fake_write
from tests.unit.live.flv_viewers import tags, view
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import Stage

SEVERAL = "two_audio_tracks"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(autouse=True)
def _sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "sendfile", fake_sendfile)
    monkeypatch.setattr(lane, "write", fake_write)


def publish(stage: Stage, messages: list[Tag], start: int) -> None:
    """Publish in the time that the messages take."""
    for message in messages:
        stage.clock.advance(max(0.0, start + message.timestamp / 1000 - stage.clock.time_s))
        stage.publish((message.type_id, message.timestamp, 1, message.payload, 4))


@pytest.mark.parametrize("name", list(SAMPLES))
def test_viewers_get_the_packets_that_were_published(
    name: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    messages = flv.TagReader().feed(samples[name].read_bytes())
    half = next(number for number, one in enumerate(messages) if one.timestamp >= 3500)
    stage = Stage()
    start = int(stage.clock.time_s)
    early = view(stage)
    publish(stage, messages[:half], start)
    mirrored = Mirrored(stage)
    late, elsewhere = view(stage), view(mirrored.stage)
    publish(stage, messages[half:], start)
    stage.channel.stop()
    source = packets_of(samples[name])
    assert ("audio1" in source) == (name == SEVERAL)
    source.pop("audio1", None)
    for sink in (early, late, elsewhere):
        assert sink.ended
        path = tmp_path / "viewed.flv"
        path.write_bytes(sink.received)
        found = packets_of(path)
        assert found.keys() == source.keys()
        moved = set()  # by how much: the reader counts from the first packet
        for kind, packets in found.items():
            same = source[kind][-len(packets) :]
            assert [one.hash for one in packets] == [one.hash for one in same]
            moved |= {before.dts - after.dts for before, after in zip(same, packets, strict=True)}
            moved |= {before.pts - after.pts for before, after in zip(same, packets, strict=True)}
            assert (
                len(packets) == len(source[kind]) if sink is early else len(packets) > len(source[kind]) // 4
            )
        assert len(moved) == 1
        assert {one.type_id for one in tags(sink)} <= {8, 9, 18}

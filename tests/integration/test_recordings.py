"""Recordings of real clients: what is in the files is what was published, also after a crash."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.integration.lineage import Lineage
from tests.media_files import FRAME_RATE, SAMPLES, current_ffmpeg, make_samples, packets_of
from tests.server_process import ServerProcess
from tests.succession_process import Family

TIMEOUT_S = 60.0
QUIET = ("-v", "error", "-nostdin")
ENOUGH = 150_000  # bytes of a sample: some 3 s


def make(directory: Path, name: str = "h264_aac") -> Path:
    sample = directory / "sample.flv"
    subprocess.run(
        [current_ffmpeg(), *QUIET, *SAMPLES[name].split(), str(sample)], check=True, timeout=TIMEOUT_S
    )
    return sample


def publish(
    sample: Path, port: int, rate: str = "4", *more: str, at: str = "live"
) -> subprocess.Popen[bytes]:
    command = (
        current_ffmpeg(),
        *QUIET,
        "-readrate",
        rate,
        *more,
        "-i",
        str(sample),
        "-map",
        "0",
        "-c",
        "copy",
    )
    return subprocess.Popen(
        (*command, "-f", "flv", f"rtmp://127.0.0.1:{port}/{at}/key"), stdout=subprocess.DEVNULL
    )


def hashes(*files: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        for name, packets in packets_of(file).items():
            found.setdefault(name, []).extend([one.hash for one in packets])
    return found


def decoded(file: Path) -> list[str]:
    """Return the hashes of all pictures."""
    command = (
        current_ffmpeg(),
        *QUIET,
        "-i",
        str(file),
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    )
    text = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    return [line.rsplit(",", 1)[1].strip() for line in text.splitlines() if not line.startswith("#")]


def length(file: Path) -> float:
    """Return how long a file says that it is, in seconds."""
    command = (current_ffmpeg(), "-i", str(file))
    shown = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stderr
    found = re.search(r"Duration: 00:00:([0-9.]+)", shown)
    assert found is not None, shown
    return float(found[1])


def index(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


def whole(folder: Path) -> list[Path]:
    return [folder / one["file"] for one in index(folder) if one["state"] == "done"]


def rules(directory: Path, forms: dict[str, str]) -> dict[str, str]:
    """Return settings with which channels are recorded in these forms, and no others."""
    file = directory / "channels.toml"
    said = [
        f'[[channel]]\nname = "{name}"\nrecord = {{ format = "{form}" }}\n' for name, form in forms.items()
    ]
    file.write_text("".join(said))
    return {"CHANNELS_FILE": str(file), "RECORD_DIR": str(directory / "recordings")}


def files_of(folder: Path, channel: str) -> list[dict[str, Any]]:
    return [one for one in index(folder) if one["state"] == "done" and one["channel"] == channel]


@pytest.mark.half  # an MP4 is not cut before its first part has come
def test_what_was_published_is_in_the_files(tmp_path: Path) -> None:
    """Of all kinds of streams, in both forms, cut at keyframes; and nothing of what is not recorded."""
    samples = make_samples(tmp_path)
    channels = {
        f"{form}-{name.replace('_', '-')}": (form, name) for name in samples for form in ("flv", "mp4")
    }
    folder = tmp_path / "recordings"
    settings = rules(tmp_path, {channel: form for channel, (form, _) in channels.items()})
    with ServerProcess(**settings, RECORD_SEGMENT_SECONDS="2", MAX_IP_CONCURRENT_CONNECTIONS="99") as server:
        publishers = [publish(samples[name], server.port, "1", at=at) for at, (_, name) in channels.items()]
        publishers.append(publish(samples["h264_aac"], server.port, "20", at="other"))
        for publisher in publishers:
            with publisher:
                assert publisher.wait(TIMEOUT_S) == 0
        server.wait_for_line("recorded .*publication ended", count=len(channels), timeout_s=TIMEOUT_S)
        server.check_log()
    assert not list(folder.rglob("*.part"))
    assert files_of(folder, "other") == []
    for channel, (form, name) in channels.items():
        entries = files_of(folder, channel)
        files = [folder / one["file"] for one in entries]
        assert len(files) > 1, channel
        found, sent = hashes(*files), hashes(samples[name])
        if form == "mp4":  # begins with a picture, and has no delimiters of AV1
            found.pop("video0", None), sent.pop("video0", None)
            for track in sent:
                assert len(sent[track]) - len(found[track]) <= 1, channel
                sent[track] = sent[track][-len(found[track]) :]
        assert found == sent, channel
        assert [one["bytes"] for one in entries] == [file.stat().st_size for file in files]
        lengths = [length(file) for file in files]
        assert lengths == pytest.approx([one["seconds"] for one in entries], abs=0.2), channel
        if form == "mp4" and name != "audio_only":
            shown = [decoded(file) for file in files]
            assert all(shown), channel  # each can be decoded from its first frame on
            assert [one for file in shown for one in file] == decoded(samples[name]), channel


def test_publisher_that_comes_at_once_has_a_file_of_its_own(tmp_path: Path) -> None:
    sample, folder = make(tmp_path), tmp_path / "recordings"
    with ServerProcess(RECORD="YES", RECORD_DIR=str(folder)) as server:
        for count in (1, 2):
            with publish(sample, server.port, "20") as publisher:
                assert publisher.wait(TIMEOUT_S) == 0
            server.wait_for_line("PUBLISH END", count=count)
        server.wait_for_line("recorded channel=live .*publication ended", count=2)
        server.check_log()
    assert [hashes(file) for file in whole(folder)] == [hashes(sample)] * 2


@pytest.mark.half  # two seconds between publishers are a jump of time
def test_publisher_that_goes_on_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """In both forms: a publisher that comes back, and one that takes over."""
    sample, folder = make(tmp_path), tmp_path / "recordings"
    with ServerProcess(
        **rules(tmp_path, {"flv": "flv", "mp4": "mp4"}), RECONNECT_SECONDS="20", SECOND_PUBLISHER="takeover"
    ) as server:
        turns = []
        for number, rate in enumerate(("20", "1", "20"), 1):
            turns.append([publish(sample, server.port, rate, at=at) for at in ("flv", "mp4")])
            server.wait_for_line("publish accepted", count=2 * number, timeout_s=TIMEOUT_S)
            if rate == "20":
                assert [one.wait(TIMEOUT_S) for one in turns[-1]] == [0, 0]
        for one in turns[1]:  # their place was taken
            assert one.wait(TIMEOUT_S) != 0
        assert server.stop() == 0
    for form in ("flv", "mp4"):
        (entry,) = files_of(folder, form)
        found, sent = decoded(folder / entry["file"]), decoded(sample)
        assert found[: len(sent)] == found[-len(sent) :] == sent
        assert len(found) > 2 * len(sent)


def test_killed_server_leaves_files_that_the_next_one_finishes(tmp_path: Path) -> None:
    """Of both forms; they play to within 2 s of what a player has got."""
    sample, folder, played = make(tmp_path), tmp_path / "recordings", tmp_path / "played.flv"
    settings = rules(tmp_path, {"flv": "flv", "mp4": "mp4"})
    with ServerProcess(**settings) as server:
        publishers = [publish(sample, server.port, "1", "-stream_loop", "3", at=at) for at in ("flv", "mp4")]
        url = f"rtmp://127.0.0.1:{server.port}/flv/key"
        server.wait_for_line("publish accepted channel=flv")
        player = subprocess.Popen((current_ffmpeg(), *QUIET, "-i", url, "-c", "copy", str(played)))
        server.wait_for_line("recording channel=", count=2, timeout_s=TIMEOUT_S)
        until = monotonic() + TIMEOUT_S
        while not played.is_file() or played.stat().st_size < ENOUGH:
            assert monotonic() < until
            sleep(0.1)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(TIMEOUT_S)
        for one in (*publishers, player):
            one.wait(TIMEOUT_S)
    parts = {part.suffixes[0]: part for part in folder.rglob("*.part")}
    last = {hash_: number for number, hash_ in enumerate(hashes(sample)["video0"])}
    got = hashes(played)["video0"]
    kept = {suffix: hashes(part)["video0"] for suffix, part in parts.items()}
    for pictures in kept.values():
        assert pictures == hashes(sample)["video0"][: len(pictures)] or len(pictures) > len(last)
        assert len(got) - len(pictures) <= 2 * FRAME_RATE
        assert len(pictures) > FRAME_RATE
    for part in parts.values():
        with part.open("ab") as torn:
            torn.write(b"\x09\x00\x10\x00torn")
    with ServerProcess(**settings) as server:
        server.wait_for_line("recording recovered", count=2, timeout_s=TIMEOUT_S)
        server.check_log()
    for form in ("flv", "mp4"):
        (entry,) = files_of(folder, form)
        assert hashes(folder / entry["file"])["video0"] == kept[f".{form}"]
        assert entry["reason"] == "recovered"
        assert length(folder / entry["file"]) == pytest.approx(entry["seconds"], abs=0.2)


@pytest.mark.half  # the MP4 is to have begun before the next process comes
def test_recordings_go_on_when_processes_succeed_each_other(tmp_path: Path) -> None:
    """Of both forms, twice, with what was begun before: one file each, with every packet once."""
    sample, folder = make(tmp_path), tmp_path / "recordings"
    with Lineage(**rules(tmp_path, {"flv": "flv", "mp4": "mp4"})) as line:
        publishers = [publish(sample, line.port, "1", at=at) for at in ("flv", "mp4")]
        line.wait_for_line("recording channel=", count=2, timeout_s=TIMEOUT_S)
        for count in (2, 4):
            line.succeed()
            line.wait_for_line("recording goes on", count=count, timeout_s=TIMEOUT_S)
        for publisher in publishers:
            assert publisher.wait(TIMEOUT_S) == 0
        line.wait_for_line("recorded .*publication ended", count=2, timeout_s=TIMEOUT_S)
        line.end()
        line.check_log()
    for form in ("flv", "mp4"):
        (entry,) = files_of(folder, form)
        assert hashes(folder / entry["file"]) == hashes(sample)
        assert decoded(folder / entry["file"]) == decoded(sample)


@pytest.mark.half  # as above
def test_workers_record_what_they_have_and_go_on_with_it(tmp_path: Path) -> None:
    """Each channel once, also when its worker is another one; with players at other workers."""
    sample, folder = make(tmp_path), tmp_path / "recordings"
    names = ("one", "two", "three", "four")
    with Family(
        WORKERS="2", RECORD="YES", RECORD_DIR=str(folder), MAX_IP_CONCURRENT_CONNECTIONS="99"
    ) as family:
        publishers = [publish(sample, family.port, "0.5", at=name) for name in names]
        family.wait_for_line("recording channel=", count=len(names), timeout_s=TIMEOUT_S)
        players = [
            subprocess.Popen(
                (
                    current_ffmpeg(),
                    *QUIET,
                    "-i",
                    f"rtmp://127.0.0.1:{family.port}/{name}/key",
                    "-f",
                    "null",
                    "-",
                )
            )
            for name in names
        ]
        family.reload()
        for one in (*publishers, *players):
            assert one.wait(TIMEOUT_S) == 0
        family.wait_for_line("recorded .*publication ended", count=len(names), timeout_s=TIMEOUT_S)
    for name in names:
        (entry,) = files_of(folder, name)
        assert hashes(folder / entry["file"]) == hashes(sample)


def test_server_that_stops_finishes_its_files(tmp_path: Path) -> None:
    sample, folder = make(tmp_path), tmp_path / "recordings"
    with ServerProcess(RECORD="YES", RECORD_DIR=str(folder)) as server:
        publisher = publish(sample, server.port, "0.5")
        server.wait_for_line("recording channel=live")
        assert server.stop() == 0
        publisher.wait(TIMEOUT_S)
        server.check_log()
    assert len(whole(folder)) == 1
    assert not list(folder.rglob("*.part"))


def test_full_disk_ends_the_recording_and_not_the_stream(tmp_path: Path) -> None:
    """On a file system of 1 MiB; the players of the stream get every packet."""
    sample, folder, played = make(tmp_path), tmp_path / "small", tmp_path / "played.flv"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.fail("needs the right to mount a file system")
    try:
        with ServerProcess(RECORD="YES", RECORD_DIR=str(folder)) as server:
            (folder / "ballast").write_bytes(bytes(960 << 10))
            url = f"rtmp://127.0.0.1:{server.port}/live/key"
            with publish(sample, server.port, "2") as publisher:
                server.wait_for_line("publish accepted")
                player = subprocess.Popen(
                    (current_ffmpeg(), *QUIET, "-i", url, "-c", "copy", "-f", "flv", str(played))
                )
                assert publisher.wait(TIMEOUT_S) == 0
            assert player.wait(TIMEOUT_S) == 0
            server.wait_for_line(r"recording ended channel=live: (the disk is almost full|No space left)")
        assert hashes(played)["video0"][-20:] == hashes(sample)["video0"][-20:]
    finally:
        subprocess.run(["umount", str(folder)], check=True)

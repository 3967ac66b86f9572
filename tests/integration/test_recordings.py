"""Recordings of real clients: what is in the files is what was published, also after a crash."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.media_files import SAMPLES, current_ffmpeg, packets_of
from tests.server_process import ServerProcess

TIMEOUT_S = 60.0
QUIET = ("-v", "error", "-nostdin")
VIDEO_WITH_SOUND = ("h264_aac", "hevc_opus")


def make(directory: Path, name: str = "h264_aac") -> Path:
    sample = directory / "sample.flv"
    subprocess.run(
        [current_ffmpeg(), *QUIET, *SAMPLES[name].split(), str(sample)], check=True, timeout=TIMEOUT_S
    )
    return sample


def publish(sample: Path, port: int, rate: str = "4", *more: str) -> subprocess.Popen[bytes]:
    command = (current_ffmpeg(), *QUIET, "-readrate", rate, *more, "-i", str(sample), "-c", "copy")
    return subprocess.Popen(
        (*command, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/key"), stdout=subprocess.DEVNULL
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


@pytest.mark.parametrize("name", VIDEO_WITH_SOUND)
def test_every_packet_is_in_the_file(name: str, tmp_path: Path) -> None:
    sample, folder = make(tmp_path, name), tmp_path / "recordings"
    with ServerProcess(RECORD="YES", RECORD_DIR=str(folder), RECORD_FORMAT="flv") as server:
        with publish(sample, server.port) as publisher:
            assert publisher.wait(TIMEOUT_S) == 0
        server.wait_for_line("recorded channel=live ")
        server.check_log()
    (file,) = whole(folder)
    assert hashes(file) == hashes(sample)
    assert not list(folder.rglob("*.part"))
    entry = index(folder)[-1]
    assert entry["channel"] == "live"
    assert entry["bytes"] == file.stat().st_size
    assert entry["reason"] == "the publication ended"
    assert length(file) == pytest.approx(entry["seconds"], abs=0.2)


def test_files_cut_at_keyframes_hold_every_packet_once(tmp_path: Path) -> None:
    sample, folder = make(tmp_path), tmp_path / "recordings"
    with ServerProcess(RECORD="YES", RECORD_DIR=str(folder), RECORD_SEGMENT_SECONDS="1") as server:
        with publish(sample, server.port) as publisher:
            assert publisher.wait(TIMEOUT_S) == 0
        server.wait_for_line("recorded channel=live .*publication ended")
        server.check_log()
    files = whole(folder)
    assert len(files) > 1
    assert hashes(*files) == hashes(sample)
    first = [next(iter(decoded(file)), "") for file in files]
    assert "" not in first  # each can be decoded from its first frame on
    assert [one for file in files for one in decoded(file)] == decoded(sample)


@pytest.mark.parametrize("name", VIDEO_WITH_SOUND)
def test_mp4_holds_every_picture_and_tells_its_length(name: str, tmp_path: Path) -> None:
    sample, folder = make(tmp_path, name), tmp_path / "recordings"
    settings = {"RECORD": "YES", "RECORD_DIR": str(folder), "RECORD_FORMAT": "mp4"}
    with ServerProcess(**settings, RECORD_SEGMENT_SECONDS="1") as server:
        with publish(sample, server.port) as publisher:
            assert publisher.wait(TIMEOUT_S) == 0
        server.wait_for_line("recorded channel=live .*publication ended", timeout_s=TIMEOUT_S)
        server.check_log()
    files = whole(folder)
    assert len(files) > 1
    assert [one for file in files for one in decoded(file)] == decoded(sample)
    assert hashes(*files) == hashes(sample)
    seconds = [one["seconds"] for one in index(folder) if one["state"] == "done"]
    assert [length(file) for file in files] == pytest.approx(seconds, abs=0.2)


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


@pytest.mark.parametrize("form", ["flv", "mp4"])
def test_killed_server_leaves_a_file_that_the_next_one_finishes(form: str, tmp_path: Path) -> None:
    sample, folder = make(tmp_path), tmp_path / "recordings"
    settings = {"RECORD": "YES", "RECORD_DIR": str(folder), "RECORD_FORMAT": form}
    with ServerProcess(**settings) as server:
        publisher = publish(sample, server.port, "1", "-stream_loop", "3")
        server.wait_for_line("recording channel=live")
        with pytest.raises(subprocess.TimeoutExpired):
            publisher.wait(5.0)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(TIMEOUT_S)
        publisher.wait(TIMEOUT_S)
    (part,) = folder.rglob("*.part")
    kept = hashes(part)
    with part.open("ab") as torn:
        torn.write(b"\x09\x00\x10\x00torn")
    with ServerProcess(**settings) as server:
        server.wait_for_line("recording recovered")
        server.check_log()
    (file,) = whole(folder)
    assert hashes(file) == kept
    entry = index(folder)[-1]
    assert entry["reason"] == "recovered"
    assert entry["channel"] == "live"
    assert entry["seconds"] > 3.0


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


def test_only_channels_of_the_file_are_recorded(tmp_path: Path) -> None:
    sample, folder, rules = make(tmp_path), tmp_path / "recordings", tmp_path / "channels.toml"
    rules.write_text(
        '[[channel]]\nname = "other"\nrecord = true\n[[channel]]\nname = "live"\nrecord = false\n'
    )
    with ServerProcess(RECORD="YES", RECORD_DIR=str(folder), CHANNELS_FILE=str(rules)) as server:
        with publish(sample, server.port, "20") as publisher:
            assert publisher.wait(TIMEOUT_S) == 0
        server.wait_for_line("PUBLISH END")
        assert not server.matching("recording channel")


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

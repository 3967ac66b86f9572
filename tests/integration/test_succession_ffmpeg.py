"""Three successions under real clients: every packet that ffmpeg plays is what ffmpeg published."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.integration.test_succession_tls import SecureLineage
from tests.media_files import (
    HASH_OPTIONS,
    SAMPLES,
    current_ffmpeg,
    packets_of,
    parse_hashes,
    system_tool,
)

TIMEOUT_S = 60.0
QUIET = ("-v", "error", "-nostdin")


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def play(url: str, to: Path) -> subprocess.Popen[bytes]:
    """Let an ffmpeg write the hashes of what it gets."""
    if url.startswith("rtmps"):
        return start(current_ffmpeg(), *QUIET, "-tls_verify", "0", "-i", url, *HASH_OPTIONS, str(to))
    return start(system_tool("ffmpeg"), *QUIET, "-i", url, *HASH_OPTIONS, str(to))


def test_every_packet_of_six_players_through_three_successions(tmp_path: Path) -> None:
    sample = tmp_path / "sample.flv"
    options = SAMPLES["h264_aac"].split()
    subprocess.run([current_ffmpeg(), *QUIET, *options, str(sample)], check=True, timeout=TIMEOUT_S)
    published = {name: [one.hash for one in packets] for name, packets in packets_of(sample).items()}
    with SecureLineage(tmp_path) as line:
        plain = f"rtmp://127.0.0.1:{line.port}/live/key"
        secure = f"rtmps://127.0.0.1:{line.tls_port}/live/key"
        listed = [tmp_path / f"{number}.hash" for number in range(6)]
        players = [play(secure, listed[0])]
        line.wait_for_line("PLAY ", count=1, timeout_s=TIMEOUT_S)
        publisher = start(
            *(
                system_tool("ffmpeg"),
                *QUIET,
                "-readrate",
                "0.4",
                "-i",
                str(sample),
                "-c",
                "copy",
                "-f",
                "flv",
                plain,
            )
        )
        line.wait_for_line("publish accepted", timeout_s=TIMEOUT_S)
        players += [
            play(url, to) for url, to in zip((secure, plain, plain, plain, plain), listed[1:], strict=True)
        ]
        line.wait_for_line("PLAY ", count=6, timeout_s=TIMEOUT_S)
        for _ in range(3):
            line.succeed()
        assert publisher.poll() is None, "it was over before the last succession"
        ended = [one.communicate(timeout=TIMEOUT_S)[1] for one in [publisher]]
        line.wait_for_line("PUBLISH END", timeout_s=TIMEOUT_S)
        line.end()
        ended += [one.communicate(timeout=TIMEOUT_S)[1] for one in players]
        line.check_log()
    got: list[dict[str, Any]] = []
    for path in listed:
        played = parse_hashes(path.read_text())
        got.append({name: [one.hash for one in packets] for name, packets in played.items()})
    assert got[0] == published, f"who came first: {_counts(got[0], published)} {ended}"
    for number, one in enumerate(got):
        for name, hashes in one.items():
            assert len(hashes) > len(published[name]) / 2
            assert hashes == published[name][-len(hashes) :], f"player {number}: {_counts(one, published)}"


def _counts(got: dict[str, list[str]], published: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    return {name: (len(hashes), len(published[name])) for name, hashes in got.items()}

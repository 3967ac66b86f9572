"""What a run loads a server with, and the presets; not how it is done."""

from __future__ import annotations

from dataclasses import dataclass

AUDIO_BITRATE = 128_000  # bit/s, on top of the video bitrate
AUDIO_RATE = 44_100  # samples/s
AUDIO_FRAME = 1024  # samples per AAC message: 43 messages/s


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load. `players` counts per publisher and includes the probes."""

    name: str = "custom"
    publishers: int = 1
    players: int = 300
    bitrate_mbit: float = 2.5
    fps: float = 30.0
    gop_s: float = 2.0
    audio: bool = False
    chunk_size: int = 4096
    seconds: float = 20.0
    merge: int | None = None
    tls: bool = False
    stalled: bool = False
    probes: int | None = None
    workers: int = 1  # above 1: our server a second time with so many processes
    flv: bool = False  # our server a second time, with players by HTTP-FLV
    no_http: bool = False  # our server a second time, without its port for viewers by HTTP
    ramp: bool = False  # players are added until the server fails; `players` is the first step
    ramp_to: int | None = None  # players at most; None: as many as descriptors allow

    @property
    def total_players(self) -> int:
        """Count the players of all channels, without a stalled one."""
        return self.publishers * self.players

    @property
    def bytes_per_second(self) -> float:
        """Give the media bytes of one stream, chunk headers not counted."""
        return (self.bitrate_mbit * 1e6 + (AUDIO_BITRATE if self.audio else 0)) / 8


def presets() -> dict[str, Scenario]:
    """Name the loads that the project's bars are about."""
    listed = (
        Scenario("few", players=3),
        Scenario("fanout300", players=300),
        Scenario("fanout1000", players=1000),
        Scenario("fanout1000-low", players=1000, bitrate_mbit=0.6),
        Scenario("flv300", players=300, flv=True),
        Scenario("flv1000", players=1000, flv=True),
        Scenario("unwatched50", 50, 1, no_http=True),
        Scenario("merge1", players=300, merge=1),
        Scenario("ingest100", 100, 1),
        Scenario("ingest100-128", 100, 1, chunk_size=128),
        Scenario("busy", players=200, bitrate_mbit=20, fps=60),
        Scenario("channels500", 500, 1, bitrate_mbit=1, probes=50),
        Scenario("stalled", players=50, stalled=True, seconds=65),
        Scenario("workers1000", players=1000, bitrate_mbit=0.6, workers=2),
        Scenario("capacity", players=1000, bitrate_mbit=0.6, seconds=5, ramp=True),
    )
    return {scenario.name: scenario for scenario in listed}

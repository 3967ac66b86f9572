"""One channel with a publisher and a player, and how long its messages take. Imported after `use_venv`."""

from __future__ import annotations

import threading
import time

from tests.client import Stage, interframe, keyframe

NAME = "one"
BETWEEN_S = 0.005
PAYLOAD = bytes(2000)


class Channel:
    """A publisher and a player of one server."""

    def __init__(self, on: Stage) -> None:
        self._publisher, self._player = on.publisher_and_player(NAME)
        self._sent = 0

    def delays_s(self, count: int) -> list[float]:
        """Send so many messages; return how long each took."""
        arrived: list[float] = []

        def play() -> None:
            while len(arrived) < count:
                if self._player.read(30).type_id == 9:
                    arrived.append(time.perf_counter())

        player = threading.Thread(target=play)
        player.start()
        sent = []
        for _ in range(count):
            coded = (interframe if self._sent % 50 else keyframe)(PAYLOAD)
            sent.append(time.perf_counter())
            self._publisher.video(5 * self._sent, coded)
            self._sent += 1
            time.sleep(BETWEEN_S)
        player.join()
        return [after - before for before, after in zip(sent, arrived, strict=True)]


def percentile_ms(delays: list[float], part: float) -> float:
    return sorted(delays)[min(int(len(delays) * part), len(delays) - 1)] * 1000

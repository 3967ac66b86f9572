"""How late a reader may be that serves all its sockets in rounds; a histogram, so noting costs little."""

from __future__ import annotations

MOST_MS = 1000  # rounds that are longer count as this long


class Lateness:
    """Lengths of rounds, each with the weight of its length: the chance that bytes come while it lasts.

    Bytes that come in a round wait for its end at most, so the length is an upper bound of their wait.
    """

    def __init__(self) -> None:
        """Start with no round."""
        self._weights_ns = [0] * (MOST_MS + 1)
        self._total_ns = 0

    def note(self, length_ns: int) -> None:
        """Count one round."""
        self._weights_ns[min(length_ns // 1_000_000, MOST_MS)] += length_ns
        self._total_ns += length_ns

    def percentile_ms(self, share: float) -> float:
        """Give the length, rounded up to ms, that `share` of the busy time does not pass; 0 if none."""
        wanted, seen = share * self._total_ns, 0
        for length_ms, weight_ns in enumerate(self._weights_ns):
            seen += weight_ns
            if weight_ns and seen >= wanted:
                return float(length_ms + 1)
        return 0.0

"""The parts of scripts/bench; no part of the server imports them, and they import nothing of the server."""

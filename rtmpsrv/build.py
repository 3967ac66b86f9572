"""How this installation was built. Knows nothing else."""

from __future__ import annotations

from .protocol import chunks


def compiled() -> bool:
    """Tell whether the packages that handle each message run as compiled code (RTMPSRV_COMPILE)."""
    return not chunks.__file__.endswith(".py")

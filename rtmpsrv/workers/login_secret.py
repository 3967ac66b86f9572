"""What the workers of a server sign the challenges of logins with: a file in RUN_DIR, theirs alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from rtmpsrv.errors import ConfigError

NAME: Final = "login-secret"
BYTES: Final = 32


def shared(run_dir: str) -> bytes:
    """Return the secret of a server's workers; whoever asks first makes it. Blocks for a moment at most.

    Raises ConfigError where it can be neither read nor written.
    """
    path = Path(run_dir) / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            secret = file.read(BYTES + 1)
            if len(secret) != BYTES:  # it is new, or the system went down while it was
                secret = os.urandom(BYTES)
                file.seek(0)
                file.truncate()
                file.write(secret)
            return secret
    except OSError as exc:
        raise ConfigError([f"RUN_DIR: {path} cannot be used: {exc.strerror or exc}"]) from exc

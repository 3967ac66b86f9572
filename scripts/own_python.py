"""The interpreter that scripts run with: that of the project's .venv, where there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"


def use_venv() -> None:
    """Begin anew with the project's interpreter if need be; its packages and ours can be imported then."""
    python = VENV / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), *sys.argv])
    sys.path.insert(1, str(PROJECT))

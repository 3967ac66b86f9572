"""Builds with setuptools, and with mypy beside it where RTMPSRV_COMPILE is set.

Which tools a build needs can depend on a variable only in code; everybody else need not download mypy.
setuptools is not asked for more: that would run setup.py, which needs mypy. The metadata is taken from the
finished wheel for the same reason, so that setup.py runs once.
"""

from __future__ import annotations

import os
from typing import Any

from setuptools.build_meta import build_editable, build_sdist, build_wheel

__all__ = [
    "build_editable", "build_sdist", "build_wheel", "get_requires_for_build_editable",
    "get_requires_for_build_wheel",
]  # fmt: skip

COMPILER = "mypy >= 2.4, < 3"


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Name what a wheel needs beside setuptools."""
    return [] if os.environ.get("RTMPSRV_COMPILE", "0") in ("", "0") else [COMPILER]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Name what an editable install needs: the same."""
    return get_requires_for_build_wheel(config_settings)

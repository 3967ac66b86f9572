"""What only some installations have: whether it is there, and how to get it."""

from __future__ import annotations

import importlib.util


def installed(*modules: str) -> bool:
    """Tell whether there are all of these; loads none of them."""
    return all(importlib.util.find_spec(name) is not None for name in modules)


def how_to_get(extra: str) -> str:
    """Say how to install it: of no package index, so what pip takes is the folder."""
    return f"pip install '.[{extra}]' in the folder of the sources"

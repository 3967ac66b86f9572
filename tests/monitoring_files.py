"""What stands in the files of config/ for Prometheus and Grafana: expressions, and how they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

CONFIG: Final = Path(__file__).resolve().parent.parent / "config"
DASHBOARD: Final = CONFIG / "grafana-dashboard.json"
ALERTS: Final = CONFIG / "prometheus-alerts.yml"
PROMETHEUS: Final = CONFIG / "prometheus.yml"
# What Grafana puts for its variables.
VARIABLES: Final = {"$__rate_interval": "1m", "$instance": ".*"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def panels() -> Iterator[tuple[str, list[str]]]:
    """Return title and expressions of each panel, as Grafana asks them."""
    for panel in dashboard()["panels"]:
        if panel["type"] != "row":
            yield panel["title"], [filled_in(target["expr"]) for target in panel["targets"]]


def alerts() -> Iterator[tuple[str, str]]:
    """Return name and expression of each alert."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def filled_in(expression: str) -> str:
    """Return the expression with values for Grafana's variables."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression

"""What schemathesis finds about the API, whoever serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemathesis.engine import events, from_schema


@dataclass
class Judgement:
    """What schemathesis has found."""

    checks: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by operation and status


def judged(schema: Any, examples: int) -> Judgement:
    """Let schemathesis ask all that the description allows, and much that it does not. Blocks for long."""
    schema.config.generation.max_examples = examples
    found = Judgement()
    for event in from_schema(schema).execute():
        assert not isinstance(event, (events.NonFatalError, events.FatalError, events.Interrupted)), event
        if isinstance(event, events.ScenarioFinished):
            for name, text in _noted(event, found):
                found.checks[name] += 1
                if text:
                    found.failures.append(text)
    return found


def _noted(event: events.ScenarioFinished, found: Judgement) -> Iterator[tuple[str, str]]:
    for number, interaction in event.recorder.interactions.items():
        case = event.recorder.cases[number].value
        if interaction.response is not None:
            found.answers[case.operation.label, interaction.response.status_code] += 1
    for number, checks in event.recorder.checks.items():
        case = event.recorder.cases[number].value
        for check in checks:
            failure = check.failure_info
            asked = f"{check.name}: {case.method} {case.formatted_path} {case.query}"
            yield check.name, f"{asked}: {failure.failure}" if failure else ""

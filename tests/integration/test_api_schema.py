"""The API against its own description, as schemathesis sees it: questions of all kinds, bad ones too."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.api_judged import Judgement, judged
from tests.api_site import site_of
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import on_air
from tests.server_process import PROJECT

EXAMPLES = 30  # of each operation, beside those that its bounds give
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
}


class Source(FakeSource):
    """What is ended begins anew: there is always something to end."""

    def kick(self, connection: str, block_s: float, reason: str) -> Any:
        before = list(self.values_of_connections)
        done = super().kick(connection, block_s, reason)
        self.values_of_connections = before
        return done

    def stop(self, channel: str, block_s: float | None, reason: str) -> Any:
        before = list(self.values_of_channels)
        done = super().stop(channel, block_s, reason)
        self.values_of_channels = before
        return done


def schema_of(source: FakeSource) -> Any:
    site = site_of(source)
    return schemathesis.openapi.from_wsgi("/v3/openapi.json", site, config=SchemathesisConfig(seed=1))


@pytest.fixture(scope="module")
def of_the_house() -> Judgement:
    return judged(schema_of(Source()), EXAMPLES)


def test_nothing_disagrees_with_the_description(of_the_house: Judgement) -> None:
    assert of_the_house.failures == []


def test_everything_was_looked_at(of_the_house: Judgement) -> None:
    assert set(of_the_house.checks) >= CHECKS
    labels = {label for label, _ in of_the_house.answers}
    described = json.loads((PROJECT / "rtmpsrv/web/openapi.json").read_text())["paths"]
    operations = {
        f"{method.upper()} {path}": its for path, of in described.items() for method, its in of.items()
    }
    assert set(operations) - labels == {"GET /v3/openapi.json"}  # that is how the others are known
    for status in (200, 400, 405):
        answered = {label for label, with_status in of_the_house.answers if with_status == status}
        may = {label for label in labels if status == 405 or str(status) in operations[label]["responses"]}
        assert answered == may, status


def test_an_answer_of_another_shape_is_noticed() -> None:
    source = Source([on_air("live/good", players="many")])
    assert any("many" in one for one in judged(schema_of(source), 1).failures)

"""What is in force on every route."""

from __future__ import annotations

import re

import flask
import pytest

from rtmpsrv import log
from rtmpsrv.access.refusals import FREE_REFUSALS, LONGEST_DELAY_S
from rtmpsrv.config import Config
from rtmpsrv.few_lines import AT_ONCE
from rtmpsrv.web.handler import DELAY
from rtmpsrv.web.headers import ALWAYS
from rtmpsrv.web.site import Site, make_site
from tests.doubles.monitor_source import FakeSource
from tests.unit.web.stage import Lines

SECRET = "Kleinod-7261"
HERE = "http://localhost:9997"


def client_of(config: Config | None = None) -> flask.testing.FlaskClient:
    site = Site(config or Config(), log.get("WEB"))

    @site.app.get("/v3/here")
    def here() -> str:
        return "here"

    @site.app.get("/v3/own")
    def own() -> flask.Response:
        return flask.Response("own", headers={"Cache-Control": "max-age=1"})

    @site.app.get("/fails")
    def fails() -> str:
        raise RuntimeError(SECRET)

    @site.app.post("/v3/takes")
    def takes() -> str:
        return flask.request.get_data(as_text=True)

    return site.app.test_client()


def test_all_answers_say_what_browsers_may_do() -> None:
    client = client_of()
    for path in ("/v3/here", "/none", "/fails"):
        found = client.get(path, base_url=HERE)
        for name, value in ALWAYS.items():
            assert found.headers[name] == value
        assert found.headers["Cache-Control"] == "no-store"
    assert client.get("/v3/own", base_url=HERE).headers["Cache-Control"] == "max-age=1"


def test_errors_of_the_api_are_json_and_others_are_text() -> None:
    client = client_of()
    found = client.get("/v3/none", base_url=HERE)
    assert (found.status_code, found.json) == (404, {"status": "error", "error": "not found"})
    found = client.post("/v3/here", base_url=HERE)
    assert (found.status_code, set(found.headers["Allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS"})
    found = client.get("/none", base_url=HERE)
    assert (found.status_code, found.text, found.mimetype) == (404, "not found\n", "text/plain")
    found = client.post("/v3/takes", base_url=HERE, data=b"x" * 70_000)
    assert found.status_code == 413


def test_a_bug_costs_one_answer_and_one_line_without_secrets(lines: Lines) -> None:
    found = client_of().get("/fails", base_url=HERE)
    assert (found.status_code, found.text) == (500, "internal error\n")
    (line,) = [text for level, text in lines.lines if level == "ERROR"]
    assert line.startswith("fails failed: RuntimeError in test_site.py:")


@pytest.mark.parametrize("path", ["/v3/here", "/none", "/", "/fails", "/v3/none"])
def test_nothing_is_told_to_who_is_not_let_in(path: str) -> None:
    client = client_of(Config(api_token=SECRET))
    found = client.get(path, base_url=HERE)
    assert found.status_code == 401
    assert found.headers.getlist("WWW-Authenticate") == [
        'Basic realm="rtmpsrv", charset="UTF-8"',
        'Bearer realm="rtmpsrv"',
    ]
    assert client_of().get(path, base_url="http://evil.example").status_code == 403


def test_users_of_the_settings_are_let_in() -> None:
    client = client_of(Config(api_users=f"eve:{SECRET}"))
    assert client.get("/v3/here", base_url=HERE, auth=("eve", SECRET)).text == "here"


def test_a_bug_that_a_client_causes_over_and_over_fills_no_log(lines: Lines) -> None:
    client = client_of()
    for _ in range(3 * AT_ONCE):
        client.get("/fails", base_url=HERE)
    errors = [text for level, text in lines.lines if level == "ERROR"]
    assert AT_ONCE <= len(errors) < AT_ONCE + 10


def test_thousands_without_rights_are_a_line_or_two(lines: Lines) -> None:
    client = client_of(Config(api_token=SECRET))
    for _ in range(50):
        client.get("/v3/here", base_url=HERE, headers={"Authorization": f"Bearer {SECRET}x"})
    told = [text for level, text in lines.lines if level == "INFO"]
    assert told == ["requests without rights: 1, the last from 127.0.0.1"]


def test_a_site_has_all_its_routes_and_each_asks_who_it_is() -> None:
    site = make_site(FakeSource(), Config(), log.get("WEB"))
    client = site.app.test_client()
    for path in ("/", "/v3/info", "/stat", "/metrics", "/healthz", "/readyz", "/static/page.css"):
        assert client.get(path, base_url=HERE).status_code == 200, path
    site.close()
    client = make_site(FakeSource(), Config(api_token=SECRET), log.get("WEB")).app.test_client()
    far = {"REMOTE_ADDR": "192.0.2.1"}
    rules = list(site.app.url_map.iter_rules())
    assert len(rules) > 15
    for rule in rules:
        path = re.sub("<[^>]*>", "x", str(rule))
        for method in rule.methods or ():
            found = client.open(path, method=method, base_url=HERE, environ_base=far)
            assert found.status_code == 401, (method, path)


@pytest.mark.parametrize("path", ["/control/drop/client", "//control/drop/client", "/control/drop/%63lient"])
def test_a_link_from_elsewhere_changes_nothing_however_it_is_written(path: str, lines: Lines) -> None:
    source = FakeSource()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    site = make_site(source, Config(), log.get("WEB"))
    environ = {"PATH_INFO": path.replace("%63", "c")}
    found = site.app.test_client().get("/", base_url=HERE, headers=link, environ_overrides=environ)
    assert (found.status_code, found.text) == (403, "not from another site\n")
    assert source.done == []
    site.close()


def test_who_ends_something_is_in_the_log(lines: Lines) -> None:
    site = make_site(FakeSource(), Config(api_users=f"anna:{SECRET}"), log.get("WEB"))
    client = site.app.test_client()
    ours = {"base_url": HERE, "auth": ("anna", SECRET), "environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    assert client.post("/v3/channels/live/good%0A/stop?block=5", **ours).status_code == 200
    assert client.get("/control/drop/client?addr=198.51.100.9", **ours).status_code == 200
    assert client.get("/v3/info", **ours).status_code == 200
    assert [text for _, text in lines.lines] == [
        "/v3/channels/live/good\\n/stop by 'anna' from 192.0.2.1",
        "/control/drop/client by 'anna' from 192.0.2.1",
    ]
    site.close()


def test_who_guesses_gets_slower_and_who_knows_does_not() -> None:
    client = client_of(Config(api_token=SECRET))
    delays: list[float] = []

    @client.application.after_request
    def note(response: flask.Response) -> flask.Response:
        delays.append(round(flask.request.environ.get(DELAY, 0.0), 2))
        return response

    def delay(password: str | None, address: str = "192.0.2.1") -> tuple[int, float]:
        fields = {} if password is None else {"Authorization": f"Bearer {password}"}
        found = client.get("/v3/here", headers=fields, environ_overrides={"REMOTE_ADDR": address})
        return found.status_code, delays[-1]

    assert [delay(None) for _ in range(5)] == [(401, 0.0)] * 5  # a browser that was not asked yet
    assert [delay("guess") for _ in range(6)] == [
        *[(401, 0.0)] * FREE_REFUSALS, (401, 0.1), (401, 0.2), (401, 0.4),
    ]  # fmt: skip
    assert max(delay("guess")[1] for _ in range(20)) == LONGEST_DELAY_S
    assert delay("guess", "192.0.2.2") == (401, 0.0)
    assert delay(SECRET) == (200, 0.0)

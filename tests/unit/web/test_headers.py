"""What every answer says."""

from __future__ import annotations

import json

from rtmpsrv.web.headers import ALWAYS, CONTENT_POLICY, last_answer, reason_of


def test_the_policy_lets_a_page_load_nothing_of_others() -> None:
    policy = dict(part.strip().split(" ", 1) for part in CONTENT_POLICY.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in CONTENT_POLICY


def test_a_last_answer_is_a_whole_one() -> None:
    head, _, body = last_answer(400, 'say "no"').partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    assert f"Content-Length: {len(body)}" in lines
    assert "Connection: close" in lines
    for name, value in ALWAYS.items():
        assert f"{name}: {value}" in lines
    assert json.loads(body) == {"status": "error", "error": 'say "no"'}


def test_statuses_have_words() -> None:
    assert reason_of(404) == "Not Found"
    assert reason_of(599) == "Error"

"""The viewers' pages: which file is which, what browsers may do with them, and what is listed."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from rtmpsrv.watch.pages import EMBEDDED_POLICY, FILES, MOST_LISTED, POLICY, Headers, Pages


class Reply:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.headers: dict[str, str] = {}

    def send(self, status: int, body: bytes = b"", type: str = "", headers: Headers = ()) -> None:
        assert self.status == 0  # one answer
        self.status, self.body, self.headers = status, body, {"Content-Type": type, **dict(headers)}


def ask(what: str, rest: str = "", pages: Pages | None = None, tag: str = "", **query: str) -> Reply:
    reply = Reply()
    request = SimpleNamespace(
        route=SimpleNamespace(rest=rest), query=query, headers={"if-none-match": tag} if tag else {}
    )
    getattr(pages or Pages(lambda: None), what)(request, reply)
    return reply


def test_the_page_of_a_channel_may_be_in_anybodys_frame_and_load_nothing_from_elsewhere() -> None:
    reply = ask("page")
    assert reply.status == 200
    assert b'<script type="module" src="/static/main.js">' in reply.body
    assert reply.headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-cache",
        "ETag": reply.headers["ETag"],
        "Content-Security-Policy": EMBEDDED_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    assert EMBEDDED_POLICY.endswith("frame-ancestors *")
    assert "media-src 'self' blob:;" in EMBEDDED_POLICY


def test_a_site_gets_what_there_is_to_answer() -> None:
    kinds: list[str] = []
    Pages(lambda: None).add_to(SimpleNamespace(add=lambda kind, _handler: kinds.append(kind)))
    assert sorted(kinds) == ["list", "page", "static"]


def test_the_list_may_be_in_nobodys_frame() -> None:
    reply = ask("list")
    assert b"/static/list.js" in reply.body
    assert reply.headers["Content-Security-Policy"] == POLICY
    assert POLICY.endswith("frame-ancestors 'none'")


@pytest.mark.parametrize("page", ["watch.html", "list.html"])
def test_nothing_of_a_page_is_inline_for_the_policy_forbids_it(page: str) -> None:
    text = (FILES / page).read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style|\s(?:on\w+|style)=|javascript:", text) == []
    assert "unsafe" not in POLICY + EMBEDDED_POLICY


@pytest.mark.parametrize("page", ["watch.html", "list.html"])
def test_each_file_that_a_page_names_is_served(page: str) -> None:
    text = (FILES / page).read_text()
    names = re.findall(r'(?:src|href)="/static/([^"]+)"', text)
    assert len(names) >= 3
    for name in names:
        assert ask("static", name).status == 200
    assert not re.search(r"<script>|<style|style=|\son\w+=", text)  # the policy forbids them


@pytest.mark.parametrize("script", sorted(path.name for path in FILES.glob("*.js")))
def test_each_module_that_a_script_imports_is_served(script: str) -> None:
    reply = ask("static", script)
    assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    for name in re.findall(r'from "\./([^"]+)"', reply.body.decode()):
        assert ask("static", name).status == 200


def test_browsers_get_an_icon_without_being_told() -> None:
    reply = ask("static", "favicon.ico")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("name", ["", "nothing.js", "../pages.py", "..%2fpages.py", "/etc/passwd"])
def test_there_is_nothing_else(name: str) -> None:
    reply = ask("static", name)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_what_a_browser_has_is_not_sent_again() -> None:
    tag = ask("static", "watch.css").headers["ETag"]
    for said in (tag, f'"other", W/{tag}'):
        reply = ask("static", "watch.css", tag=said)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["ETag"] == tag
    assert ask("static", "watch.css", tag='"other"').status == 200


def test_channels_are_listed_by_name() -> None:
    pages = Pages(lambda: ["b/<x>", "a"])
    reply = ask("list", pages=pages, format="json")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert json.loads(reply.body) == {
        "listed": True,
        "channels": [{"name": "a"}, {"name": "b/<x>"}],
    }


def test_what_nobody_may_know_is_not_listed() -> None:
    reply = ask("list", pages=Pages(lambda: None), format="json")
    assert json.loads(reply.body) == {"listed": False, "channels": []}


def test_a_list_has_a_limit() -> None:
    for count in (MOST_LISTED, MOST_LISTED + 1):
        many = [f"{number:04}" for number in range(count)]
        listed = json.loads(ask("list", pages=Pages(lambda many=many: many), format="json").body)  # type: ignore[misc]
        assert len(listed["channels"]) == MOST_LISTED

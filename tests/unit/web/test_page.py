"""The page's files: what is served, and what a browser may do with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from rtmpsrv.web import page

FILES = sorted(path.name for path in page.STATIC.iterdir())
SCRIPTS = [name for name in FILES if name.endswith(".js")]
MOST_LINES = 350


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("site", static_folder=None)
    app.register_blueprint(page.blueprint())
    return app.test_client()


def test_the_page_is_html_under_a_strict_policy(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_served_with_its_type(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.data == (page.STATIC / name).read_bytes()
    assert answer.headers["Content-Type"] == page.TYPES[Path(name).suffix]
    answer.close()


def test_a_browser_that_has_a_file_is_not_sent_it_again(client: FlaskClient) -> None:
    answer = client.get("/static/main.js")
    assert answer.headers["Cache-Control"] == "no-cache"
    again = client.get("/static/main.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    answer.close()


@pytest.mark.parametrize(
    "path",
    ["/static/nothing.js", "/static/page.py", "/static/", "/static/../page.py", "/static/..%2fpage.py", "/x"],
)
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    html = (page.STATIC / "page.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""]
    for name in FILES:
        text = (page.STATIC / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|(?:src|href)=\"//|@import", text), name


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_take_no_markup_and_run_no_text(name: str) -> None:
    text = (page.STATIC / name).read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|setHTML",
        text,
    )
    assert text.count("\n") <= MOST_LINES


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_only_what_is_here(name: str) -> None:
    imports = re.findall(r'from "([^"]+)"', (page.STATIC / name).read_text())
    assert {one.removeprefix("./") for one in imports} <= set(SCRIPTS)


def test_all_addresses_of_the_page_are_relative() -> None:
    html = (page.STATIC / "page.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert not address.startswith("/"), address

"""The page itself: a few files that are ours, served as they are, and what browsers may do with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Blueprint, Response, abort, request

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline, in nobody's frame: what a publisher names its channel stays text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def blueprint() -> Blueprint:
    """Return the routes. The files are read now and kept: there is nothing else that a path could reach."""
    routes = Blueprint("page", __name__)
    files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}
    tags = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in files.items()}

    def file(name: str) -> Response:
        """Return one of our files, or 404; a browser asks each time whether it is still the same."""
        if name not in files:
            abort(404)
        answer = Response(files[name], content_type=TYPES[Path(name).suffix])
        answer.set_etag(tags[name])
        answer.headers["Cache-Control"] = "no-cache"
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.make_conditional(request)
        return answer

    @routes.get("/")
    def page() -> Response:
        return file("page.html")

    @routes.get("/static/<name>")
    def static(name: str) -> Response:
        return file(name)

    return routes

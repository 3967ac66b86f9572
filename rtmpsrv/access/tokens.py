"""The signed tokens that go out: callback events and the control link. Sends nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import Mapping

import jwt

CALLBACK_LIFETIME_S = 120  # docs/callbacks.md, claim `exp`
CONTROL_LIFETIME_S = 3600  # docs/control.md, "Connection"
DEFAULT_CALLBACK_SUBJECT = "rtmp_event"
CONTROL_SUBJECT = "rtmp-control"

Claim = str | int | float | None


def sign(claims: Mapping[str, Claim], secret: str) -> str:
    """Return the claims as an HS256 token; an empty secret signs too, as the reference does."""
    if not secret:
        return _sign_with_empty_secret(claims)
    with warnings.catch_warnings():
        # PyJWT 2.10+ warns at each call about secrets under 32 bytes; the operator chose this one.
        warnings.simplefilter("ignore")
        return jwt.encode(dict(claims), secret, algorithm="HS256")


def callback_token(
    event: str,
    *,
    secret: str,
    subject: str,
    channel: str,
    key: str,
    client_ip: str | None,
    stream_id: str | None,
    rtmp_host: str,
    rtmp_port: int,
    more: Mapping[str, Claim] | None = None,
    now: float | None = None,
) -> str:
    """Return the value of the `rtmp-event` header: all ten claims, null for nothing, and `more`."""
    issued = int(time.time() if now is None else now)
    claims: dict[str, Claim] = {
        "sub": subject or DEFAULT_CALLBACK_SUBJECT,
        "iat": issued,
        "exp": issued + CALLBACK_LIFETIME_S,
        "event": event,
        "channel": channel,
        "key": key,
        "client_ip": client_ip,
        "stream_id": stream_id,
        "rtmp_port": rtmp_port,
        "rtmp_host": rtmp_host,
        **(more or {}),
    }
    return sign(claims, secret)


def control_token(secret: str) -> str:
    """Return the value of the `x-control-auth-token` header, made anew for each attempt."""
    issued = int(time.time())
    return sign({"sub": CONTROL_SUBJECT, "iat": issued, "exp": issued + CONTROL_LIFETIME_S}, secret)


def _sign_with_empty_secret(claims: Mapping[str, Claim]) -> str:
    # PyJWT 2.11+ refuses an empty HMAC key, which the documents allow.
    head = _base64url(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    body = _base64url(json.dumps(claims, separators=(",", ":")).encode())
    signature = hmac.new(b"", f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

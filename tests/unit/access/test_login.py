"""The login of encoders, step by step. What real clients do is in tests/integration/test_login.py."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.access.login import MAX_USER, VALID_S, Challenges, Login, read_login, response
from rtmpsrv.errors import AccessDenied, LoginAsked
from tests.doubles.secrets import KEY as PASSWORD
from tests.doubles.secrets import OTHER_KEY as OTHER

NOW = 1_700_000_000.0
USER = "alice"


def b64md5(text: str) -> str:
    return base64.b64encode(hashlib.md5(text.encode()).digest()).decode()


def asked(challenges: Challenges, login: Login | None, passwords: list[str], now: float = NOW) -> str:
    """Return the description of what a client is told, "" for a client that is in."""
    refused: AccessDenied | None = None
    try:
        challenges.ask(login, passwords, now)
    except AccessDenied as exc:
        refused = exc
    if refused is None:
        return ""
    description = refused.description
    assert refused.code == "NetConnection.Connect.Rejected"
    fails = login is not None and bool(passwords) and not isinstance(refused, LoginAsked)
    assert refused.user == (login.user if login is not None and fails else ""), "of a user that there is"
    assert isinstance(refused, LoginAsked) == ("needauth" in description or "code=403" in description)
    return description


def parameters(description: str) -> dict[str, str]:
    """Read a challenge as clients do: to the end of the text, at `&` and the first `=`."""
    return dict(pair.split("=", 1) for pair in description.partition("?")[2].split("&"))


def answered(given: dict[str, str], password: str = PASSWORD, challenge: str = "AAECAw==") -> Login:
    """Answer as librtmp does."""
    first = b64md5(given["user"] + given["salt"] + password)
    return Login(given["user"], challenge, b64md5(first + given["opaque"] + challenge), given["opaque"])


@pytest.fixture
def challenges() -> Challenges:
    return Challenges(b"secret")


def test_three_steps_lead_in(challenges: Challenges) -> None:
    first = asked(challenges, None, [PASSWORD])
    assert "code=403 need auth" in first
    assert "authmod=adobe" in first
    second = asked(challenges, Login(USER), [PASSWORD])
    assert "authmod=adobe" in second
    assert "code=403" not in second, "a client that reads that now gives up"
    given = parameters(second)
    assert (given["reason"], given["user"]) == ("needauth", USER)
    assert given["challenge"] == given["opaque"], "for clients that know no opaque"
    assert asked(challenges, answered(given), [PASSWORD]) == ""
    assert asked(challenges, answered(given), [OTHER, PASSWORD]) == "", "one of several"
    other_process = Challenges(b"secret")
    assert asked(other_process, answered(given), [PASSWORD]) == ""


def test_a_challenge_fits_the_buffer_of_ffmpeg(challenges: Challenges) -> None:
    second = asked(challenges, Login("u" * MAX_USER), [PASSWORD])
    assert len(second.partition("?")[2]) < 200
    assert second == second.strip()


def test_what_is_wrong_is_named(challenges: Challenges) -> None:
    given = parameters(asked(challenges, Login(USER), [PASSWORD]))
    assert asked(challenges, answered(given, OTHER), [PASSWORD]).endswith("?reason=authfailed")
    assert asked(challenges, Login("nobody"), []).endswith("?reason=nosuchuser")
    assert asked(challenges, answered(given), []).endswith("?reason=nosuchuser")


def test_a_challenge_is_for_one_user_and_for_a_while(challenges: Challenges) -> None:
    given = parameters(asked(challenges, Login(USER), [PASSWORD]))
    stolen = answered(given | {"user": "bob", "salt": challenges.salt("bob")})
    assert asked(challenges, stolen, [PASSWORD]).endswith("authfailed")
    login = answered(given)
    assert asked(challenges, login, [PASSWORD], NOW + VALID_S) == ""
    late = asked(challenges, login, [PASSWORD], NOW + VALID_S + 1)
    assert parameters(late)["opaque"] != given["opaque"], "a new one is given"
    assert challenges.proves(login, PASSWORD), "who is in stays in"


def test_challenges_of_others_are_worth_nothing(challenges: Challenges) -> None:
    foreign = Challenges(b"another")
    given = parameters(asked(foreign, Login(USER), [PASSWORD]))
    assert asked(challenges, answered(given | {"salt": challenges.salt(USER)}), [PASSWORD]).endswith(
        "authfailed"
    )


def test_no_two_challenges_are_the_same(challenges: Challenges) -> None:
    assert challenges.make(USER, NOW) != challenges.make(USER, NOW)
    assert challenges.salt(USER) == Challenges(b"secret").salt(USER) != challenges.salt("bob")


@pytest.mark.parametrize("opaque", ["", "x", "äöü", "AAAA", "=" * 24, "A" * 23 + "\udcff"])
def test_odd_challenges_are_refused(challenges: Challenges, opaque: str) -> None:
    assert not challenges.is_ours(opaque, USER)
    odd = Login(USER, "\udcff", "\udcff", opaque)
    assert asked(challenges, odd, [PASSWORD]).endswith("authfailed")


@pytest.mark.parametrize(
    ("query", "login"),
    [
        ("", None),
        ("user=alice", None),
        ("authmod=llnw&user=alice", None),
        ("xauthmod=adobe", None),
        ("authmod=adobe", Login("")),
        ("authmod=adobe&user=alice", Login("alice")),
        ("key=val?authmod=adobe&user=alice", Login("alice")),
        (
            "authmod=adobe&user=alice&challenge=A+/=&response=B==&opaque=C/",
            Login("alice", "A+/=", "B==", "C/"),
        ),
        ("authmod=adobe&user=alice?authmod=adobe&user=alice&response=B", Login("alice", "", "B")),
        ("authmod=adobe&" + "a=1&" * 40 + "user=alice", Login("")),
    ],
)
def test_logins_are_read_from_queries_as_clients_write_them(query: str, login: Login | None) -> None:
    assert read_login(query) == login


def test_the_response_is_that_of_the_clients() -> None:
    expected = b64md5(b64md5("alicesaltpassword") + "opaque" + "challenge")
    assert response("alice", "salt", "password", "opaque", "challenge") == expected
    assert PASSWORD not in repr(Login("alice", PASSWORD, PASSWORD, PASSWORD))


@given(st.text(), st.text(), st.text(), st.text())
def test_whatever_a_client_sends_is_answered(user: str, challenge: str, answer: str, opaque: str) -> None:
    assert asked(Challenges(b"secret"), Login(user, challenge, answer, opaque), [PASSWORD]) != ""

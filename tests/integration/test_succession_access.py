"""What was let in by a token or a key is judged in the next process too, though it shows neither again."""

from __future__ import annotations

import time
from pathlib import Path

from rtmpsrv.access.login import response
from rtmpsrv.access.stream_tokens import make_token
from tests.client import Client, Stage, describe, stage, values_of
from tests.doubles.secrets import KEY, OTHER_KEY
from tests.integration.lineage import Lineage

TOKEN_SECRET = "jwt-secret-Kp3-and-some-more-letters"


def asked(on: Stage, name: str, *, to_play: bool) -> Client:
    """Return a client that publishes or plays a name of `live`."""
    client = on.client().connect("live")
    ask = client.ask_play if to_play else client.ask_publish
    ask(name, client.create_stream())
    wanted = "NetStream.Play.Start" if to_play else "NetStream.Publish.Start"
    client.read_until(lambda one: describe(one) == wanted)
    return client


def ended(client: Client, code: str) -> str:
    """Wait until the client is told that it is over; return why."""
    _, message = client.read_until(lambda one: describe(one) == code, timeout_s=20)
    return str(values_of(message)[3]["description"])


def test_a_token_runs_out_in_the_next_process() -> None:
    with (
        Lineage(URL_LAYOUT="app-stream", PUBLISH_ACCESS="token", TOKEN_SECRET=TOKEN_SECRET) as line,
        stage(line.port) as on,
    ):
        ends_at = int(time.time()) + 6
        claims = {"channel": "live/*", "action": "publish", "exp": ends_at}
        short = asked(on, f"alice?token={make_token(claims, TOKEN_SECRET)}", to_play=False)
        long = asked(on, f"bob?token={make_token(claims | {'exp': 1 << 40}, TOKEN_SECRET)}", to_play=False)
        player = asked(on, "bob", to_play=True)
        line.succeed()
        assert ended(short, "NetStream.Unpublish.Success").endswith("the token has run out")
        assert time.time() >= ends_at
        short.expect_closed()
        on.passed(long, player)
        line.check_log()


def test_a_key_is_taken_away_in_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    text = f'[[channel]]\nname = "live/alice"\npublish_keys = ["{KEY}"]\nplay_keys = ["one", "two"]\n'
    path.write_text(text)
    with (
        Lineage(URL_LAYOUT="app-stream", CHANNELS_FILE=str(path)) as line,
        stage(line.port) as on,
    ):
        publisher = asked(on, f"alice?key={KEY}", to_play=False)
        one, two = (asked(on, f"alice?key={key}", to_play=True) for key in ("one", "two"))
        line.succeed()
        path.write_text(text.replace(', "two"', ""))
        assert "it is none of the channel's" in ended(two, "NetStream.Play.Stop")
        on.passed(publisher, one)
        path.write_text(text.replace(KEY, OTHER_KEY))
        assert "it is none of the channel's" in ended(publisher, "NetStream.Unpublish.Success")
        ended(one, "NetStream.Play.UnpublishNotify")
        line.check_log()


def log_in(on: Stage, query: str = "") -> tuple[Client, dict[str, str]]:
    """Connect as an encoder; return what its challenge says, nothing when it is let in."""
    client = on.client()
    client.shake_hands()
    client.ask_connect(f"live?authmod=adobe&user=alice{query}", flashVer="FMLE/3.0")
    _, message = client.read_until(lambda one: values_of(one)[:1] in (["_result"], ["_error"]))
    _, _, said = str(values_of(message)[-1].get("description", "")).partition("?reason=needauth")
    return client, dict(pair.split("=", 1) for pair in said.split("&") if pair)


def answer(given: dict[str, str]) -> str:
    shown = response("alice", given["salt"], KEY, given["opaque"], "AAECAw==")
    return f"&challenge=AAECAw==&response={shown}&opaque={given['opaque']}"


def test_a_login_and_a_challenge_are_the_next_process_s_too(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    text = f'[[channel]]\nname = "live/*"\nusers = {{ alice = "{KEY}" }}\nplay_access = "open"\n'
    path.write_text(text)
    with (
        Lineage(URL_LAYOUT="app-stream", CHANNELS_FILE=str(path)) as line,
        stage(line.port) as on,
    ):
        publisher, _ = log_in(on, answer(log_in(on)[1]))
        publisher.ask_publish("one", publisher.create_stream())
        publisher.expect_status("NetStream.Publish.Start")
        player = asked(on, "one", to_play=True)
        challenge = log_in(on)[1]
        line.succeed()
        path.write_text(text + "max_players = 5\n")  # who is there is judged again
        line.wait_for_line("CHANNELS_FILE read again")
        late, more = log_in(on, answer(challenge))
        assert not more
        late.ask_publish("two", late.create_stream())
        late.expect_status("NetStream.Publish.Start")
        on.passed(publisher, player)
        line.check_log()

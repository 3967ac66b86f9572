"""Commands and their answers, against a running server. Numbers in names: docs/compliance.md."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack
from tests.client import Client, Stage, keyframe, names_of, stage, values_of
from tests.server_process import ServerProcess

NO_CHANNEL = "No channel is selected"

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(CONCURRENT_LIMIT_WHITELIST="*") as running:
        yield running
        running.check_log()


@pytest.fixture
def on(server: ServerProcess) -> Iterator[Stage]:
    with stage(server.port, strangers=True) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"channel{next(_numbers)}"


def shaken(on: Stage) -> Client:
    client = on.client()
    client.shake_hands()
    return client


def expect_refused(client: Client, code: str, description: str) -> None:
    """The client must get this error on message stream 1, perhaps with more about it, and be closed."""
    (message,) = client.expect_closed()
    name, transaction, properties, information = values_of(message)
    assert (name, transaction, properties) == ("onStatus", 0.0, None)
    assert list(information) == ["level", "code", "description"]
    assert (information["level"], information["code"]) == ("error", code)
    assert information["description"].partition(":")[0] == description
    assert (message.msid, message.csid) == (1, 3)


# --- connect --------------------------------------------------------------------------------------------


def test_s37_connect_is_answered_by_four_messages_in_order(on: Stage, channel: str) -> None:
    client = shaken(on)
    transaction = client.ask_connect(channel)
    window, bandwidth, chunk_size, result = client.fence()
    assert (window.type_id, window.payload) == (5, (5_000_000).to_bytes(4, "big"))
    assert (bandwidth.type_id, bandwidth.payload) == (6, (5_000_000).to_bytes(4, "big") + b"\x02")
    assert (chunk_size.type_id, chunk_size.payload) == (1, (4096).to_bytes(4, "big"))
    assert {(one.csid, one.msid, one.timestamp) for one in (window, bandwidth, chunk_size)} == {(2, 0, 0)}
    assert (result.csid, result.msid) == (3, 0)
    name, number, properties, information = values_of(result)
    assert (name, number) == ("_result", transaction)
    assert (properties["fmsVer"], properties["capabilities"]) == ("FMS/3,0,1,123", 31.0)
    assert information["code"] == "NetConnection.Connect.Success"
    assert (information["level"], information["description"]) == ("status", "Connection succeeded.")


@pytest.mark.parametrize(("asked", "answered"), [({}, 0.0), ({"objectEncoding": 0.0}, 0.0),
                                                 ({"objectEncoding": 3.0}, 3.0)])  # fmt: skip
def test_s38_object_encoding_is_repeated(
    on: Stage, channel: str, asked: dict[str, float], answered: object
) -> None:
    client = shaken(on)
    client.ask_connect(channel, **asked)
    information = client.expect_command("_result")[2]
    assert information["objectEncoding"] == answered


@pytest.mark.parametrize(
    "properties",
    [{"app": "bad/app"}, {"app": ""}, {"app": "a" * 129}, {}, {"app": 7.0}, None],
    ids=["special", "empty", "129 letters", "missing", "a number", "no object"],
)
def test_s39_a_refused_connect_is_told_why_and_closed(
    on: Stage, properties: dict[str, object] | None
) -> None:
    client = shaken(on)
    transaction = client.command("connect", properties)
    (message,) = client.expect_closed()
    name, number, _, information = values_of(message)
    assert (name, number) == ("_error", transaction)
    assert (information["level"], information["code"]) == ("error", "NetConnection.Connect.Rejected")
    assert information["description"]


def test_s39_128_letters_are_allowed(on: Stage) -> None:
    on.client().connect("a" * 128)


@pytest.mark.parametrize("form", ["{}/", "/{}", "{}/_definst_", "{}?token=1", "{}/?token=1"])
def test_forms_of_an_app_mean_one_channel(on: Stage, channel: str, form: str) -> None:
    client = on.client().connect(form.format(channel))
    client.ask_publish("k")
    assert client.expect_status("NetStream.Publish.Start")["description"] == f"/{channel}/k is now published."


def test_s40_a_second_connect_closes(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    client.ask_connect(channel)
    assert client.expect_closed() == []


def test_s41_streams_are_numbered_from_1(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    for number in (1, 2, 3):
        client.command("createStream", None, transaction=10.0 + number)
        assert client.expect_command("_result") == [10.0 + number, None, float(number)]


@pytest.mark.parametrize("name", ["releaseStream", "FCPublish", "FCUnpublish", "FCSubscribe",
                                  "getStreamLength", "_checkbw", "somethingNew"])  # fmt: skip
def test_s42_courtesy_calls_get_a_result(on: Stage, channel: str, name: str) -> None:
    client = on.client().connect(channel)
    transaction = client.command(name, None, "key")
    answers = [values_of(message) for message in client.fence()]
    assert answers[0][:2] == ["_result", transaction]
    notices = {"FCPublish": "onFCPublish", "FCUnpublish": "onFCUnpublish", "FCSubscribe": "onFCSubscribe"}
    assert [one[0] for one in answers[1:]] == ([notices[name]] if name in notices else [])
    client.create_stream()


# --- publish --------------------------------------------------------------------------------------------


def test_s43_publish_before_connect_is_refused(on: Stage) -> None:
    client = shaken(on)
    client.ask_publish("k")
    expect_refused(client, "NetStream.Publish.BadConnection", NO_CHANNEL)


@pytest.mark.parametrize("key", ["a%b", "", "k" * 129, "?x=1"])
def test_s44_an_invalid_key_is_refused(on: Stage, channel: str, key: str) -> None:
    client = on.client().connect(channel)
    client.ask_publish(key)
    expect_refused(client, "NetStream.Publish.BadName", "Invalid stream key provided")


def test_s44_a_missing_key_is_refused(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    client.command("publish", None, msid=1)
    expect_refused(client, "NetStream.Publish.BadName", "No stream key provided")


def test_s45_the_key_ends_at_the_question_mark(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    client.ask_publish("k?x=1", client.create_stream())
    assert client.expect_status("NetStream.Publish.Start")["description"] == f"/{channel}/k is now published."
    player = on.client().connect(channel)
    player.ask_play("k?y=2")
    player.expect_status("NetStream.Play.Reset")


def test_s46_publish_is_answered_by_stream_begin_and_one_status(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    assert [client.create_stream(), client.create_stream()] == [1, 2]
    client.ask_publish("k", msid=2)
    begin, status = client.fence()
    assert (begin.type_id, begin.payload) == (4, bytes.fromhex("0000 00000002"))
    assert (status.msid, status.csid) == (2, 3)
    assert values_of(status)[:3] == ["onStatus", 0.0, None]
    assert values_of(status)[3] == {
        "level": "status",
        "code": "NetStream.Publish.Start",
        "description": f"/{channel}/k is now published.",
    }


def test_s47_a_second_publisher_is_refused_and_the_first_goes_on(on: Stage, channel: str) -> None:
    first = on.publisher(channel)
    second = on.client().connect(channel)
    second.ask_publish("k")
    expect_refused(second, "NetStream.Publish.BadName", "Stream already publishing")
    player = on.player(channel)
    on.passed(first, player)
    first.video(40, keyframe(b"on"))
    assert names_of(on.passed(first, player)) == ["video on"]


def test_s47_a_refusal_arrives_although_media_is_on_its_way(on: Stage, channel: str) -> None:
    """Encoders do not wait; a close with bytes unread would be a reset that discards the status."""
    on.publisher(channel)
    second = on.client().connect(channel)
    command = pack(3, 0, messages.COMMAND_AMF0, 1, amf0.encode("publish", 3.0, None, "k", "live"))
    media = pack(6, 0, messages.VIDEO, 1, keyframe(bytes(60_000)))
    second.send(command + 4 * media)
    expect_refused(second, "NetStream.Publish.BadName", "Stream already publishing")


def test_s48_publishing_twice_on_a_connection_is_refused(on: Stage, channel: str) -> None:
    client = on.client().publish(channel)
    client.ask_publish("k")
    expect_refused(client, "NetStream.Publish.BadConnection", "Connection already publishing")


def test_s49_type_17_commands_are_those_of_type_20_behind_a_byte(on: Stage, channel: str) -> None:
    client = shaken(on)
    body = amf0.encode("connect", 1.0, {"app": channel, "objectEncoding": 3.0})
    client.message(messages.COMMAND_AMF3, b"\0" + body)
    assert client.expect_command("_result")[0] == 1.0
    client.message(messages.COMMAND_AMF3, b"\0" + amf0.encode("createStream", 2.0, None))
    assert client.expect_command("_result") == [2.0, None, 1.0]


def test_s50_properties_behind_a_nested_object_are_read(on: Stage, channel: str) -> None:
    client = shaken(on)
    nested = {"a": {"b": {"c": [1.0, {"d": "e"}]}}, "z": None}
    client.command("connect", {"extra": nested, "objectEncoding": 3.0, "app": channel})
    assert client.expect_command("_result")[2]["objectEncoding"] == 3.0
    client.ask_publish("k")
    assert client.expect_status("NetStream.Publish.Start")["description"] == f"/{channel}/k is now published."


# --- play -----------------------------------------------------------------------------------------------


def test_s51_play_before_connect_is_refused(on: Stage) -> None:
    client = shaken(on)
    client.ask_play("k")
    expect_refused(client, "NetStream.Play.BadConnection", NO_CHANNEL)


def test_s52_a_wrong_key_is_refused_on_a_live_channel(on: Stage, channel: str) -> None:
    on.publisher(channel)
    client = on.client().connect(channel)
    client.ask_play("wrong")
    expect_refused(client, "NetStream.Play.BadName", "Invalid stream key provided")


def test_s52_an_invalid_or_missing_key_is_refused_on_any_channel(on: Stage, channel: str) -> None:
    client = on.client().connect(channel)
    client.ask_play("a%b")
    expect_refused(client, "NetStream.Play.BadName", "Invalid stream key provided")
    client = on.client().connect(channel)
    client.command("play", None, msid=1)
    expect_refused(client, "NetStream.Play.BadName", "No stream key provided")


def test_s53_playing_twice_on_a_connection_is_refused(on: Stage, channel: str) -> None:
    client = on.player(channel)
    client.ask_play("k")
    expect_refused(client, "NetStream.Play.BadConnection", "Connection already playing")


# --- names ----------------------------------------------------------------------------------------------


def test_s54_special_characters_can_be_allowed() -> None:
    settings = {"ID_ALLOW_SPECIAL_CHARACTERS": "YES", "CONCURRENT_LIMIT_WHITELIST": "*"}
    with ServerProcess(**settings) as server, stage(server.port) as on:
        for number, key in enumerate(["a%b", "a b", "schlüssel", "a/b"]):
            on.client().publish(f"live/{number}", key)
        for key in ["a>b", "a|b", "a\nb"]:
            client = on.client().connect("live/x")
            client.ask_publish(key)
            expect_refused(client, "NetStream.Publish.BadName", "Invalid stream key provided")
        server.check_log()

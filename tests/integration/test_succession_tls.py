"""Succession with RTMPS: what is on TLS stays in the old process, and follows the stream in the next ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client, media_of, names_of, stage
from tests.doubles.pairs import issue
from tests.integration.lineage import Lineage, alive
from tests.integration.test_succession import some
from tests.integration.test_tls import LISTENING, TlsClient
from tests.server_process import START_S, free_port


class SecureLineage(Lineage):
    def __init__(self, folder: Path, **settings: str) -> None:
        chain, key = issue().write(folder)
        self.tls_port = free_port()
        self.clients: list[Client] = []
        super().__init__(
            SSL_CERT=str(chain),
            SSL_KEY=str(key),
            SSL_PORT=str(self.tls_port),
            **settings,
        )
        self.wait_for_line(LISTENING)

    def client(self) -> TlsClient:
        self.clients.append(client := TlsClient(self.tls_port))
        return client

    def kill(self) -> None:
        for client in self.clients:
            client.close()
        super().kill()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SecureLineage]:
    with SecureLineage(tmp_path) as made:
        yield made
        made.check_log()


def test_players_on_tls_follow_the_stream_through_three_successions(line: SecureLineage) -> None:
    with stage(line.port) as on:
        waiting = line.client().play("app")
        publisher = on.publisher("app")
        secure = line.client().play("app")
        plain = on.player("app")
        everybody = [waiting, secure, plain]
        some(publisher, 0)
        for player in everybody:
            assert len(media_of(on.passed(publisher, player))) >= 10
        for turn in range(1, 4):
            line.succeed()
            some(publisher, 10 * turn)
            for player in everybody:
                heard = names_of(media_of(on.passed(publisher, player)))
                assert len(heard) == 10, (turn, everybody.index(player), heard)
            everybody.append(line.client().play("app"))
            some(publisher, 10 * turn + 5)
            for player in everybody[:-1]:
                assert len(media_of(on.passed(publisher, player))) == 10
            assert len(media_of(on.passed(publisher, everybody[-1]))) >= 10
        publisher.close()
        for player in everybody:
            player.read_until(lambda one: "NetStream.Play.UnpublishNotify" in names_of([one]))
        second = on.publisher("app")
        some(second, 50)
        for player in everybody:
            assert len(media_of(on.passed(second, player))) >= 10
        for player in everybody[:2]:
            player.close()
        assert line.process.wait(START_S) == 0
        for player in everybody[2:]:
            some(second, 60)
            assert len(media_of(on.passed(second, player))) >= 10
    line.end()


def test_a_publisher_on_tls_stays_and_its_stream_is_seen_everywhere(line: SecureLineage) -> None:
    with stage(line.port) as on:
        publisher = line.client().publish("app")
        before = [on.player("app"), line.client().play("app")]
        some(publisher, 0)
        for player in before:
            assert len(media_of(on.passed(publisher, player))) >= 10
        for turn in range(1, 4):
            line.succeed()
            some(publisher, 10 * turn)
            for player in before:
                assert len(media_of(on.passed(publisher, player))) == 10
            late = on.player("app")
            some(publisher, 10 * turn + 5)
            assert len(media_of(on.passed(publisher, late))) >= 10
            for player in before:
                assert len(media_of(on.passed(publisher, player))) == 10
            second = on.client().connect("app")
            second.ask_publish("k", second.create_stream())
            second.expect_status("NetStream.Publish.BadName")
        publisher.close()
        for player in before:
            player.read_until(lambda one: "NetStream.Play.UnpublishNotify" in names_of([one]))
        other = on.publisher("app")
        some(other, 90)
        for player in before:
            assert len(media_of(on.passed(other, player))) >= 10
    line.end()


def test_a_stream_on_tls_that_nobody_plays_is_there_for_those_who_come(line: SecureLineage) -> None:
    with stage(line.port) as on:
        publisher = line.client().publish("app")
        some(publisher, 0)
        for turn in range(1, 3):
            line.succeed()
            second = on.client().connect("app")
            second.ask_publish("k", second.create_stream())
            second.expect_status("NetStream.Publish.BadName")
            player = on.player("app")
            some(publisher, 10 * turn)
            assert len(media_of(on.passed(publisher, player))) >= 10
            if turn == 1:
                player.close()
        publisher.close()
        player.read_until(lambda one: "NetStream.Play.UnpublishNotify" in names_of([one]))
        other = on.publisher("app")
        some(other, 90)
        assert len(media_of(on.passed(other, player))) >= 10
    line.end()


def test_the_end_of_the_process_with_the_publisher_is_the_end_of_its_stream(line: SecureLineage) -> None:
    with stage(line.port) as on:
        line.client().publish("app")
        player = on.player("app")
        line.succeed()
        line.process.kill()
        player.read_until(lambda one: "NetStream.Play.UnpublishNotify" in names_of([one]))
        publisher = on.publisher("app")
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
    line.end()


def test_the_end_of_the_process_with_the_stream_is_told_to_players_that_stayed(line: SecureLineage) -> None:
    with stage(line.port) as on:
        on.publisher("app")
        player = line.client().play("app")
        line.succeed()
        os.kill(line.pid, signal.SIGKILL)
        player.read_until(lambda one: "NetStream.Play.UnpublishNotify" in names_of([one]))
        player.close()
        assert line.process.wait(START_S) == 0
        assert not alive(line.pid)


def test_a_player_on_tls_that_asks_after_the_succession_is_served(line: SecureLineage) -> None:
    with stage(line.port) as on:
        early = line.client().connect("app")
        shaken = line.client()
        shaken.shake_hands()
        publisher = on.publisher("app")
        line.succeed()
        line.succeed()
        assert shaken.ask_connect("app") == shaken.expect_command("_result")[0]
        for player in (early, shaken):
            player.ask_play("k", player.create_stream())
        some(publisher, 0)
        for player in (early, shaken):
            assert len(media_of(on.passed(publisher, player))) >= 10
    line.end()

"""The settings together. Numbers in names: docs/compliance.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.advice import EMPTY_SECRET
from rtmpsrv.config import SETTINGS, Config, effective_settings, texts_of
from rtmpsrv.environment import load_environment
from rtmpsrv.errors import ConfigError

SECRET = "Kleinod-7261"


def load(**environ: str) -> Config:
    return Config.load(environ, memory_bytes=0)[0]


def warnings_of(**environ: str) -> list[str]:
    """Give the warnings, where there is a secret."""
    return Config.load({"JWT_SECRET": "x"} | environ, memory_bytes=0)[1]


def problems_of(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.load(environ, memory_bytes=0)
    return caught.value.problems


def test_s01_without_settings_it_listens_on_port_1935_of_all_ipv4_addresses_without_tls() -> None:
    config = load()
    assert (config.bind_address, config.rtmp_port, config.tls_enabled) == ("0.0.0.0", 1935, False)


@pytest.mark.parametrize("port", ["0", "70000"])
def test_s02_an_rtmp_port_out_of_range_is_an_error(port: str) -> None:
    assert problems_of(RTMP_PORT=port) == [f"RTMP_PORT: {port} is outside 1-65535"]


def test_s03_an_rtmp_port_that_is_no_number_gives_the_default_and_a_warning() -> None:
    assert load(RTMP_PORT="abc").rtmp_port == 1935
    assert warnings_of(RTMP_PORT="abc") == [
        "RTMP_PORT='abc' is not a valid value (1-65535); the default 1935 is used"
    ]


def test_s04_the_chunk_size_is_from_128_to_65536() -> None:
    for text in ("127", "65537"):
        assert problems_of(RTMP_CHUNK_SIZE=text) == [f"RTMP_CHUNK_SIZE: {text} is outside 128-65536"]
    for text in ("128", "65536"):
        assert load(RTMP_CHUNK_SIZE=text).rtmp_chunk_size == int(text)


def test_s05_a_bad_part_of_a_list_is_an_error_that_names_it() -> None:
    problems = problems_of(CONCURRENT_LIMIT_WHITELIST="10.0.0.0/8,foo")
    assert problems == ["CONCURRENT_LIMIT_WHITELIST: 'foo' is not an IP address or network"]


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("True", True), ("NO", False), ("false", False)])
def test_s06_switches_are_read_in_any_case(text: str, value: bool) -> None:
    assert load(ID_ALLOW_EMPTY=text).id_allow_empty is value


@pytest.mark.parametrize("text", ["1", "on"])
def test_s06_other_words_give_a_switchs_default(text: str) -> None:
    assert load(ID_ALLOW_EMPTY=text).id_allow_empty is False
    assert load(LOG_INFO=text).log_info is True
    assert len(warnings_of(LOG_INFO=text)) == 1


def test_s07_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("RTMP_PORT=2000\nSSL_PORT=2001\nNOT_A_SETTING\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RTMP_PORT", "3000")
    monkeypatch.delenv("SSL_PORT", raising=False)
    config = load(**load_environment()[0])
    assert (config.rtmp_port, config.ssl_port) == (3000, 2001)


@pytest.mark.parametrize("address", ["::", "[::]", "127.0.0.1", "fe80::1%lo", "live.example.org"])
def test_addresses_and_names_are_taken(address: str) -> None:
    assert load(BIND_ADDRESS=address).bind_address == address.strip("[]")


@pytest.mark.parametrize("address", ["a..b", "x" * 100])
def test_what_cannot_be_a_host_is_an_error(address: str) -> None:
    assert problems_of(BIND_ADDRESS=address) == ["BIND_ADDRESS: neither an address nor a host name"]


@pytest.mark.parametrize(("name", "other"), [("SSL_CERT", "SSL_KEY"), ("SSL_KEY", "SSL_CERT")])
def test_s08_one_tls_file_alone_is_ignored_with_a_warning(name: str, other: str) -> None:
    assert not load(**{name: "x.pem"}).tls_enabled
    assert warnings_of(**{name: "x.pem"}) == [f"{name} is set but {other} is not: there is no RTMPS"]
    assert load(SSL_CERT="x.pem", SSL_KEY="y.pem").tls_enabled


def test_s09_ssl_port_0_is_an_error_without_tls_too() -> None:
    assert problems_of(SSL_PORT="0") == ["SSL_PORT: 0 is outside 1-65535"]


def test_s10_ssl_bind_address_is_for_tls_alone_and_follows_bind_address() -> None:
    config = load(SSL_BIND_ADDRESS="127.0.0.2")
    assert (config.bind_address, config.ssl_bind_address) == ("0.0.0.0", "127.0.0.2")
    assert load(BIND_ADDRESS="[::1]").ssl_bind_address == "::1"


def test_s11_an_empty_jwt_secret_draws_one_warning() -> None:
    _, warnings = Config.load({"CALLBACK_URL": "http://x/"}, memory_bytes=0)
    assert warnings == [EMPTY_SECRET]
    assert warnings_of(CALLBACK_URL="http://x/") == []
    assert Config.load({}, memory_bytes=0)[1] == [], "it does no harm where no token is made"


@pytest.mark.parametrize("url", ["nonsense", "http://host", "ws://"])
def test_s12_an_unusable_control_base_url_is_an_error_if_control_is_used(url: str) -> None:
    assert problems_of(CONTROL_USE="YES", CONTROL_BASE_URL=url) == [
        "CONTROL_BASE_URL: not a URL that begins with ws:// or wss://"
    ]
    assert load(CONTROL_BASE_URL=url).control_base_url == ""


CONTROL = {"CONTROL_USE": "YES", "CONTROL_BASE_URL": "ws://x"}


@pytest.mark.parametrize(
    ("wrong", "in_use"),
    [
        ({"CALLBACK_URL": "nonsense"}, {}),
        ({"CALLBACK_TIMEOUT_SECONDS": "0"}, {"CALLBACK_URL": "http://x/"}),
        ({"CONTROL_REQUEST_TIMEOUT_SECONDS": "0"}, CONTROL),
        ({"EXTERNAL_IP": "a\nb"}, CONTROL),
        ({"REDIS_PORT": "tcp://10.0.0.1:6379"}, {"REDIS_USE": "YES"}),
        ({"SSL_BIND_ADDRESS": "a..b"}, {"SSL_CERT": "x.pem", "SSL_KEY": "y.pem"}),
        ({"SSL_CHECK_RELOAD_SECONDS": "x"}, {"SSL_CERT": "x.pem", "SSL_KEY": "y.pem"}),
    ],
)
def test_only_settings_in_use_are_judged(wrong: dict[str, str], in_use: dict[str, str]) -> None:
    unused = CONTROL if "CALLBACK_URL" in wrong else {}
    assert warnings_of(**unused, **wrong) == []
    try:
        found = warnings_of(**in_use, **wrong)
    except ConfigError as exc:
        found = exc.problems
    assert [one.startswith(next(iter(wrong))) for one in found] == [True]


@pytest.mark.parametrize("switch", ["CONTROL_USE", "REDIS_USE"])
def test_what_decides_what_is_in_use_is_judged(switch: str) -> None:
    (warning,) = warnings_of(**{switch: "ja"})
    assert warning.startswith(f"{switch}='ja' is not a valid value")
    assert problems_of(SSL_CERT="a\nb", SSL_KEY="y.pem") == ["SSL_CERT: control characters are not allowed"]


def test_s13_redis_port_0_is_an_error_if_redis_is_used() -> None:
    assert problems_of(REDIS_USE="YES", REDIS_PORT="0") == ["REDIS_PORT: 0 is outside 1-65535"]
    assert load(REDIS_PORT="0").redis_port == 6379


def test_s14_without_a_play_whitelist_everybody_may_play() -> None:
    config = load(RTMP_PLAY_WHITELIST="")
    assert config.rtmp_play_whitelist.empty
    assert config.play_policy == "every address may play (the stream key is needed)"


def test_the_start_says_what_players_must_show() -> None:
    assert load(PLAY_ACCESS="open").play_policy == "every address may play (no key is needed)"
    by_token = load(PLAY_ACCESS="token", TOKEN_SECRET="x", RTMP_PLAY_WHITELIST="10.0.0.1")
    assert by_token.play_policy == "only 10.0.0.1 may play (a token is needed)"
    assert by_token.tokens_used


def test_s15_play_allowed_from_is_an_alias() -> None:
    config = load(PLAY_ALLOWED_FROM="*")
    assert config.rtmp_play_whitelist.everything
    assert config.play_policy.startswith("every address may play")
    (warning,) = warnings_of(PLAY_ALLOWED_FROM="*")
    assert "alias of RTMP_PLAY_WHITELIST" in warning
    assert "10.0.0.1" not in load(PLAY_ALLOWED_FROM="*", RTMP_PLAY_WHITELIST="127.0.0.1").rtmp_play_whitelist


def test_s16_the_play_whitelist_holds_addresses() -> None:
    config = load(RTMP_PLAY_WHITELIST="127.0.0.1")
    assert "::ffff:127.0.0.1" in config.rtmp_play_whitelist
    assert "10.0.0.1" not in config.rtmp_play_whitelist
    assert config.play_policy == "only 127.0.0.1 may play (the stream key is needed)"


def test_s17_msg_buffer_size_0_is_raised_to_1() -> None:
    assert load(MSG_BUFFER_SIZE="0").msg_buffer_size == 1
    assert warnings_of(MSG_BUFFER_SIZE="0") == ["MSG_BUFFER_SIZE=0 is raised to 1"]


def test_all_problems_are_reported_at_once() -> None:
    problems = problems_of(RTMP_PORT="0", SSL_PORT="0", RTMP_CHUNK_SIZE="1", RTMP_PLAY_WHITELIST="x")
    assert len(problems) == 4


def test_warnings_are_told_beside_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load(
            {"RTMP_PORT": "0", "SSL_PORT": "x", "SSL_CERT": "x.pem", "LOG_INFO": "on", "RTMP_HOTS": "x"}
        )
    assert caught.value.problems == ["RTMP_PORT: 0 is outside 1-65535"]
    assert [one.split("=")[0].split(" ")[0] for one in caught.value.warnings] == [
        "SSL_PORT",
        "LOG_INFO",
        "RTMP_HOTS",
        "SSL_CERT",
    ]


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load(**dict.fromkeys((name.upper() for name in SETTINGS), "")) == load()


def test_the_cache_keeps_the_whole_stream_for_a_control_server() -> None:
    url = "ws://host"
    assert load().gop_cache_mode == "gop"
    assert load(CONTROL_USE="YES", CONTROL_BASE_URL=url).gop_cache_mode == "stream"
    assert load(CONTROL_USE="YES", CONTROL_BASE_URL=url, GOP_CACHE_MODE="gop").gop_cache_mode == "gop"


def test_all_caches_together_get_a_quarter_of_the_memory() -> None:
    assert Config.load({}, memory_bytes=4 * 2**30)[0].gop_cache_total_mb == 1024
    assert Config.load({}, memory_bytes=1)[0].gop_cache_total_mb == 1
    assert Config.load({"GOP_CACHE_TOTAL_MB": "5"}, memory_bytes=1)[0].gop_cache_total_mb == 5
    assert Config.load({})[0].gop_cache_total_mb >= 1


def test_trace_follows_debug() -> None:
    assert load(LOG_DEBUG="YES").log_trace is True
    assert load(LOG_DEBUG="YES", LOG_TRACE="NO").log_trace is False


def test_no_secret_is_ever_shown() -> None:
    secrets = {name.upper(): SECRET for name, described in SETTINGS.items() if described.secret}
    known = {"JWT_SECRET", "REDIS_PASSWORD", "CONTROL_SECRET", "TOKEN_SECRET", "API_TOKEN", "API_USERS"}
    assert set(secrets) == known
    secrets["API_USERS"] = f"eve:{SECRET}"
    config, warnings = Config.load(
        secrets | {"CALLBACK_URL": f"https://user:{SECRET}@host/?token={SECRET}"}, memory_bytes=0
    )
    assert config.jwt_secret == SECRET
    assert SECRET not in repr(config)
    assert SECRET not in repr(effective_settings(config))
    assert SECRET not in repr(warnings)


def test_every_setting_is_listed_with_the_value_in_force() -> None:
    shown = dict(effective_settings(load(RTMP_PORT="2000", LOG_INFO="NO", RTMP_PLAY_WHITELIST="10.1.1.1/8")))
    assert list(shown) == [name.upper() for name in SETTINGS]
    assert shown["RTMP_PORT"] == "2000"
    assert shown["LOG_INFO"] == "NO"
    assert shown["RTMP_PLAY_WHITELIST"] == "10.0.0.0/8"
    assert shown["JWT_SECRET"] == '""'


def test_a_process_that_is_given_the_texts_has_the_same_settings_secrets_included() -> None:
    config = load(
        RTMP_PLAY_WHITELIST="::1,10.0.0.0/8", BIND_ADDRESS="::", LOG_INFO="NO", JWT_SECRET=SECRET,
        API_TOKEN=SECRET,
        CALLBACK_URL=f"https://user:{SECRET}@host/?token={SECRET}", CALLBACK_EVENTS="start,update",
    )  # fmt: skip
    assert Config.load(texts_of(config), memory_bytes=1) == (config, [])


def test_what_is_shown_reads_back_as_the_same_settings() -> None:
    config = load(RTMP_PORT="2000", RTMP_PLAY_WHITELIST="::1,10.0.0.0/8", BIND_ADDRESS="::")
    environ = {name: "" if value == '""' else value for name, value in effective_settings(config)}
    assert load(**environ) == config


def test_every_default_is_within_its_range() -> None:
    for name, described in SETTINGS.items():
        if isinstance(described.default, int):
            assert described.low <= described.default <= described.high, name
        assert described.text.endswith("."), name

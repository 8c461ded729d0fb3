"""Settings from the outside: an environment and a directory in, settings or one line out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from reelgate.catalog import MODELS
from reelgate.domain.errors import OperatorError
from reelgate.settings import Secret, Settings, UpstreamSettings
from reelgate.settings_knobs import knobs
from reelgate.settings_load import load_settings, require_upstream_keys

Env = Mapping[str, str]
NONE: Env = {}


def load(where: Path, env: Env = NONE, toml: str | None = None) -> Settings:
    if toml is not None:
        (where / "reelgate.toml").write_text(toml, encoding="utf-8")
    return load_settings(env, where)


def refusal(where: Path, env: Env = NONE, toml: str | None = None) -> str:
    with pytest.raises(OperatorError) as caught:
        load(where, env, toml)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message.replace(f" in {where / 'reelgate.toml'}", "")


# ---- where a value comes from -------------------------------------------------------------


def test_defaults_keep_everything_in_one_directory(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.data_dir == tmp_path / "reelgate-data"
    assert settings.sqlite_path == tmp_path / "reelgate-data" / "reelgate.sqlite3"
    assert settings.media_dir == tmp_path / "reelgate-data" / "media"
    assert (settings.host, settings.port, settings.role) == ("127.0.0.1", 8080, "all")
    assert settings.origins == {}


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    toml = 'port = 1000\nlog_format = "json"\n'
    settings = load(tmp_path, {"REELGATE_PORT": "2000"}, toml)
    assert (settings.port, settings.log_format, settings.lease_s) == (2000, "json", 10)
    assert settings.origins == {"port": "environment", "log_format": "file"}


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    assert load(tmp_path, {"REELGATE_PORT": ""}).port == 8080


def test_the_file_is_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 3000")
    (tmp_path / "reelgate.toml").write_text("port = 4000")
    assert load(tmp_path, {"REELGATE_CONFIG": "other.toml"}).port == 3000
    assert load(tmp_path).port == 4000


def test_data_dir_moves_database_and_media(tmp_path: Path) -> None:
    settings = load(tmp_path, {"REELGATE_DATA_DIR": "/srv/reelgate"})
    assert settings.sqlite_path == Path("/srv/reelgate/reelgate.sqlite3")
    assert settings.media_dir == Path("/srv/reelgate/media")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/reelgate.db", Path("/var/lib/reelgate.db")),
        ("sqlite:///here.db", Path("here.db")),
    ],
)
def test_a_sqlite_file_may_be_relative(tmp_path: Path, url: str, path: Path) -> None:
    assert load(tmp_path, {"REELGATE_DATABASE_URL": url}).sqlite_path == tmp_path / path


def test_postgresql_has_no_file(tmp_path: Path) -> None:
    url = "postgresql://reelgate:secret@db/reelgate"
    settings = load(tmp_path, {"REELGATE_DATABASE_URL": url})
    assert (settings.database_url, settings.sqlite_path) == (url, None)


def test_variables_of_others_are_none_of_our_business(tmp_path: Path) -> None:
    env = {"PORT": "x", "REELGATE_TEST_POSTGRES_URL": "x", "HOME": "/"}
    assert load(tmp_path, env) == load(tmp_path)


# ---- what is refused, in one line ---------------------------------------------------------

WRONG_VARIABLES = {
    "REELGATE_PORT": ("80x", '= "80x"', "a whole number from 0 to 65535"),
    "REELGATE_LEASE_S": ("0", '= "0"', "a whole number from 1 to 600 (s)"),
    "REELGATE_RESULT_TTL_DAYS": ("-1", '= "-1"', "a whole number from 0 to 36500 (days)"),
    "REELGATE_REQUEST_BYTES_MAX": ("12", '= "12"', "a whole number, at least 65536 (bytes)"),
    "REELGATE_ROLE": ("both", '= "both"', "one of all, api, worker"),
    "REELGATE_LOG_FORMAT": ("xml", '= "xml"', "one of text, json"),
    "REELGATE_LOG_LEVEL": ("trace", '= "trace"', "one of debug, info, warning, error"),
    "REELGATE_ALLOW_HTTP_INPUTS": ("yes", '= "yes"', "true or false"),
    "REELGATE_HOST": ("http://x/", '= "http://x/"', "a host name or address"),
    "REELGATE_PUBLIC_URL": ("video.example", '= "video.example"', "https://host"),
    "REELGATE_DATABASE_URL": ("mysql://x", '= "mysql://x"', "sqlite:///path/to/file or postgresql"),
    "REELGATE_MEDIA_URL": ("s3://b/p", '= "s3://b/p"', "not available in this version"),
    "REELGATE_URL": ("localhost:80\n", '= "localhost:80\\n"', "https://host or http://host:port"),
    "REELGATE_POLL_INTERVAL_MS_MIN": ("9000", "= 9000", "at most poll_interval_ms_max"),
}


@pytest.mark.parametrize("variable", WRONG_VARIABLES)
def test_a_wrong_variable_names_itself_the_value_and_what_is_allowed(
    tmp_path: Path, variable: str
) -> None:
    given, shown, allowed = WRONG_VARIABLES[variable]
    message = refusal(tmp_path, {variable: given})
    assert variable in message or variable.removeprefix("REELGATE_").lower() in message
    assert shown in message
    assert allowed in message


@pytest.mark.parametrize("name", knobs(Settings))
def test_every_setting_refuses_a_table_from_the_file(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, toml=f"[{name}]\nx = 1")
    assert message.startswith(f"{name} = ")
    assert f"allowed is {knobs(Settings)[name].allowed}" in message


@pytest.mark.parametrize(
    ("env", "toml", "said"),
    [
        (
            {"REELGATE_PROT": "1"},
            None,
            "REELGATE_PROT is not a setting; did you mean REELGATE_PORT?",
        ),
        ({}, "prot = 1", "prot is not a setting; did you mean port?"),
        ({}, "upstreams = 1", "upstreams is not a setting; did you mean upstream?"),
        ({}, "qqqqq = 1", "qqqqq is not a setting; `reelgate settings` lists them"),
        ({}, "port = 80.5", "port = 80.5 can't be used: allowed is a whole number from 0 to 65535"),
        ({}, "host = 5", "host = 5 can't be used: allowed is a host name or address"),
    ],
)
def test_unknown_and_wrong_names(tmp_path: Path, env: Env, toml: str | None, said: str) -> None:
    assert refusal(tmp_path, env, toml) == said


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"REELGATE_CONFIG": "gone.toml"})
    assert message.startswith("REELGATE_CONFIG: can't read ")
    assert "gone.toml: No such file" in message
    assert "reelgate.toml is not a TOML file" in refusal(tmp_path, toml="port = [")


def test_secrets_are_in_no_message_and_in_no_repr(tmp_path: Path) -> None:
    assert "tops3cret" not in refusal(tmp_path, {"REELGATE_SECRET": "tops3cret"})
    wrong_scheme = {"REELGATE_DATABASE_URL": "postgres://me:tops3cret@db/x"}
    assert "tops3cret" not in refusal(tmp_path, wrong_scheme)
    key_in_file = '[[upstream]]\nname = "x"\nkind = "xai"\napi_key_env = "xai-tops3cret"'
    assert "tops3cret" not in refusal(tmp_path, toml=key_in_file)
    secret = "tops3cret" * 4
    settings = load(tmp_path, {"REELGATE_SECRET": secret, "REELGATE_API_KEY": secret}, toml="")
    assert settings.secret == Secret(secret)
    assert secret not in repr(settings)


# ---- upstreams ----------------------------------------------------------------------------

XAI = '[[upstream]]\nname = "main"\nkind = "xai"\n'
OTHER = '[[upstream]]\nname = "other"\nkind = "openai"\n'
SANDBOX = '[[upstream]]\nname = "box"\nkind = "sandbox"\n'


def test_without_upstreams_it_is_xai_where_there_is_a_key_else_the_sandbox(tmp_path: Path) -> None:
    (sandbox,) = load(tmp_path).upstreams
    assert (sandbox.name, sandbox.kind, sandbox.api_key) == ("sandbox", "sandbox", None)
    assert sandbox.models == {"grok-imagine": "grok-imagine-video"}
    (xai,) = load(tmp_path, {"XAI_API_KEY": "k"}).upstreams
    assert (xai.kind, xai.base_url, xai.api_key) == ("xai", "https://api.x.ai", Secret("k"))


def test_a_whole_upstream(tmp_path: Path) -> None:
    toml = """
    [[upstream]]
    name = "xai-main"
    kind = "xai"
    base_url = "https://api.example"
    api_key_env = "MAIN_KEY"
    priority = 1
    weight = 3
    max_in_flight = 20
    submits_per_second = 2.5
    models = { "grok-imagine" = "grok-imagine-video-2" }
    operations = ["text_to_video", "edit_video"]
    sizes = ["480p"]
    image_tags = "zero_based"
    """
    settings = load(tmp_path, {"MAIN_KEY": "k"}, toml)
    assert settings.upstreams == (
        UpstreamSettings(
            name="xai-main",
            kind="xai",
            base_url="https://api.example",
            api_key_env="MAIN_KEY",
            priority=1,
            weight=3,
            max_in_flight=20,
            submits_per_second=2.5,
            models={"grok-imagine": "grok-imagine-video-2"},
            operations=("text_to_video", "edit_video"),
            sizes=("480p",),
            image_tags="zero_based",
            api_key=Secret("k"),
        ),
    )


def test_only_serving_needs_the_keys(tmp_path: Path) -> None:
    settings = load(tmp_path, NONE, XAI + SANDBOX)
    with pytest.raises(OperatorError, match="XAI_API_KEY is not set, but upstream main takes"):
        require_upstream_keys(settings)
    require_upstream_keys(load(tmp_path, {"XAI_API_KEY": "k"}))


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[upstream]\nname = 'x'", "upstream must be tables: write [[upstream]] above each"),
        ("upstream = []", "upstream is empty; leave it out or name an upstream"),
        ("[[upstream]]\nkind = 'xai'", "name of upstream 1 is missing: 1 to 40 of a-z, 0-9"),
        ("[[upstream]]\nname = 'x'", "kind of upstream x is missing: one of xai, openai, sandbox"),
        (XAI.replace("xai", "aix"), 'kind of upstream main = "aix" can\'t be used: allowed is one'),
        (XAI + "wieght = 2", "wieght of upstream main is not a setting; did you mean weight?"),
        (XAI + "weight = 0", "weight of upstream main = 0 can't be used: allowed is a whole"),
        (XAI + "submits_per_second = nan", "submits_per_second of upstream main = NaN can't be"),
        (XAI + "base_url = 'x.ai'", 'base_url of upstream main = "x.ai" can\'t be used: allowed'),
        (XAI + "models = 'x'", 'models of upstream main = "x" can\'t be used: allowed is a table'),
        (XAI + "models = { grok = 'x' }", 'models of upstream main has "grok", which is not known'),
        (XAI + "operations = ['edit']", 'operations of upstream main has "edit", which is not'),
        (XAI + "sizes = ['1080p']", 'sizes of upstream main has "1080p", which is not known: '),
        (XAI + XAI, "name = main of upstream 2 is taken; every upstream needs its own"),
        (XAI + "dialect = 'sglang'", "dialect of upstream main means nothing for kind xai, only"),
        (SANDBOX + "base_url = 'http://x'", "base_url of upstream box means nothing for kind sand"),
        (OTHER, "base_url of upstream other is missing: https://host or http://host"),
        (OTHER + "base_url = 'http://x'", "models of upstream other is missing: a table of"),
    ],
)
def test_wrong_upstreams(tmp_path: Path, toml: str, said: str) -> None:
    assert refusal(tmp_path, toml=toml).startswith(said)


# ---- prices -------------------------------------------------------------------------------


def prices(where: Path, table: str) -> dict[str, int]:
    settings = load(where, toml=f'[price."grok-imagine"]\n{table}')
    return settings.prices_micro(MODELS["grok-imagine"])


def test_prices_are_the_catalogues_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    spec = MODELS["grok-imagine"]
    assert load(tmp_path).prices_micro(spec) == dict(spec.prices_micro)


def test_absolute_prices_and_mark_ups_are_exact(tmp_path: Path) -> None:
    table = """
    markup = "1.1"
    output_second_720p = "0.08"
    input_image = 0.003
    input_video_second = 1
    extension_second = { markup = "1.333333" }
    """
    assert prices(tmp_path, table) == {
        "output_second_480p": 55_000,
        "output_second_720p": 80_000,
        "input_image": 3_000,
        "input_video_second": 1_000_000,
        "extension_second": 66_667,  # 66 666.65: rounded to the micro-dollar, halves up
    }


def test_a_decimal_without_quotes_is_read_digit_by_digit(tmp_path: Path) -> None:
    # As a binary float, 1.15 is 1.149999…: 50 000 × 1.15 would be 57 499.
    settings = load(tmp_path, toml='[price."grok-imagine"]\nmarkup = 1.15')
    assert settings.prices[0].markup == Decimal("1.15")
    assert settings.prices_micro(MODELS["grok-imagine"])["output_second_480p"] == 57_500


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("price = 3", 'price must be tables: write [price."grok-imagine"]'),
        ("[price.sora]", 'price."sora" is for no known model: allowed is grok-imagine'),
        (
            '[price."grok-imagine"]\noutput_second_720 = 1',
            'output_second_720 of price."grok-imagine" is not a price; did you mean output_sec',
        ),
        (
            '[price."grok-imagine"]\ninput_image = "-1"',
            'input_image of price."grok-imagine" = "-1" can\'t be used: allowed is an amount in',
        ),
        (
            '[price."grok-imagine"]\ninput_image = "0.0000001"',
            'input_image of price."grok-imagine" = "0.0000001" can\'t be used: allowed is an',
        ),
        (
            '[price."grok-imagine"]\ninput_image = true',
            'input_image of price."grok-imagine" = true can\'t be used: allowed is an amount in',
        ),
        (
            '[price."grok-imagine"]\nmarkup = 0',
            'markup of price."grok-imagine" = 0 can\'t be used: allowed is a factor like "1.25"',
        ),
        (
            '[price."grok-imagine"]\ninput_image = { markup = "nan" }',
            'input_image of price."grok-imagine" = "nan" can\'t be used: allowed is a factor like',
        ),
    ],
)
def test_wrong_prices(tmp_path: Path, toml: str, said: str) -> None:
    assert refusal(tmp_path, toml=toml).startswith(said)


# ---- the table itself ---------------------------------------------------------------------


@pytest.mark.parametrize("table", [Settings, UpstreamSettings])
def test_every_setting_says_why_and_its_default_is_allowed(
    table: type[Settings | UpstreamSettings],
) -> None:
    for knob in knobs(table).values():
        assert knob.why.endswith("."), knob.name
        assert knob.allowed, knob.name
        if isinstance(knob.default, bool | int | float):
            assert knob.read(knob.name, knob.default) == knob.default


def test_numbers_name_their_unit() -> None:
    suffixes = {"s": "_s", "ms": "_ms", "days": "_days", "bytes": "_bytes"}
    for knob in knobs(Settings).values():
        if knob.unit in suffixes:
            assert suffixes[knob.unit] in knob.name

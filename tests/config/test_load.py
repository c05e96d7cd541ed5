"""Layers, origins, and every way in which a configuration can be wrong."""

# ruff: noqa: E501  # in the tables, one case a line

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolhand.config.errors import ConfigError, ConfigInvalid, ConfigUnreadable
from poolhand.config.layers import MOST_BYTES
from poolhand.config.load import Loaded, load
from poolhand.config.problems import dotted, leaves
from poolhand.config.settings import Settings
from poolhand.config.variables import variable

FIRST = """\
[coordinator]
url = "ws://127.0.0.1:8080/ws/provider"
token_file = "token"                  # relative to this file; optional
heartbeat_interval_s = 5

[wire]
backend_label = "poolhand"

[pools]
assigned = "tiny"                     # an alias or a model id
allowed = ["tiny", "org/*"]           # names or globs

[slots]
max_model_slots = 1

[[models]]
id = "org/tiny-a"
aliases = ["tiny"]
ref = "s3://models/tiny-a"

[stores.s3]
endpoint = "http://127.0.0.1:9000"
region = "us-east-1"
addressing = "path"                   # path | virtual | auto

[cache]
dir = "cache"
"""
URL = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes) -> Path:
        path = tmp_path / "agent.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def told(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """All problems of a file, without its folder."""
    with pytest.raises(ConfigInvalid) as caught:
        load(path, environ or {})
    every = [str(caught.value), *caught.value.others]
    return [text.removeprefix(f"{path.parent}/") for text in every]


def test_the_first_config_file_works_as_written(write: Write, tmp_path: Path) -> None:
    loaded = load(write(FIRST), {})
    chosen = loaded.settings
    assert chosen.coordinator.url == "ws://127.0.0.1:8080/ws/provider"
    assert chosen.coordinator.token_file == str(tmp_path / "token")
    assert chosen.coordinator.heartbeat_interval_s == 5.0
    assert chosen.cache.dir == str(tmp_path / "cache")
    assert chosen.pools.allowed == ("tiny", "org/*")
    assert chosen.models[0].place.container == "models"
    assert chosen.stores.s3.addressing == "path"
    assert loaded.path == tmp_path / "agent.toml"


def test_only_the_url_has_no_default(write: Write) -> None:
    assert load(write(URL), {}).settings.slots.max_model_slots == 1
    assert told(write("")) == [
        "agent.toml: there is no [coordinator]; its url says whom this node calls"
    ]
    assert told(write("\n[coordinator]\n")) == ["agent.toml:2:1: coordinator.url is missing"]


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(write: Write) -> None:
    environ = {
        "POOLHAND_COORDINATOR__URL": "wss://c.example",
        "POOLHAND_SLOTS__MAX_MODEL_SLOTS": "3",
        "POOLHAND_POOLS__ALLOWED": '["a*", "tiny"]',
        "POOLHAND_WIRE__BACKEND_LABEL": "",
    }
    loaded = load(write(FIRST), environ)
    assert loaded.settings.coordinator.url == "wss://c.example"
    assert loaded.settings.slots.max_model_slots == 3
    assert loaded.settings.pools.allowed == ("a*", "tiny")
    assert loaded.settings.wire.backend_label == "poolhand", "an empty variable is not set"
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    assert origins["coordinator.url"] == "environment POOLHAND_COORDINATOR__URL"
    assert origins["pools.allowed"] == "environment POOLHAND_POOLS__ALLOWED"
    assert origins["pools.assigned"] == f"{loaded.path}:10"
    assert origins["models[0].ref"] == f"{loaded.path}:19"
    assert origins["models[0].engine"] == "default"
    assert origins["log.level"] == "default"


def test_relative_paths_are_meant_from_where_they_were_written(
    write: Write, tmp_path: Path
) -> None:
    text = FIRST + '[log]\nlevel = "info"\n'
    environ = {"POOLHAND_CACHE__DIR": "here", "POOLHAND_STORES__S3__CA_FILE": "/abs/../ca.pem"}
    chosen = load(write(text), environ).settings
    assert chosen.cache.dir == str(Path.cwd() / "here")
    assert chosen.stores.s3.ca_file == "/ca.pem"
    assert chosen.coordinator.token_file == str(tmp_path / "token")
    home = load(write(f'{URL}ca_file = "~/ca.pem"'), {}).settings.coordinator.ca_file
    assert home == str(Path.home() / "ca.pem")
    relative = Path(os.path.relpath(write(FIRST)))
    assert load(relative, {}).settings.cache.dir == str(tmp_path / "cache")


@pytest.mark.parametrize("at", [at for at, _ in leaves(Settings)], ids=dotted)
def test_every_key_can_be_set_through_the_environment(write: Write, at: tuple[str, ...]) -> None:
    default: object = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1:1"}})
    for key in at:
        default = getattr(default, key)
    url = "https://127.0.0.1:7" if "catalog" in at else "ws://127.0.0.1:7"
    flag = "--threads=2" if "llamacpp" in at else "--dtype=auto"
    text, expected = {
        "models": ('[{id = "m", ref = "file:///m"}]', None),
        "allowed": ('["m"]', ("m",)),
        "trusted_hosts": ('["h:1"]', ("h:1",)),
        "auth": ("hmac", "hmac"),
        "isolation": ("inprocess", "inprocess"),
        "advertise": ("all", "all"),
        "level": ("error", "error"),
        "format": ("json", "json"),
        "addressing": ("virtual", "virtual"),
        "engine": ("portable", "portable"),
        "max_connections": ("48", 48),
        "max_bytes_per_s": ("1000000", 1_000_000),
        "dir": ("/d", "/d"),
        "quota_gib": ("7.5", 7.5),
        "reserve_gib": ("7.5", 7.5),
        "windows": ('["09:00-17:00"]', ("09:00-17:00",)),
        "timezone": ("UTC", "UTC"),
        "yield_to": ('["heat"]', ("heat",)),
        "heat": ("fair", "fair"),
        "url": (url, url),
        "builds": ('["org/*"]', ("org/*",)),
        "store": ("s3://bucket/x", "s3://bucket/x"),
        "listen": ("127.0.0.1:7717", "127.0.0.1:7717"),
        "urls": ('["h:1"]', ("h:1",)),
        "endpoint": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        "sample_ratio": ("0.5", 0.5),
        "key_header": ("X-Key", "X-Key"),
        "key_scheme": ("basic", "basic"),
        "timeout_s": ("5.0", 5.0),
        "default": ("vllm", "vllm"),
        "by_pool": ('["p=vllm"]', ("p=vllm",)),
        "gpus": ('["0,1"]', ("0,1",)),
        "memory_ratio": ("0.5", 0.5),
        "load_format": ("safetensors", "safetensors"),
        "port": ("9100", 9100),
        "flags": (f'["{flag}"]', (flag,)),
    }.get(at[-1], (None, None))
    if text is None:
        match default:
            case bool():
                text, expected = str(not default).lower(), not default
            case int():
                text, expected = str(default + 1), default + 1
            case float():
                text, expected = str(default + 0.25), default + 0.25
            case _:
                text, expected = "/text", "/text"
                is_name = at[-1].endswith(("_label", "_keychain"))
                if is_name or at[-1] == "assigned":
                    text, expected = "1.2.3", "1.2.3"
    needs = {"POOLHAND_PEERS__KEY_FILE": "/key"} if at[0] == "peers" else {}
    loaded = load(write(URL), {**needs, variable(at): text})
    value: object = loaded.settings
    for key in at:
        value = getattr(value, key)
    assert value != default
    if expected is not None:
        assert value == expected
    assert str(loaded.origins[dotted(at)]) == f"environment {variable(at)}"


def test_a_folder_of_files_lies_over_the_first(write: Write, tmp_path: Path) -> None:
    path, folder = write(FIRST), tmp_path / "agent.d"
    folder.mkdir()
    (folder / "20-pool.toml").write_text(
        "[pools]\nallowed = ['x']\nassigned = 'x'\n[slots]\nmax_model_slots = 3\n"
    )
    more = "[[models]]\nid = 'x'\nref = 'file:///x'\n"
    (folder / "10-x.toml").write_text(f"{more}[slots]\nmax_model_slots = 2\n")
    (folder / "10-x.toml~").write_text("no toml at all")
    (folder / ".hidden.toml").write_text("no toml at all")
    loaded = load(path, {"POOLHAND_POOLS__ASSIGNED": "x"})
    chosen = loaded.settings
    assert [entry.id for entry in chosen.models] == ["org/tiny-a", "x"], "one after the other"
    assert chosen.pools.allowed == ("x",), "any other array is replaced"
    assert chosen.slots.max_model_slots == 3, "the last file wins"
    assert chosen.coordinator.heartbeat_interval_s == 5, "tables are joined key by key"
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    assert origins["slots.max_model_slots"] == f"{folder}/20-pool.toml:5"
    assert origins["models[1].ref"] == f"{folder}/10-x.toml:3"
    assert origins["pools.assigned"] == "environment POOLHAND_POOLS__ASSIGNED"
    assert origins["coordinator.url"] == f"{path}:2"
    assert loaded.files == (path, folder / "10-x.toml", folder / "20-pool.toml")


def test_a_problem_of_a_further_file_names_that_file(write: Write, tmp_path: Path) -> None:
    path, folder = write(FIRST), tmp_path / "agent.d"
    folder.mkdir()
    (folder / "a.toml").write_text("[[models]]\nid = 'org/tiny-a'\nref = 'file:///x'\n")
    assert told(path) == ["agent.d/a.toml:2:6: models: two [[models]] have the id 'org/tiny-a'"]
    (folder / "a.toml").write_text("[[models]]\nid = 'x'\nref = 'file:///x'\nzz = 1\n")
    assert told(path) == ["agent.d/a.toml:4:1: unknown key models[1].zz"]
    (folder / "a.toml").write_text("[stores.s3]\nca_file = 'ca.pem'\n")
    assert load(path, {}).settings.stores.s3.ca_file == str(folder / "ca.pem")
    (folder / "a.toml").write_text("a = [\n")
    assert told(path)[0].startswith("agent.d/a.toml:2:1: no valid TOML")


def test_an_unknown_variable_of_ours_is_an_error_with_a_suggestion(write: Write) -> None:
    environ = {
        "POOLHAND_COORDINATOR_URL": "x",
        "POOLHAND_SLOTS__MAX_SLOTS": "2",
        "POOLHAND_CONFIG": "x",
        "POOLHAND_STATE_DIR": "x",
        "POOLHAND_TOKEN": "x",
        "POOLHAND_INSTALLER": "x",
    }
    assert told(write(URL), environ) == [
        "environment variable POOLHAND_COORDINATOR_URL: there is no such setting (did you mean POOLHAND_COORDINATOR__URL?)",
        "environment variable POOLHAND_SLOTS__MAX_SLOTS: there is no such setting (did you mean POOLHAND_SLOTS__MAX_MODEL_SLOTS?)",
    ]


def test_the_variable_of_the_token_may_be_called_anything(write: Write) -> None:
    name = "POOLHAND_COORDINATOR_TOKEN"
    assert load(write(f'{URL}token_env = "{name}"'), {name: "x"})
    assert load(write(URL), {name: "x", "POOLHAND_COORDINATOR__TOKEN_ENV": name})


@pytest.mark.parametrize("text", ["two", "1\nslots = 3", "[", "", "1 # x\n[a]"])
def test_a_variable_that_is_no_value(write: Write, text: str) -> None:
    environ = {"POOLHAND_SLOTS__MAX_MODEL_SLOTS": text}
    if not text:
        assert load(write(URL), environ).settings.slots.max_model_slots == 1
        return
    (problem,) = told(write(URL), environ)
    assert "POOLHAND_SLOTS__MAX_MODEL_SLOTS: is no TOML value" in problem


def test_a_bad_value_of_the_environment_is_told_as_such(write: Write) -> None:
    environ = {"POOLHAND_SLOTS__MAX_MODEL_SLOTS": "0"}
    assert told(write(FIRST), environ) == [
        "environment variable POOLHAND_SLOTS__MAX_MODEL_SLOTS: slots.max_model_slots must be 1 or more"
    ]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("hearbeat_interval_s = 5", "3:1: unknown key coordinator.hearbeat_interval_s (did you mean heartbeat_interval_s?)"),
        ("max_model_slots = 2", "3:1: unknown key coordinator.max_model_slots (there is one in [slots])"),
        ("zzz = 2", "3:1: unknown key coordinator.zzz"),
        ("hearbeat = 2", "3:1: unknown key coordinator.hearbeat (did you mean heartbeat_interval_s?)"),
        ("[log]\nzzz = 2", "4:1: unknown key log.zzz (known here are level, format)"),
        ("[coordinator]\nx = 1", "3:13: no valid TOML: cannot declare [coordinator] twice"),
        ("[stores.s3]\n[stores.s3]\nx = 1", "4:11: no valid TOML: cannot declare [stores.s3] twice"),
        ("[cache]\nreserve_gib = 1e9", "4:15: cache.reserve_gib must be 1048576 or less"),
        ("[slot]\nmax_model_slots = 1", "3:1: unknown key slot (did you mean slots?)"),
        ("[stores.s3]\n\nendpont = 'x'", "5:1: unknown key stores.s3.endpont (did you mean endpoint?)"),
        ("[[models]]\nid = 'a'\nref = 'file:///a'\nalias = []", "6:1: unknown key models[0].alias (did you mean aliases?)"),
        ("[slots]\nmax_model_slots = '1'", "4:19: slots.max_model_slots must be a whole number"),
        ("[slots]\nmax_model_slots = true", "4:19: slots.max_model_slots must be a whole number"),
        ("[slots]\nmax_model_slots = 65", "4:19: slots.max_model_slots must be 64 or less"),
        ("[pools]\nallowed = 'a'", '4:11: pools.allowed must be an array, such as ["a", "b"]'),
        ("[models]\nid = 'a'", "3:1: models must be an array of tables (begin each with [[models]])"),
        ("[pools]\nallowed = [\n'a',\n1]", "6:1: pools.allowed[1] must be text in quotes"),
        ("[pools]\nassigned = ''", "4:12: pools.assigned must not be empty"),
        ("[pools]\nassigned = '-a'", "4:12: pools.assigned must match ^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$"),
        ("dial_timeout_s = 'x'", "3:18: coordinator.dial_timeout_s must be a number"),
        ("dial_timeout_s = 0", "3:18: coordinator.dial_timeout_s must be more than 0"),
        ("dial_timeout_s = inf", "3:18: coordinator.dial_timeout_s must be a finite number"),
        ("private_only = 1", "3:16: coordinator.private_only must be true or false"),
        ("token_file = 'a'\n\ntoken_env = 'b'", "3:14: coordinator: name only one of token_file, token_env, token_credential and token_keychain"),
        ("token_file = ''", "3:14: coordinator.token_file must name a file or folder"),
        ('[cache]\ndir = "\\u0000"', "4:7: cache.dir must name a file or folder"),
        ("[stores]\ns3 = 3", "4:6: stores.s3 must be a table"),
        ("[stores.s3]\naddressing = 'virtul'", "4:14: stores.s3.addressing must be one of path, virtual, auto (did you mean virtual?)"),
        (
            "[[models]]\nid = 'a'",
            "3:1: models[0]: say either ref (weights here) or external (a provider), not neither",
        ),
        ("[[models]]\nid = 'a'\nref = 'nope'", "5:7: models[0].ref: it has no scheme, such as s3://"),
        ("[[models]]\nid = 'a'\nref = 'file:///a'\n[[models]]\nref = 'file:///b'\nid = 'a'", "8:6: models: two [[models]] have the id 'a'"),
        ("[[models]]\nid = 'org/a'\nref = 'file:///a'\n[pools]\nassigned = 'org/b'", "7:12: pools.assigned names 'org/b', which is no id or alias of any [[models]] (did you mean org/a?)"),
        ("[pools]\nassigned = 'a'\nallowed = ['b*']", "4:12: pools.allowed leaves no room for pools.assigned, 'a'"),
    ],
)  # fmt: skip
def test_one_problem_one_sentence_one_line(write: Write, extra: str, expected: str) -> None:
    assert told(write(URL + extra)) == [f"agent.toml:{expected}"]


def test_an_unencrypted_url_is_blamed_on_its_line(write: Write) -> None:
    (problem,) = told(write('[coordinator]\n\nurl = "ws://far.example"'))
    assert problem.startswith("agent.toml:3:7: coordinator: url is unencrypted")
    (problem,) = told(write('[coordinator]\nurl = "ftp://x"'))
    assert problem.startswith("agent.toml:2:7: coordinator.url: must begin with wss://")


def test_assigned_may_be_an_alias_that_a_glob_over_ids_allows(write: Write) -> None:
    text = "[[models]]\nid='org/a'\naliases=['x']\nref='file:///a'\n[pools]\nassigned='x'\n"
    assert load(write(f"{URL}{text}allowed = ['org/*']"), {}).settings.pools.assigned == "x"
    for free in ("", "allowed = ['f*']"):
        text = f"{URL}[pools]\nassigned = 'free'\n{free}"
        assert load(write(text), {}), "nothing is offered, so any name may be assigned"


def test_all_problems_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = f"{URL}dial_timeout_s = 0\n[slots]\nmax = 1\n[pools]\nallowed = 3\n"
    lines = [problem.split(": ")[0] for problem in told(write(text))]
    assert lines == ["agent.toml:3:18", "agent.toml:5:1", "agent.toml:7:11"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a = \n", "agent.toml:1:5", "invalid value"),
        ("[a\n", "agent.toml:1:3", ""),
        ("x = 1\n x = 2\n", "agent.toml:2:2", "x has a value already, in line 1 (leave one of the two)"),
        ("[a.b]\nx = 'z'\ny = 1\nx = 2\n", "agent.toml:4:1", "a.b.x has a value already, in line 2"),
        ("[[a]]\nx = 1\n[[a]]\nx = 1\nx.y = 2\n", "agent.toml:5:1", "has a value already, in line 4"),
        ('a = "', "agent.toml:1:6", "at the end of the file"),
        ('\n\na = """', "agent.toml:3:8", "at the end of the file"),
    ],
)  # fmt: skip
def test_no_toml(write: Write, text: str, place: str, words: str) -> None:
    (problem,) = told(write(text))
    assert problem.startswith(f"{place}: no valid TOML: ")
    assert words in problem


def test_marks_and_line_ends_of_other_systems(write: Write) -> None:
    assert load(write(b"\xef\xbb\xbf" + FIRST.encode()), {}).settings.slots.max_model_slots == 1
    windows = (URL + "zzz = 1\n").replace("\n", "\r\n")
    assert told(write(windows)) == ["agent.toml:3:1: unknown key coordinator.zzz"]
    assert told(write(b"\n\n\xff\n")) == ["agent.toml:3:1: it is not UTF-8 text"]


def test_what_is_no_readable_file(write: Write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in {
        tmp_path: "it is a folder",
        tmp_path / "none": "No such file",
        tmp_path / "pipe": "no regular file",
        write("") / "inner": "Not a directory",
        tmp_path / "a\0b": "no valid path",
    }.items():
        with pytest.raises(ConfigUnreadable, match=words):
            load(path, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_is_not_ours_to_read(write: Write) -> None:
    path = write(FIRST)
    path.chmod(0)
    with pytest.raises(ConfigUnreadable, match="Permission denied"):
        load(path, {})


def test_a_file_that_no_person_wrote(write: Write) -> None:
    assert load(write(URL + "#" * (MOST_BYTES - len(URL))), {})
    assert told(write(b"#" * 10 * MOST_BYTES)) == ["agent.toml: it is larger than 1 MiB"]
    assert told(write(f"a = {'[' * 100_000}")) == ["agent.toml: it is nested too deeply"]
    assert told(write(f"a = {'1' * 10_000}")) == ["agent.toml:1:5: a number is too long"]


def test_no_value_is_quoted_that_might_be_a_secret(write: Write) -> None:
    canary = "tok-canary-5f0c"
    for key in ("token", "url", "token_file", "ping_interval_s", "private_only"):
        text = f'[coordinator]\n{key} = "http://u:{canary}@x"\ntoken_env = "x"'
        assert not [problem for problem in told(write(text)) if canary in problem]
    environ = {"POOLHAND_COORDINATOR_TOKEN": canary, "POOLHAND_SLOTS__MAX_MODEL_SLOTS": canary}
    assert not [problem for problem in told(write(URL), environ) if canary in problem]


values = st.recursive(
    st.one_of(
        st.integers(-(10**20), 10**20).map(str),
        st.floats().map(lambda number: str(number).replace("e", ".0e") if "." not in str(number) else str(number)),
        st.sampled_from(["true", '""', '"a"', '"~/x"', '"s3://b/k"', "{}", "1979-05-27", "1e400", "9" * 400]),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)  # fmt: skip
keys = st.sampled_from([dotted(at) for at, _ in leaves(Settings)] + list(Settings.model_fields))
documents = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode(errors="ignore")),
    st.lists(st.tuples(keys, values), max_size=4).map(
        lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs).encode()
    ),
)


@given(content=documents, text=st.text(max_size=20))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_but_a_config_error_is_ever_raised(write: Write, content: bytes, text: str) -> None:
    environ = {"POOLHAND_MODELS": text, "POOLHAND_CACHE__DIR": text}
    for chosen in ({}, environ):
        try:
            loaded = load(write(content), chosen)
        except ConfigError:
            continue
        assert isinstance(loaded, Loaded)
        assert {origin.kind for origin in loaded.origins.values()} <= {"default", "file", "environment"}  # fmt: skip

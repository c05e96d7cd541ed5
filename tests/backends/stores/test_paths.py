"""Hostile names and useless kinds."""

import posixpath
import unicodedata
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import ModelMissing, WeightsUnsafe
from poolhand.backends.stores.paths import (
    MOST_BYTES,
    PATH_BYTES,
    SEGMENT_BYTES,
    Choose,
    everything,
    is_wanted,
    is_weights,
    metadata,
    of_one,
    safe_path,
    spares,
    wanted,
)


def listed(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1, '"e"', f"prefix/{path}") for path in paths]


def kept(*paths: str) -> list[str]:
    return [file.path for file in wanted(listed(*paths), model="m")]


@pytest.mark.parametrize(
    "path",
    [
        "config.json",
        "a/b/c.safetensors",
        "with space/ünï 模型.json",
        "..hidden..name",
        "a...b/c",
        "~/x",
        "-rf",
        "x" * SEGMENT_BYTES,
    ],
)
def test_a_plain_relative_name_passes_unchanged(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("..", "segment"),
        ("../x", "segment"),
        ("a/../../x", "segment"),
        ("a/..", "segment"),
        ("./a", "segment"),
        ("a//b", "segment"),
        ("a/", "segment"),
        ("a\\..\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
        ("x" * (SEGMENT_BYTES + 1), "segment longer"),
        ("ü" * SEGMENT_BYTES, "segment longer"),
        ("ab/" * (PATH_BYTES // 3) + "abc", "longer than 1024"),
    ],
)
def test_a_name_that_could_do_harm_is_refused_with_a_reason(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        safe_path(path)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable(), "a hostile name does not reach a terminal"


SEGMENTS = st.sampled_from(["..", ".", "", "a", "b c", "\\", "\0", "~", "…"]) | st.text(max_size=5)
PATHS = st.lists(SEGMENTS, max_size=6).map("/".join) | st.text(max_size=30)


@given(PATHS)
def test_what_passes_stays_under_its_folder(path: str) -> None:
    try:
        passed = safe_path(path)
    except ValueError:
        return
    joined = posixpath.join("/cache/model", passed)
    assert posixpath.normpath(joined) == joined, "nothing in it is left to be resolved"
    assert joined.startswith("/cache/model/")
    assert passed == path


@pytest.mark.parametrize("choose", [wanted, metadata, everything])
@pytest.mark.parametrize("size_bytes", [MOST_BYTES + 1, 2**63, 10**30])
def test_a_file_longer_than_any_refuses_the_build(choose: Choose, size_bytes: int) -> None:
    file = RemoteFile("config.json", size_bytes, None, "k")
    with pytest.raises(WeightsUnsafe, match="1024 TiB"):
        _ = choose([file], model="m")
    assert choose([replace(file, size_bytes=MOST_BYTES)], model="m")


def test_only_known_kinds_are_kept_in_order() -> None:
    names = (
        "tokenizer.model",
        "model.SAFETENSORS",
        "model.safetensors.index.json",
        "merges.txt",
        "qwen.tiktoken",
        "chat_template.jinja",
        "manifest.json",
        "sub/extra.json",
    )
    assert kept(*names) == sorted(names)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        ".gitattributes",
        ".cache/x.json",
        "sub/.hidden.json",
        "modeling_x.py",
        "x.json.py",
        "LICENSE",
        "model.gguf.part",
        "image.png",
        "json",
        "a.json/noext",
    ],
)
def test_other_kinds_hidden_names_and_code_stay_where_they_are(name: str) -> None:
    assert kept(name, "model.safetensors") == ["model.safetensors"]
    assert not is_wanted(name)


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "pkl", "pickle", "ckpt", "BIN"])
def test_pickles_refuse_a_build_unless_there_are_tensors_too(suffix: str) -> None:
    with pytest.raises(WeightsUnsafe, match="pickles only"):
        kept("config.json", f"pytorch_model.{suffix}")
    both = ("config.json", f"sub/training_args.{suffix}", "model.safetensors")
    assert kept(*both) == ["config.json", "model.safetensors"]


def test_a_name_that_is_there_twice_refuses_the_build() -> None:
    for choose in (wanted, everything):
        with pytest.raises(WeightsUnsafe, match=r"'b\.json' is listed more than once"):
            choose(listed("a.json", "b.json", "b.json"), model="m")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Config.json", "config.json"),
        ("A/x.json", "a/X.json"),
        ("\u00e4.json", "a\u0308.json"),
        ("stra\u00dfe.json", "strasse.json"),
        ("a.json", "A.json/b.txt"),
        ("a.json", "a.json/b.txt"),
    ],
)
def test_names_that_meet_on_some_disk_refuse_the_build(one: str, other: str) -> None:
    for pair in permutations((one, other)):
        with pytest.raises(WeightsUnsafe, match=r"are one file|both a file and a folder"):
            kept(*pair)


def test_a_gguf_model_is_taken_whole_and_by_itself() -> None:
    shards = [f"q4/m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert kept("README.md", *shards, "config.json") == ["config.json", *shards]
    assert kept("m.GGUF", "mmproj-m.gguf") == ["m.GGUF", "mmproj-m.gguf"]
    assert kept("m.gguf", "m.bin") == ["m.gguf"]


def test_the_same_weights_are_not_fetched_twice() -> None:
    assert kept("model.safetensors", "m-q4.gguf", "m-q8.gguf") == ["model.safetensors"]
    assert spares(["a.gguf", "config.json"]) == frozenset()


def test_of_several_gguf_models_one_has_to_be_meant() -> None:
    with pytest.raises(ModelMissing, match=r"3 GGUF models, such as 'm-q4.gguf' and 'm-q5.gguf'"):
        kept("m-q4.gguf", "m-q5.gguf", "m-q8-00001-of-00002.gguf", "m-q8-00002-of-00002.gguf")


def picked(one: str, *names: str) -> list[str]:
    files = [RemoteFile(name, 1, None, name) for name in names]
    return [file.path for file in of_one(files, one, model="m")]


def test_the_one_that_is_meant_comes_alone() -> None:
    shards = [f"q8/m-0000{number}-of-00002.gguf" for number in (1, 2)]
    both = [*shards, "m-q4.gguf", "m-q5.gguf", "x.safetensors", "config.json", "README.md"]
    assert picked("", *both) == both
    assert picked("m-q4.gguf", *both) == ["m-q4.gguf", "config.json", "README.md"]
    assert picked(shards[0], *both) == [*shards, "config.json", "README.md"]
    one, other = "mmproj-f16.gguf", "mmproj-f32.gguf"
    assert picked("m.gguf", "m.gguf", "n.gguf", one) == ["m.gguf", one]
    assert picked("m.gguf", "m.gguf", one, other) == ["m.gguf"]
    with pytest.raises(ModelMissing, match=r"no 'm-q6.gguf', but 4 GGUF files, such as 'm-q4"):
        picked("m-q6.gguf", *both)
    with pytest.raises(ModelMissing, match="0 GGUF files"):
        picked("m-q6.gguf", "config.json")


def test_metadata_is_everything_wanted_but_the_weights() -> None:
    names = ["config.json", "a/m.safetensors", "tokenizer.model", "M.SAFETENSORS", "x.jinja"]
    telling = [file.path for file in metadata(listed(*names), model="m")]
    assert telling == ["config.json", "tokenizer.model", "x.jinja"]
    assert telling == [path for path in kept(*names) if not is_weights(path)]
    with pytest.raises(WeightsUnsafe):  # what could not be loaded is not worth planning for
        metadata(listed("config.json", "pytorch_model.bin"), model="m")


def test_an_ignored_file_collides_with_nothing() -> None:
    assert kept("config.json", "CONFIG.JSON.md", "Readme.md", "README.md") == ["config.json"]


NAMES = st.from_regex(
    r"([a-cA-C.]{1,3}/){0,2}[a-b]{1,2}\.(json|py|bin|safetensors)", fullmatch=True
)


@given(st.lists(NAMES, unique=True, max_size=8))
def test_laws(names: list[str]) -> None:
    try:
        chosen = kept(*names)
    except WeightsUnsafe:
        return
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(names)
    assert not any(name.endswith((".py", ".bin")) for name in chosen)
    assert len({name.lower() for name in chosen}) == len(chosen)
    if any(
        name.endswith(".bin") and not any(part.startswith(".") for part in name.split("/"))
        for name in names
    ):
        assert any(name.endswith(".safetensors") for name in chosen)


def test_every_control_and_separator_of_unicode_is_one() -> None:
    """The pattern says what the categories say, letter by letter."""
    for code in range(0x3000):
        letter = chr(code)
        is_unfit = unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}
        problem = ""
        try:
            _ = safe_path(f"a{letter}b")
        except ValueError as error:
            problem = str(error)
        assert ("control character" in problem) is is_unfit, hex(code)


def test_plain_letters_are_folded_as_all_letters_are() -> None:
    for letter in map(chr, range(128)):
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", letter).casefold())
        assert letter.lower() == folded

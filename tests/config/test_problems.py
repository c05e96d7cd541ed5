"""Sentences about keys, and where a value was written."""

from poolhand.config.layers import Written
from poolhand.config.problems import Places, Problem, dotted, leaves, nearest
from poolhand.config.settings import Settings

PLACES = Places(
    "/a.toml",
    {
        ("slots",): Written("/a.toml", 3, 1, 3, 1),
        ("slots", "max"): Written("/a.d/b.toml", 4, 1, 4, 7),
    },
    {("log", "level"): "POOLHAND_LOG__LEVEL"},
)


def test_a_problem_stands_where_its_value_was_written() -> None:
    at = ("slots", "max")
    assert PLACES.problem(at, "w") == Problem("/a.d/b.toml", 4, "w", column=7), "its value"
    assert PLACES.problem(at, "w", of_key=True).column == 1
    assert PLACES.problem(("slots", "max", 0), "w").column == 1, "something in it is missing"
    table = Problem("/a.toml", 3, "w", column=1)
    assert PLACES.problem(("slots", "other", 0), "w") == table
    assert PLACES.problem(("gone",), "w") == Problem("/a.toml", None, "w")
    assert PLACES.problem(("log", "level"), "w").place == "environment variable POOLHAND_LOG__LEVEL"


def test_a_problem_is_an_error() -> None:
    error = Problem("/a.toml", 4, "is odd", "try b", 2).error(("more",))
    assert str(error) == "/a.toml:4:2: is odd (try b)"
    assert (error.line, error.column, error.others) == (4, 2, ("more",))


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("models", 0, "aliases", 12)) == "models[0].aliases[12]"
    assert dotted(()) == ""


def test_the_nearest_word() -> None:
    assert nearest("adress", ["address", "url"]) == "did you mean address?"
    assert nearest("zzz", ["address", "url"]) == ""


def test_the_leaves_are_the_keys_that_hold_values() -> None:
    paths = [at for at, _ in leaves(Settings)]
    assert ("stores", "s3", "ca_file") in paths
    assert ("models",) in paths
    assert ("coordinator",) not in paths
    assert len(paths) == len(set(paths)) > 30

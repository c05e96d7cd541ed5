"""Builds that ask for code of their own."""

from poolhand.agent.weights.remote_code import asks_for_code


def test_who_asks_is_named() -> None:
    (said,) = asks_for_code("config.json", {"auto_map": {"AutoModel": "modeling.X"}})
    assert said == "config.json asks for code of its own by 'auto_map': it is not run"
    both = asks_for_code("c", {"model_file": "m.py", "auto_map": {"a": "b"}, "model_type": "x"})
    assert len(both) == 2


def test_who_does_not() -> None:
    assert asks_for_code("config.json", {}) == ()
    assert asks_for_code("config.json", {"auto_map": {}, "model_file": None}) == ()


def test_a_key_that_stands_deeper() -> None:
    inner = {"vision_config": {"auto_map": {"AutoModel": "modeling.Evil"}, "model_file": ""}}
    assert asks_for_code("config.json", inner) == (
        "config.json asks for code of its own by 'auto_map': it is not run",
    )
    deep: dict[str, object] = {"auto_map": "x"}
    for _ in range(100_000):
        deep = {"a": deep}
    assert asks_for_code("config.json", deep) == ()

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

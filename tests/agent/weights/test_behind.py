"""A hint to the kernel: harmless wherever it is given."""

from pathlib import Path

from poolhand.agent.weights.behind import writing_behind


def test_what_is_written_out_early_is_the_same_file(tmp_path: Path) -> None:
    begin = writing_behind()
    with (tmp_path / "f").open("w+b", buffering=0) as file:
        _ = file.write(b"a" * 100_000)
        begin(file.fileno(), 0, 50_000)
        begin(file.fileno(), 50_000, 10**9)
        _ = file.write(b"b")
    assert (tmp_path / "f").read_bytes() == b"a" * 100_000 + b"b"


def test_a_hint_that_is_refused_is_no_failure() -> None:
    writing_behind()(-1, 0, 1)
    writing_behind()(0, -1, -1)

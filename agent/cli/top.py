"""``poolhand top``: the slots and what they do, drawn anew each second."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence

from . import status
from .places import add_config, add_state_dir
from .render import items, plain, size, span, table, time_left
from .sections import bar, line, memory, requests

COLUMNS = ("model", "state", "for", "requests", "tokens/s", "holds", "progress")

Facts = Mapping[str, object]


def add_arguments(parser: ArgumentParser) -> None:
    """Take the state folder and the pace."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("--interval", metavar="S", type=float, default=1.0, help="seconds a frame")
    parser.add_argument("--json", action="store_true", help="print the status for programs, once")
    parser.add_argument("--once", action="store_true", help="draw one picture and leave")


def main(args: Namespace) -> int:
    """Draw until interrupted.

    Returns:
        As ``status``, for the last frame.
    """
    return status.once(args) if args.json else status.board(args, drawn)


def drawn(answer: Facts) -> Iterator[str]:
    """The picture, without its line of sparks."""
    is_serving = answer.get("serving") is True
    why_not = [table(one) for one in items(answer.get("why_not"))]
    words = "" if is_serving or not why_not else f": {plain(why_not[0].get('words'))}"
    yield f"serving: {'yes' if is_serving else 'no'}{words}"
    for part, name in ((line, "line"), (requests, "requests"), (memory, "memory")):
        for at, row in enumerate(part(table(answer.get(name)))):
            yield f"{name if at == 0 else '':<10}{plain(row)}"
    yield ""
    stays = [table(one) for one in items(answer.get("slots"))]
    yield from _aligned([COLUMNS, *map(_cells, stays)])
    if not stays:
        yield "no model is here or on its way"


def _cells(stay: Facts) -> tuple[str, ...]:
    return (
        plain(stay.get("model")),
        plain(stay.get("state")),
        _of(stay, "for_s", span),
        plain(stay.get("requests")),
        _of(stay, "decode_tps", lambda tps: f"{tps:.0f}"),
        _of(stay, "holds_bytes", size),
        _progress(stay),
    )


def _progress(stay: Facts) -> str:
    done, total = stay.get("bytes_done"), stay.get("bytes_total")
    if stay.get("state") != "downloading" or not isinstance(done, int):
        return plain(stay.get("phase")) if stay.get("phase") else ""
    if not isinstance(total, int) or total <= 0:
        return plain(stay.get("phase"))
    rate = _of(stay, "rate_bytes_s", lambda found: f"{size(found)}/s")
    return f"{bar(done / total)}  {rate}  ETA {_of(stay, 'eta_s', time_left)}"


def _of(stay: Facts, name: str, words: Callable[[float], str]) -> str:
    value = stay.get(name)
    return words(value) if isinstance(value, int | float) else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()

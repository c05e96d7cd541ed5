"""In the child: chat templates of which no single step takes long.

A template is a program that came with the weights. The library runs it in a sandbox, and a clock
ends it (:mod:`.watchdog`), but only between two steps of the interpreter: one step that makes a
text of gigabytes, or a number of a million digits, stops whatever runs in this process. So what
can make much out of little is measured before it is done.

Source:
    Jinja's documentation, "Sandbox", on intercepted operators; ``transformers``,
    ``chat_template_utils.py``, which makes a sandbox for each template.
"""

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import wraps
from string import Formatter
from typing import cast

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

MOST_CHARS = 2**26
"""In one text; no request is longer."""
MOST_ITEMS = 2**20
"""In one list."""
MOST_BITS = 2**12
"""In one number that was multiplied."""
MOST_STEPS = 10**5
"""In a width, a precision or a count. Jinja's own bound of a ``range``."""

_COUNTING = frozenset(
    {
        *("batch", "center", "indent", "round", "slice", "tojson"),
        *("expandtabs", "ljust", "rjust", "to_bytes", "zfill"),
    }
)
"""Filters and methods that make as much as they are told to."""

_BARE = frozenset({"decode", "hex"})
"""All that bytes are asked for."""

_WIDE = re.compile(
    r"%(?:\([^%]*\))?[-#0 +]*(?:\*|[0-9]{6}|[0-9]*\.(?:\*|[0-9]{6}))"  # %*d, %999999d, %.999999f
)
_WIDE_FIELD = re.compile(r"[0-9]{6}|[{]")

Work = Callable[..., object]


class Bounded(ImmutableSandboxedEnvironment):
    """The sandbox of the library's choice, whose steps are short."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # pyright: ignore[reportArgumentType]  # as the library gives them
        self.filters = _Filters(self.filters)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Compute, if it is not much."""
        _check_operator(operator, left, right)
        return cast("object", super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: object) -> Callable[..., str] | None:
        """Let a text be formatted, if no field of it is wide."""
        found = super().wrap_str_format(value)
        if found is not None:
            for _, _, spec, _ in Formatter().parse(str(cast("object", getattr(value, "__self__")))):  # noqa: B009  # a built-in method's
                _refuse_if(spec is not None and _WIDE_FIELD.search(spec) is not None)
        return found

    def call(self, context: Context, obj: Work, /, *args: object, **named: object) -> object:
        """Call a method of a text or a number, if it makes no much larger one."""
        owner = cast("object", getattr(obj, "__self__", None))
        if isinstance(owner, str | bytes | int | float):
            name = str(getattr(obj, "__name__", ""))
            _refuse_if(name == "translate" or (isinstance(owner, bytes) and name not in _BARE))
            _check_step(name, owner, (*args, *named.values()))
        return cast("object", super().call(context, obj, *args, **named))


def install() -> None:
    """Have the library make such sandboxes from now on."""
    setattr(chat_template_utils, "ImmutableSandboxedEnvironment", Bounded)  # noqa: B010  # not its own


class _Filters(dict[str, Work]):
    """Filters by name, each of which measures before it works."""

    def __init__(self, filters: Mapping[str, Work]) -> None:
        super().__init__()
        for name, work in filters.items():
            self[name] = work

    def __setitem__(self, name: str, work: Work) -> None:
        # what such a filter is given before the value says nothing of its size
        at = int(hasattr(work, "jinja_pass_arg"))

        @wraps(work)
        def measured(*args: object, **named: object) -> object:
            value, *more = args[at:] or (None,)
            _check_step(name, value, (*more, *named.values()))
            return work(*args, **named)

        super().__setitem__(name, measured)


def _check_operator(operator: str, left: object, right: object) -> None:
    match operator:
        case "%" if isinstance(left, str | bytes):
            text = left if isinstance(left, str) else left.decode("latin-1")
            _refuse_if(_WIDE.search(text) is not None)
        case "+" if isinstance(left, Sized) and isinstance(right, Sized):
            _check_size(left, len(left) + len(right))
        case "*" if isinstance(left, int) and isinstance(right, int):
            _refuse_if(left.bit_length() + right.bit_length() > MOST_BITS)
        case "*" if isinstance(left, Sized) and isinstance(right, int):
            _check_size(left, len(left) * right)
        case "*" if isinstance(left, int) and isinstance(right, Sized):
            _check_size(right, left * len(right))
        case "**" if isinstance(left, int) and isinstance(right, int):
            _refuse_if(left.bit_length() * abs(right) > MOST_BITS)
        case _:
            pass


def _check_step(name: str, value: object, given: Sequence[object]) -> None:
    """Measure what a filter or a method is about to make of a value and what it is given."""
    for one in (value, *given):
        if isinstance(one, Sized):
            _check_size(one, len(one))
    counts = [abs(one) for one in given if isinstance(one, int)] if name in _COUNTING else []
    _refuse_if(any(count > MOST_STEPS for count in counts))
    text = value if isinstance(value, str) else ""
    match name, given:
        case "format", _:
            _check_operator("%", value, None)
        case "replace", [old, new, *_]:
            _check_size("", (text.count(str(old)) if old else len(text) + 1) * len(str(new)))
        case "indent", _:
            wide = max([4, *counts, *(len(one) for one in given if isinstance(one, str))])
            _check_size("", (len(text.splitlines()) + 1) * wide)
        case "expandtabs", _:
            _check_size("", text.count("\t") * max([8, *counts]))
        case "join", _:
            first, second, *_ = [
                *(len(one) for one in (value, *given) if isinstance(one, Sized)),
                0,
                0,
            ]
            _check_size("", first * second)
        case _:
            pass


def _check_size(kind: Sized, size: int) -> None:
    _refuse_if(size > (MOST_CHARS if isinstance(kind, str | bytes) else MOST_ITEMS))


def _refuse_if(is_much: bool) -> None:  # noqa: FBT001  # what it is asked is all of it
    if is_much:
        problem = "a single step of the template would take long"
        raise SecurityError(problem)

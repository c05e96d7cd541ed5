"""From a folder on disk to a model that has proven it can speak; in the child only.

Weights come into memory in steps, so that the child can tell how far it is and hears when it
is no longer wanted. Code that comes with weights is never run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# The library has no types; what comes from it is cast where it enters.

import inspect
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import mlx.core as mx
import mlx_lm
from jinja2 import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model, load_tokenizer

from . import mlx_template
from .asked import advised
from .decoding import Memory
from .messages import LoadModel
from .mlx_model import Model, Tokenizer
from .mlx_taking import Classes, with_early

TEMPLATE_CHARS = 2**16
_EVAL_BYTES = 256 * 2**20
_CACHE_PART = 16


def version() -> str:
    """The library's version."""
    return mlx_lm.__version__


def device() -> str:
    """What it computes on."""
    return str(mx.device_info().get("device_name", mx.default_device()))


def memory() -> Memory:
    """What MLX holds now."""
    return Memory(mx.get_active_memory(), mx.get_peak_memory(), mx.get_cache_memory())


def leave() -> None:
    """Give back what MLX made for this thread; the last thing done in it.

    A process whose thread ended without it is aborted on its way out.
    """
    mx.clear_streams()


def load(
    message: LoadModel,
    *,
    progressed: Callable[[int, int], None],
    early: dict[str, mx.array] | None = None,
) -> Model:
    """Load what lies in a folder, with one token decoded to prove it.

    Args:
        message: Which folder, and the limits.
        progressed: Told the bytes in memory and all of them, in steps.
        early: Tensors that were read while their files arrived; emptied as they are used.

    Raises:
        ValueError: It names code of its own, or is not what its files say.
        Exception: Whatever the library finds wrong; its words name files, never requests.
    """
    folder = Path(message.folder)
    _refuse_code(folder)
    _bound_cache()
    if early:
        choose = with_early(_classes(), early)
        module, config = load_model(folder, lazy=True, get_model_classes=choose)
    else:
        module, config = load_model(folder, lazy=True)
    arrays = cast("list[tuple[str, mx.array]]", tree_flatten(module.parameters()))
    _evaluate([array for _, array in arrays], progressed)
    mlx_template.install()
    tokenizer = load_tokenizer(
        folder,
        {"trust_remote_code": False},
        eos_token_ids=cast("object", config.get("eos_token_id")),
    )
    told = cast("Tokenizer", tokenizer)
    _bound_template(told.chat_template)
    return Model(
        module,
        told,
        context_tokens=_context_tokens(
            cast("Mapping[str, object]", config), message.context_tokens
        ),
        sampling=advised(_document(folder / "generation_config.json")),
        prefill_step_tokens=message.prefill_step_tokens,
        max_running=message.max_running,
        prompt_cache_bytes=message.prompt_cache_bytes,
    )


def _classes() -> Classes:
    """How the library itself finds a model's classes."""
    default = inspect.signature(load_model).parameters["get_model_classes"].default
    return cast("Classes", default)


def _refuse_code(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        for key in ("auto_map", "model_file"):
            if key in _document(folder / name):
                problem = f"{name} names code of its own ({key}); it is never run"
                raise ValueError(problem)


def _bound_template(template: object) -> None:
    """Refuse a program that is too long to be a template, whichever file it came in."""
    named = cast("Mapping[str, object]", template) if isinstance(template, dict) else {"": template}
    if any(isinstance(text, str) and len(text) > TEMPLATE_CHARS for text in named.values()):
        problem = f"a chat template of more than {TEMPLATE_CHARS} characters"
        raise ValueError(problem)
    if any(isinstance(text, str) and _has_powers(text) for text in named.values()):
        problem = "a chat template that computes powers: one alone can take for ever"
        raise ValueError(problem)


def _has_powers(template: str) -> bool:
    """Whether it has the one operator whose single step no clock can cut short.

    The same two stars before the last arguments of a call are none.
    """
    try:
        words = [word for word in ImmutableSandboxedEnvironment().lex(template) if word[2].strip()]
    except TemplateSyntaxError:
        return False  # whoever chats is told
    return any(
        word[1:] == ("operator", "**") and last[2] not in "(,"
        for last, word in itertools.pairwise(words)
    )


def _document(path: Path) -> Mapping[str, object]:
    if not path.exists():
        return {}
    document = cast("object", json.loads(path.read_bytes()))
    return cast("Mapping[str, object]", document) if isinstance(document, dict) else {}


def _evaluate(arrays: Sequence[mx.array], progressed: Callable[[int, int], None]) -> None:
    """Bring the arrays into memory in steps, so that the child can speak in between."""
    total_bytes = sum(array.nbytes for array in arrays)
    group: list[mx.array] = []
    done_bytes = group_bytes = 0
    for array in arrays:
        group.append(array)
        group_bytes += array.nbytes
        if group_bytes >= _EVAL_BYTES:
            mx.eval(group)
            done_bytes, group_bytes, group = done_bytes + group_bytes, 0, []
            progressed(done_bytes, total_bytes)
    mx.eval(group)
    progressed(total_bytes, total_bytes)


def _context_tokens(config: Mapping[str, object], bound: int | None) -> int | None:
    inner = config.get("text_config")
    places = [config, cast("Mapping[str, object]", inner) if isinstance(inner, dict) else {}]
    told = [place.get("max_position_embeddings") for place in places]
    known = [most for most in (*told, bound) if isinstance(most, int)]
    return min(known, default=None)


def _bound_cache() -> None:
    """On Metal, keep little for reuse; the wired limit is BatchGenerator's."""
    if mx.metal.is_available():
        working_set = mx.device_info()["max_recommended_working_set_size"]
        mx.set_cache_limit(int(working_set) // _CACHE_PART)

"""A model in memory and the batch it decodes: mlx-lm, as the child uses it.

Only the files named ``mlx_*`` import the library, and only at the loop's side; a contract test
holds the names and forms of every call, for the library is young. All of it stays on one
thread: MLX's streams are bound to the thread that made them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# The library has no types; what comes from it is cast where it enters.

import gc
import json
import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Literal, Protocol, cast

import mlx.core as mx
from jinja2 import TemplateError
from mlx_lm.generate import BatchGenerator, TextStateMachine, make_text_state_machine
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

from .answer_text import AnswerText, Detokenizer, ToolParser, Tools
from .asked import Asked, BadRequest, Sampling, TooLong
from .decoding import Inserted, Step
from .kept import Kept, Layers
from .mlx_sampling import processors, sampler
from .pace import LONG_PROBE_TOKENS, Pace
from .stride import Stride
from .watchdog import at_most

TEMPLATE_S = 1.0
"""Seconds a chat template may take; it is a program that came with the weights."""

OUTPUT_CHARS = 2**20
"""How much longer than what it was given a template's text may be."""

PAUSE_S = 0.1
"""What reading a prompt may add to the wait for the next token of everybody else."""

PROBE_PROMPT_TOKENS = 8
PROBE_ANSWER_TOKENS = 9
"""What is read and said before a model counts as loaded: enough to time, over in a moment."""

THINK_TAIL_TOKENS = 11
"""How near its end a prompt must open the reasoning. Source: mlx_lm.server, ``_tokenize``."""


class Tokenizer(Protocol):
    """mlx-lm's ``TokenizerWrapper``."""

    has_chat_template: bool
    has_thinking: bool
    has_tool_calling: bool
    eos_token_ids: Iterable[int]
    detokenizer: Detokenizer
    tool_parser: ToolParser
    tool_call_start: str
    tool_call_end: str | None
    response_initial_state: str | None
    chat_template: str | None

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Tokens of a text."""
        ...

    def apply_chat_template(
        self, messages: Sequence[object], *, tokenize: bool, **options: object
    ) -> str:
        """A chat as text."""
        ...

    def rfind_think_start(self, tokens: list[int], start: int) -> int:
        """Where reasoning last begins; -1: nowhere."""
        ...

    def rfind_think_end(self, tokens: list[int], start: int) -> int:
        """Where reasoning last ends; -1: nowhere."""
        ...


class _Layer(Protocol):
    state: object
    nbytes: int


class _Response(Protocol):
    uid: int
    token: int
    finish_reason: Literal["stop", "length"] | None
    all_tokens: list[int] | None
    prompt_cache: Sequence[_Layer] | None


class _Read(Protocol):
    uid: int
    progress: tuple[int, int]
    end_of_prompt: bool


class _Splitting:
    """A ``TextStateMachine`` and where one answer stands in it."""

    def __init__(self, machine: TextStateMachine, initial: str) -> None:
        self._state = cast("object", machine.make_state(initial))

    def split(self, text: str) -> Sequence[tuple[str | None, str]]:
        self._state, segments = cast(
            "tuple[object, Sequence[tuple[str | None, str]]]",
            TextStateMachine.split(self._state, text),
        )
        return segments

    def flush(self) -> tuple[str | None, str]:
        self._state, text, state = cast(
            "tuple[object, str, str | None]", TextStateMachine.flush(self._state)
        )
        return state, text


SURE_CHARS_A_TOKEN = 4
"""A text of so many characters for each token of the context is read at once; most texts of
that length fit."""

SLICE_CHARS = 2**14
SLICE_SLACK_TOKENS = 16


class Model:
    """A model in memory, and the batch of rows it decodes.

    Attributes:
        context_tokens: Most tokens of prompt and answer; ``None`` if nobody says.
        sampling: What its makers advise.
        kv_bytes_per_token: Measured; ``None`` where a token has no fixed cost.
        pace: How fast it read and said what it was tried with.
    """

    def __init__(
        self,
        module: object,
        tokenizer: Tokenizer,
        *,
        context_tokens: int | None,
        sampling: Sampling,
        prefill_step_tokens: int,
        max_running: int,
        prompt_cache_bytes: int = 0,
    ) -> None:
        self.context_tokens = context_tokens
        self.sampling = sampling
        self.has_thinking = tokenizer.has_thinking
        self._tokenizer = tokenizer
        self._splitting = make_text_state_machine(tokenizer)
        self._batch = BatchGenerator(
            module,  # type: ignore[arg-type] # the library's own type names no interface
            stop_tokens=[[token] for token in tokenizer.eos_token_ids],
            completion_batch_size=max_running,
            prefill_batch_size=min(8, max_running),
            prefill_step_size=prefill_step_tokens,
        )
        self._stride = Stride(most_tokens=prefill_step_tokens, pause_s=PAUSE_S)
        self._progress: dict[int, int] = {}
        self._kept = Kept(most_bytes=prompt_cache_bytes, shortened=_shortened)
        self._keeps = prompt_cache_bytes > 0
        self.pace = Pace()
        # the first answer compiles kernels, so another one is timed
        self.kv_bytes_per_token = _kv_bytes_per_token(self._probe(2, 1, Pace()))
        room = context_tokens or LONG_PROBE_TOKENS
        if room >= PROBE_PROMPT_TOKENS + PROBE_ANSWER_TOKENS:
            self._probe(PROBE_PROMPT_TOKENS, PROBE_ANSWER_TOKENS, self.pace)
        if room >= LONG_PROBE_TOKENS and self.pace.is_quick_to_read(LONG_PROBE_TOKENS):
            longer = Pace()
            self._probe(LONG_PROBE_TOKENS - 1, 1, longer)
            self.pace.prefill_tps = longer.prefill_tps

    def tokens(self, asked: Asked) -> list[int]:
        """The prompt as the model reads it.

        Raises:
            BadRequest: The model's template does not take these messages.
            TooLong: It does not fit, by so much that it is not read to its end.
        """
        is_chat = bool(asked.messages)
        text = self._rendered(asked) if is_chat else asked.prompt
        try:
            text.encode()
        except UnicodeEncodeError:
            # half a surrogate pair: JSON can say it, no tokenizer can read it
            raise BadRequest(field="all text", must="be valid Unicode") from None
        self._refuse_far_too_long(text)
        tokens = self._tokenizer.encode(text, add_special_tokens=not is_chat)
        if not tokens:
            raise BadRequest(field="prompt", must="not be empty")
        return tokens

    def answer(self, number: int, asked: Asked, tokens: list[int]) -> AnswerText:
        """The text of an answer to this prompt, still empty."""
        tokenizer, is_chat = self._tokenizer, bool(asked.messages)
        is_reasoning = is_chat and self._opens_reasoning(tokens)
        initial = "reasoning" if is_reasoning else "normal"
        if is_chat and tokenizer.response_initial_state:
            initial = tokenizer.response_initial_state
        machine = self._splitting if is_chat else TextStateMachine()
        return AnswerText(
            number,
            detokenizer=tokenizer.detokenizer,
            splitter=_Splitting(machine, initial),
            stop_words=asked.stop_words,
            tools=self._tools(asked) if is_chat and tokenizer.has_tool_calling else None,
            is_reasoning=initial == "reasoning",
        )

    def insert(self, tokens: list[int], *, max_tokens: int, sampling: Sampling) -> Inserted:
        """Begin to answer, where an earlier answer like it left off."""
        known, cache = self._kept.find(tokens)
        rows = self._batch.insert(
            [tokens[known:]],
            max_tokens=[max_tokens],
            caches=None if cache is None else [cache],
            all_tokens=[tokens[:known]],
            samplers=[sampler(sampling)],
            logits_processors=[processors(sampling)],
        )
        return Inserted(rows[0], known)

    def step(self) -> list[Step]:
        """Read on in prompts and decode one token of each row that is through."""
        self._batch.prefill_step_size = self._stride.tokens
        began_s = time.monotonic()
        read, responses = cast("tuple[list[_Read], list[_Response]]", self._batch.next())
        took_s = time.monotonic() - began_s
        ended = sum(made.finish_reason is not None for made in responses)
        self._stride.stepped(
            took_s, read_tokens=self._most_read(read), decoded=len(responses), ended=ended
        )
        for made in responses:
            if self._keeps and made.all_tokens and made.prompt_cache:
                # else they would hold on to the whole batch that they are cut out of
                mx.eval([layer.state for layer in made.prompt_cache])
                held_bytes = sum(layer.nbytes for layer in made.prompt_cache)
                self._kept.keep(made.all_tokens, list(made.prompt_cache), held_bytes)
        return [Step(made.uid, made.token, made.finish_reason) for made in responses]

    def _most_read(self, read: list[_Read]) -> int:
        """The longest piece of a prompt that the last step read."""
        done = {one.uid: one.progress[0] for one in read if not one.end_of_prompt}
        most = max((now - self._progress.get(uid, 0) for uid, now in done.items()), default=0)
        self._progress = done
        return most

    @property
    def kept_bytes(self) -> int:
        """What is kept of finished answers."""
        return self._kept.held_bytes

    def remove(self, rows: list[int]) -> None:
        """Forget these rows."""
        self._batch.remove(rows)

    def rest(self) -> None:
        """Nothing runs: give back what is kept for reuse."""
        mx.clear_cache()

    def drop(self) -> None:
        """Give the memory back; nothing can be asked of it any more."""
        self._batch.close()
        del self._batch, self._tokenizer, self._kept
        gc.collect()
        mx.clear_cache()
        if mx.metal.is_available():
            mx.set_wired_limit(0)

    def _refuse_far_too_long(self, text: str) -> None:
        """Count in slices, so that a text of megabytes costs no more than one that fits.

        Everybody else waits while a prompt is read. A slice's edges may cost a few tokens
        more than the text has, so the counts are taken with some slack.
        """
        context = self.context_tokens
        if context is None or len(text) <= SURE_CHARS_A_TOKEN * context:
            return
        counted = 0
        for at in range(0, len(text), SLICE_CHARS):
            piece = text[at : at + SLICE_CHARS]
            count = len(self._tokenizer.encode(piece, add_special_tokens=False))
            counted += max(0, count - SLICE_SLACK_TOKENS)
            if counted > context:
                raise TooLong(counted)

    def _rendered(self, asked: Asked) -> str:
        if not self._tokenizer.has_chat_template:
            raise BadRequest(field="messages", must="be a prompt: the model has no chat template")
        try:
            with at_most(TEMPLATE_S):
                text = self._tokenizer.apply_chat_template(
                    list(asked.messages),
                    tokenize=False,
                    add_generation_prompt=True,
                    tools=list(asked.tools) or None,
                    **asked.options,
                )
        except (
            TemplateError,
            TimeoutError,
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            raise BadRequest(field="messages", must="suit the model's chat template") from None
        if len(text) > OUTPUT_CHARS + _chars([asked.messages, asked.tools]):
            raise BadRequest(field="messages", must="suit the model's chat template")
        return text

    def _opens_reasoning(self, tokens: list[int]) -> bool:
        if not self._tokenizer.has_thinking:
            return False
        tail = max(0, len(tokens) - THINK_TAIL_TOKENS)
        begin = self._tokenizer.rfind_think_start(tokens, tail)
        return begin > self._tokenizer.rfind_think_end(tokens, tail)

    def _tools(self, asked: Asked) -> Tools:
        tokenizer = self._tokenizer
        return Tools(tokenizer.tool_parser, tokenizer.tool_call_start, asked.tools)

    def _probe(self, prompt: int, answer: int, pace: Pace) -> Sequence[object]:
        """Read and say so many tokens, which also shows that the model can.

        Returns:
            What the answer kept, layer by layer.
        """
        token = next(iter(self._tokenizer.eos_token_ids), 0)
        began_s = time.monotonic()
        self._batch.insert([[token] * prompt], max_tokens=[answer])
        first_s, said = None, 0
        while True:
            _, responses = cast("tuple[object, list[_Response]]", self._batch.next())
            for made in responses:
                now_s, said = time.monotonic(), said + 1
                if first_s is None:
                    first_s = now_s
                    pace.prefilled(prompt, now_s - began_s)
                if made.finish_reason is not None:
                    pace.decoded(said - 1, now_s - first_s)
                    return made.prompt_cache or ()


def _shortened(layers: Layers, tokens: int) -> Layers | None:
    """A copy of a row's layers without its last tokens; ``None`` if they are of another kind."""
    if tokens and not can_trim_prompt_cache(layers):
        return None
    copied = deepcopy(layers)
    trim_prompt_cache(copied, tokens)
    return copied


def _chars(said: object) -> int:
    """How long a request is as JSON, roughly."""
    return len(json.dumps(said, default=str, ensure_ascii=False))


def _kv_bytes_per_token(caches: Sequence[object]) -> int | None:
    """What a token adds to plain caches; of any other kind it is no constant."""
    total = 0
    for cache in caches:
        keys, values = getattr(cache, "keys", None), getattr(cache, "values", None)
        if type(cache).__name__ != "KVCache" or not isinstance(keys, mx.array):
            return None
        held_bytes = keys.nbytes + cast("mx.array", values).nbytes
        total += held_bytes // keys.shape[2]
    return total or None

"""The words of the scripted checkpoint: its scripts, its tokenizer, its chat template.

A *script* is a chain of tokens that begins with an entry token. No script token can come
out of encoding ordinary text, and none has two successors: that is what makes the model's
answer known beforehand. Everything here is a pure function of its arguments.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ...config.frozen import frozen

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"
GREETING = "<|say|>"

SPECIAL = (
    END_OF_TEXT,
    "<|im_start|>",
    END_OF_TURN,
    GREETING,
    "<|loop|>",
    "<|unicode|>",
    "<|think|>",
    "<|tool|>",
)
"""Control tokens; decoders leave them out of a text."""

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""Visible tokens that engines look for to tell what a model can do."""

Piece = str | int
"""One step of a script: a token's text, or one raw byte."""

_COUNT_TO = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty"
)

_BYTE_VALUES = 256
_MERGES_TRIED_RATIO = 4


def scripts(name: str) -> Mapping[str, Sequence[Piece]]:
    """What a model can say.

    Args:
        name: What the model calls itself.

    Returns:
        Entry token to the pieces that follow it; ``<|loop|>`` has no end.
    """
    count = [f" {word}" for word in _COUNT_TO.split()]
    # raw bytes: an i with diaeresis, a euro sign and an emoji, each over several tokens
    diaeresis, euro, emoji = (0xC3, 0xAF), (0xE2, 0x82, 0xAC), (0xF0, 0x9F, 0x98, 0x80)
    tool = ['\n{"name": ', '"get_weather", ', '"arguments": ', '{"city": ', '"Paris"}}', "\n"]
    thought = ["Let", " me", " think", " first"]
    answer = ["The", " answer", " is", " 42"]
    return {
        GREETING: ["Hello", " from", f" {name}", ".", " Counting", ":", *count, "!", END_OF_TURN],
        "<|loop|>": ["Tick", " tock", " tick", " tock"],
        "<|unicode|>": [
            *("na", *diaeresis, "ve", " costs ", *euro, "5 ", *emoji, " done", END_OF_TURN),
        ],
        "<|think|>": ["<think>", *thought, "</think>", *answer, END_OF_TURN],
        "<|tool|>": ["<tool_call>", *tool, "</tool_call>", END_OF_TURN],
    }


def expected_text(name: str = "tiny", script: str = GREETING) -> str:
    """The text that a script spells, control tokens left out.

    Args:
        name: What the model calls itself.
        script: An entry token; of ``<|loop|>``, which has no end, one round is given.

    Raises:
        KeyError: There is no such script.
    """
    said = b""
    for piece in scripts(name)[script]:
        if piece == END_OF_TURN:
            break
        said += _raw(piece)
    return said.decode()


_ONE_PART = (
    "{%- for part in message.content %}"
    "{%- if part.text %}{%- set ns.text = ns.text + part.text %}{%- endif %}"
    "{%- endfor %}\n"
)

CHAT_TEMPLATE = (
    """\
{%- if tools %}
{{- '<|im_start|>system\\nTools:\\n' }}
{%- for tool in tools %}{{- tool | tojson }}{{- '\\n' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(text='') %}
{%- for message in messages %}
{%- set ns.text = '' %}
{%- if message.content is string %}{%- set ns.text = message.content %}
{%- elif message.content %}
"""
    + _ONE_PART
    + """\
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + ns.text }}
{%- if message.tool_calls %}
{%- for call in message.tool_calls %}
{%- set tool_call = call.function if call.function else call %}
{{- '<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
{{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if '[loop]' in ns.text %}{{- '<|loop|>' }}
{%- elif '[unicode]' in ns.text %}{{- '<|unicode|>' }}
{%- elif '[think]' in ns.text %}{{- '<|think|>' }}
{%- elif '[tool]' in ns.text %}{{- '<|tool|>' }}
{%- else %}{{- '<|say|>' }}
{%- endif %}
{%- endif %}
"""
)
"""Jinja; a marker such as ``[loop]`` in the last message chooses the script."""

_TRAINING_TEXT = """
A small node keeps one connection open and waits for work. When a request comes
it reads the prompt, runs the model and sends each token back as soon as it is
known. If the reader goes away the work stops. The memory of the machine is
limited, so only one model is kept at a time, and a model is put away before
another one is read from the store. Weights arrive in pieces; every piece is
checked before it is used. What is the weather in Paris today? Please count to
twenty, tell me a story about a river, and say hello to everyone in the room.
The quick brown fox jumps over the lazy dog while the system reports its state.
def main(): return {"name": "value", "list": [1, 2, 3]}  # code and numbers 0 1 2
user assistant system tool content role message answer question number request
"""


def _byte_alphabet() -> tuple[str, ...]:
    """A printable stand-in for each byte value, as GPT-2's byte-level BPE has them."""
    keeps = {*range(33, 127), *range(161, 173), *range(174, _BYTE_VALUES)}
    spare = iter(range(_BYTE_VALUES, 2 * _BYTE_VALUES))
    return tuple(chr(byte if byte in keeps else next(spare)) for byte in range(_BYTE_VALUES))


ALPHABET = _byte_alphabet()
"""Index: byte value. The first 256 tokens of every vocabulary."""


def _raw(piece: Piece) -> bytes:
    return bytes([piece]) if isinstance(piece, int) else piece.encode()


def _spelled(piece: Piece) -> str:
    return "".join(ALPHABET[byte] for byte in _raw(piece))


def _joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word with each occurrence of ``pair``, from the left, made one."""
    out: list[str] = []
    at = 0
    while at < len(word):
        step = 2 if word[at : at + 2] == pair else 1
        out.append("".join(word[at : at + step]))
        at += step
    return tuple(out)


def _learned_merges(most: int) -> list[tuple[str, str]]:
    """Byte-pair merges of the training text, the most frequent first."""
    found: list[str] = re.findall(r" ?\w+| ?[^\w\s]+|\s+", _TRAINING_TEXT)
    words = Counter(tuple(_spelled(word)) for word in found)
    merges: list[tuple[str, str]] = []
    while len(merges) < most:
        pairs = Counter[tuple[str, str]]()
        for word, seen in words.items():
            for pair in pairwise(word):
                pairs[pair] += seen
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] == 1:
            break
        merges.append(best)
        merged = Counter[tuple[str, ...]]()
        for word, seen in words.items():
            merged[_joined(word, best)] += seen
        words = merged
    return merges


@frozen
class Vocabulary:
    """The tokens of one checkpoint.

    Attributes:
        ids: Token to id, in the order of ids; specials and marks come last.
        merges: Byte-pair merges, the strongest first.
        successors: Script token to the one that follows it.
        greeting: Id of the token that a plain prompt leads to.
    """

    ids: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    successors: Mapping[int, int]
    greeting: int


def build_vocabulary(name: str, *, tokens: int) -> Vocabulary:
    """Lay out a vocabulary in which ``name``'s scripts can be told.

    Args:
        name: What the model calls itself.
        tokens: How many tokens there are to be.

    Raises:
        ValueError: The scripts do not fit, or one token would need two successors.
    """
    told = scripts(name)
    own = list(
        dict.fromkeys(
            _spelled(piece)
            for pieces in told.values()
            for piece in pieces
            if isinstance(piece, str) and piece not in SPECIAL and piece not in MARKS
        )
    )
    room = tokens - len(ALPHABET) - len(SPECIAL) - len(MARKS)
    merges = _usable_merges(own, tokens=tokens, most=room - len(own))
    made = [*ALPHABET, *(left + right for left, right in merges)]
    # a script word of one byte is in the alphabet already
    plain = list(dict.fromkeys([*made, *own]))
    spare = tokens - len(plain) - len(SPECIAL) - len(MARKS)
    if spare < 0:
        msg = f"a vocabulary of {tokens} tokens is too small by {-spare}"
        raise ValueError(msg)
    # added tokens come last: loaders number them after the model's own
    ordered = [*plain, *(f"<|unused_{i}|>" for i in range(spare)), *SPECIAL, *MARKS]
    ids = {token: number for number, token in enumerate(ordered)}
    successors = _successors(told, ids)
    return Vocabulary(ids, merges, successors, successors[ids[GREETING]])


def _usable_merges(own: Sequence[str], *, tokens: int, most: int) -> list[tuple[str, str]]:
    """Merges out of which no script token can come, in order."""
    taken = set(own)
    made = set(ALPHABET)
    merges: list[tuple[str, str]] = []
    for left, right in _learned_merges(_MERGES_TRIED_RATIO * tokens):
        if taken & {left, right, left + right} or not made >= {left, right}:
            continue
        if len(merges) >= most:
            break
        merges.append((left, right))
        made.add(left + right)
    return merges


def _successors(told: Mapping[str, Sequence[Piece]], ids: Mapping[str, int]) -> Mapping[int, int]:
    literal = {*SPECIAL, *MARKS}
    successors: dict[int, int] = {}
    for entry, pieces in told.items():
        chain = [ids[entry]]
        chain += [ids[str(p) if p in literal else _spelled(p)] for p in pieces]
        for here, there in pairwise(chain):
            if successors.setdefault(here, there) != there:
                msg = f"script token {here} would have two successors"
                raise ValueError(msg)
    return successors

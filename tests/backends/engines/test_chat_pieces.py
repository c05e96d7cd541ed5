"""Chunks of OpenAI-compatible servers, as pieces: what each kind of server counts, and breaks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines.base import Delta, Finished, Piece, Started, ToolCall, Usage
from poolhand.backends.engines.chat_pieces import AnswerBroken, Transcript

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def chunk(delta: dict[str, object] | None = None, finish: str | None = None, **more: object) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return json.dumps({"object": "chat.completion.chunk", "choices": choices, **more})


def read(*chunks: str, each: bool = True) -> list[Piece]:
    transcript = Transcript()
    pieces: list[Piece] = []
    for one in chunks:
        transcript.take(one)
        if each:
            pieces += transcript.pieces()
    return [*pieces, *transcript.end()]


PLAIN = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "a"}),
    chunk({"content": "b"}),
    chunk({}, "length"),
    chunk(usage=USAGE),
)


def test_a_server_that_counts_at_the_end_has_an_unknown_beginning() -> None:
    assert read(*PLAIN) == [
        Started(None),
        Delta("a", tokens=1),
        Delta("b", tokens=1),
        Delta(tokens=1),
        Finished("length", Usage(7, 3)),
    ]


def test_chunks_that_came_together_are_one_delta() -> None:
    assert read(*PLAIN, each=False) == [
        Started(7),
        Delta("ab", tokens=3),
        Finished("length", Usage(7, 3)),
    ]


@pytest.mark.parametrize("each", [True, False])
def test_a_character_that_comes_in_halves_is_said_whole(*, each: bool) -> None:
    pieces = read(
        chunk({"content": "up \ud83d", "reasoning_content": "so \ud83d"}),
        chunk({"content": "\ude80 away", "reasoning_content": "\ude80"}),
        chunk({"content": " \ud83d"}, "stop"),
        chunk(usage=USAGE),
        each=each,
    )
    deltas = [piece for piece in pieces if isinstance(piece, Delta)]
    assert "".join(delta.text for delta in deltas) == "up 🚀 away ", "half of one is none"
    assert "".join(delta.reasoning for delta in deltas) == "so 🚀"
    assert sum(delta.tokens for delta in deltas) == 3


def test_half_a_character_without_the_other_is_marked() -> None:
    (delta,) = [
        piece
        for piece in read(chunk({"content": "\ude80 \ud83d!"}, "stop"), chunk(usage=USAGE))
        if isinstance(piece, Delta) and piece.text
    ]
    assert delta.text == "\ufffd \ufffd!"


def test_a_tool_is_given_whole_characters() -> None:
    def part(arguments: str, **more: str) -> str:
        function = {"arguments": arguments, **more}
        return chunk({"tool_calls": [{"index": 0, "id": "c", "function": function}]})

    pieces = read(
        part('{"a": "\ud83d', name="f"),
        part('\ude80"}'),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    )
    (call,) = [call for piece in pieces if isinstance(piece, Delta) for call in piece.tool_calls]
    assert call == ToolCall("c", "f", '{"a": "🚀"}')


def test_usage_with_every_chunk_is_believed() -> None:
    def counted(answered: int) -> dict[str, object]:
        details = {"cached_tokens": 4}
        return {"prompt_tokens": 7, "completion_tokens": answered, "prompt_tokens_details": details}

    pieces = read(
        chunk({"role": "assistant"}, usage=counted(0)),
        chunk({"content": "two tokens"}, usage=counted(2)),
        chunk({"content": "!"}, "stop", usage=counted(3)),
        chunk(usage=counted(3)),
    )
    assert pieces == [
        Started(7),
        Delta("two tokens", tokens=2),
        Delta("!", tokens=1),
        Finished("stop", Usage(7, 3, cached_tokens=4)),
    ]


def test_llama_cpp_tells_of_the_prompt_first_and_times_each_token() -> None:
    unread = {"prompt_n": 0, "cache_n": 0, "predicted_n": 0}
    pieces = read(
        chunk(
            {"role": "assistant", "content": None},
            prompt_progress={"total": 9, "cache": 2},
            timings=unread,
        ),
        chunk({"content": "x"}, timings={"prompt_n": 7, "cache_n": 2, "predicted_n": 2}),
        chunk({}, "stop", timings={"prompt_n": 7, "cache_n": 2, "predicted_n": 3}),
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 3}),
    )
    assert pieces[0] == Started(9)
    assert pieces[1:] == [
        Delta("x", tokens=2),
        Delta(tokens=1),
        Finished("stop", Usage(9, 3, cached_tokens=2)),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_under_either_name(name: str) -> None:
    details = {"reasoning_tokens": 1}
    usage = {**USAGE, "completion_tokens_details": details}
    pieces = read(chunk({name: "hm"}), chunk({"content": "42"}, "stop"), chunk(usage=usage))
    assert [(p.reasoning, p.text) for p in pieces if isinstance(p, Delta)] == [
        ("hm", ""),
        ("", "42"),
        ("", ""),
    ]
    assert pieces[-1] == Finished("stop", Usage(7, 3, 1))


def test_a_tool_call_is_whole_when_it_is_told() -> None:
    def part(index: int, **function: str) -> dict[str, object]:
        named = {"id": f"c{index}"} if "name" in function else {}
        return {"tool_calls": [{"index": index, **named, "function": function}]}

    pieces = read(
        chunk(part(0, name="get", arguments="")),
        chunk(part(0, arguments='{"a"')),
        chunk(part(0, arguments=":1}")),
        chunk(part(1, name="put")),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    )
    calls = (ToolCall("c0", "get", '{"a":1}'), ToolCall("c1", "put", "{}"))
    assert pieces[1:] == [Delta("", "", calls, 4), Finished("tool_calls", Usage(7, 3))]


def part(
    arguments: object = "", name: str | None = None, call_id: str | None = None, **more: object
) -> dict[str, object]:
    """A part of a call, with what its server says of it and nothing else."""
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"function": function} | ({} if call_id is None else {"id": call_id}) | more


X, Y = '{"x":1}', '{"y":2}'


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([[part(X, "f")], [part(Y, "g")]], id="whole, unnumbered"),
        pytest.param([[part(X, "f"), part(Y, "g")]], id="whole in one chunk, unnumbered"),
        pytest.param(
            [[part(X, "f", "a", index=0)], [part(Y, "g", "b", index=0)]], id="all numbered 0"
        ),
        pytest.param(
            [[part(X, "f", index=0), part(Y, "g", index=0)]], id="all numbered 0, without ids"
        ),
        pytest.param(
            [[part('{"x"', "f", "a")], [part(":1}")], [part('{"y"', "g", "b")], [part(":2}", "")]],
            id="in parts, unnumbered",
        ),
        pytest.param(
            [
                [part("", "f", "a", index=0)],
                [part(X, None, "another", index=0)],
                [part("", "g", "b", index=1)],
                [part(Y, None, "one more", index=1)],
            ],
            id="each part with an id of its own",
        ),
        pytest.param(
            [
                [part("", "f", "a", index=0)],
                [part('{"x"', "f", "a", index=0), part('{"y"', "g", "b", index=1)],
                [part(":2}", "g", "b", index=1), part(":1}", "f", "a", index=0)],
            ],
            id="side by side, each part named",
        ),
    ],
)
def test_two_calls_stay_two_however_they_are_numbered(
    chunks: list[list[dict[str, object]]],
) -> None:
    told = [chunk({"tool_calls": parts}) for parts in chunks]
    pieces = read(*told, chunk({}, "tool_calls"), chunk(usage=USAGE))
    calls = [call for piece in pieces if isinstance(piece, Delta) for call in piece.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [("f", X), ("g", Y)]
    assert len({call.id for call in calls}) == 2


def test_two_calls_of_one_function_without_ids_stay_two() -> None:
    pieces = read(
        chunk({"tool_calls": [part(X, "f"), part(Y, "f")]}),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    )
    assert isinstance(pieces[1], Delta)
    assert [call.arguments for call in pieces[1].tool_calls] == [X, Y]


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [part({"x": [1, "é"]}, "f", "a", index=0)]},
        {"function_call": {"name": "f", "arguments": '{"x": [1, "é"]}'}},
    ],
)
def test_arguments_may_be_an_object_and_a_call_the_only_one(delta: dict[str, object]) -> None:
    pieces = read(chunk(delta), chunk({}, "function_call"), chunk(usage=USAGE))
    assert isinstance(pieces[1], Delta)
    (call,) = pieces[1].tool_calls
    assert (call.name, json.loads(call.arguments)) == ("f", {"x": [1, "é"]})
    assert pieces[-1] == Finished("tool_calls", Usage(7, 3))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("eos_token", "stop"),
        ("STOP", "stop"),
        ("model_length", "length"),
        ("tool_use", "tool_calls"),
    ],
)
def test_an_end_is_understood_in_other_servers_words(said: str, meant: str) -> None:
    assert read(chunk({"content": "a"}, said), chunk(usage=USAGE))[-1] == Finished(
        meant,  # type: ignore[arg-type] - one of the reasons
        Usage(7, 3),
    )


def test_an_answer_in_one_message_is_heard() -> None:
    message = {"role": "assistant", "content": "Hi"}
    one = {"index": 0, "message": message, "finish_reason": "stop"}
    pieces = read(json.dumps({"choices": [one], "usage": USAGE}))
    assert pieces == [Started(7), Delta("Hi", tokens=3), Finished("stop", Usage(7, 3))]


def test_a_message_that_says_it_all_again_is_not_heard_twice() -> None:
    message = {"role": "assistant", "content": "Hi", "tool_calls": [part(X, "f", "a")]}
    last = {"index": 0, "message": message, "finish_reason": "stop"}
    pieces = read(chunk({"content": "Hi"}), json.dumps({"choices": [last], "usage": USAGE}))
    assert [p.text for p in pieces if isinstance(p, Delta) and p.text] == ["Hi"]
    assert not any(p.tool_calls for p in pieces if isinstance(p, Delta))


def test_the_count_alone_after_the_end_is_the_last_word_and_before_it_is_not() -> None:
    transcript = Transcript()
    transcript.take(chunk(usage=None, prompt_filter_results=[]))
    transcript.take(chunk({"content": "a"}, usage=USAGE))
    transcript.take(chunk(usage=USAGE))
    assert not transcript.is_over
    transcript.take(chunk({}, "stop"))
    assert not transcript.is_over, "more may be said, and its count"
    transcript.take(chunk(usage=USAGE))
    assert transcript.is_over


def test_a_text_completion_has_its_text_beside_the_reason() -> None:
    one = {"index": 0, "text": "Hi", "finish_reason": "length"}
    pieces = read(json.dumps({"choices": [one], "usage": USAGE}))
    assert pieces == [Started(7), Delta("Hi", tokens=3), Finished("length", Usage(7, 3))]


def test_an_answer_without_a_word_still_begins() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 0}
    pieces = read(chunk({}, "stop"), chunk(usage=usage), each=False)
    assert pieces == [Started(7), Finished("stop", Usage(7, 0))]


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        (PLAIN[:3], "without a finish reason"),
        (PLAIN[:4], "how many tokens"),
        ((), "without a finish reason"),
        ((PLAIN[1], chunk({}, "stop"), chunk(usage={**USAGE, "completion_tokens": 0})), "how many"),
        (("{",), "no JSON"),
        (("[" * 100_000,), "no JSON"),
        (("[1]",), "no JSON object"),
        ((json.dumps({"error": {"message": "canary"}}),), "with an error"),
        ((chunk({"content": "canary"}, "abort"),), "gave the answer up"),
        ((chunk({}, "canary"),), "gave the answer up"),
        ((chunk({"tool_calls": [{"index": 0}]}, "stop"), chunk(usage=USAGE)), "names no function"),
    ],
)
def test_what_is_not_whole_is_broken_and_quotes_nothing(
    chunks: tuple[str, ...], words: str
) -> None:
    with pytest.raises(AnswerBroken, match=words) as broken:
        read(*chunks)
    assert "canary" not in str(broken.value)


FIELDS = [
    *("choices", "delta", "content", "tool_calls", "usage", "timings", "function", "text"),
    *("prompt_tokens", "finish_reason", "index", "prompt_progress", "id", "name"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.lists(JSON, max_size=4))
@settings(max_examples=200)
def test_no_json_does_anything_but_break_or_count_up(values: list[object]) -> None:
    try:
        pieces = read(*(json.dumps(value) for value in values))
    except AnswerBroken:
        return
    assert isinstance(pieces[-1], Finished)
    assert all(piece.tokens >= 0 for piece in pieces if isinstance(piece, Delta))


@given(st.lists(st.text(max_size=4), max_size=12), st.lists(st.booleans(), max_size=12))
@settings(max_examples=100)
def test_nothing_is_lost_however_the_chunks_are_gathered(
    texts: list[str], looks: list[bool]
) -> None:
    transcript, pieces = Transcript(), list[Piece]()
    for place, text in enumerate(texts):
        transcript.take(chunk({"content": text}))
        if place < len(looks) and looks[place]:
            pieces += transcript.pieces()
    transcript.take(chunk({}, "stop"))
    transcript.take(chunk(usage={"prompt_tokens": 1, "completion_tokens": len(texts)}))
    pieces += transcript.end()
    deltas = [piece for piece in pieces if isinstance(piece, Delta)]
    assert "".join(delta.text for delta in deltas) == "".join(texts)
    assert sum(delta.tokens for delta in deltas) == len(texts)
    assert [type(piece) for piece in pieces].count(Started) == 1
    assert isinstance(pieces[0], Started)
    assert isinstance(pieces[-1], Finished)


def test_no_repr_shows_what_was_said() -> None:
    transcript = Transcript()
    transcript.take(chunk({"content": "canary"}))
    assert "canary" not in repr(transcript) + repr(transcript.pieces())

"""How much of a prompt is read at once, beside answers and alone."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.stride import FIRST_TOKENS, LEAST_TOKENS, Stride


def machine(stride: Stride, *, token_s: float, decode_s: float = 0.01, steps: int = 30) -> float:
    """Read one long prompt beside an answer; the longest pause after the first few steps."""
    stride.stepped(decode_s, read_tokens=0, decoded=1)
    pauses: list[float] = []
    for _ in range(steps):
        pauses.append(stride.tokens * token_s)
        stride.stepped(decode_s + pauses[-1], read_tokens=stride.tokens, decoded=1)
    return max(pauses[5:])


def test_alone_it_reads_all_that_it_may() -> None:
    stride = Stride(most_tokens=512, pause_s=0.1)
    assert stride.tokens == 512
    stride.stepped(3.0, read_tokens=512, decoded=0)
    assert stride.tokens == 512, "nobody waits"


def test_beside_an_answer_it_begins_small_and_is_alone_again_when_that_ended() -> None:
    stride = Stride(most_tokens=512, pause_s=0.1)
    stride.stepped(0.01, read_tokens=0, decoded=2)
    assert stride.tokens == FIRST_TOKENS
    stride.stepped(0.01, read_tokens=0, decoded=2, ended=2)
    assert stride.tokens == 512


def test_a_fast_machine_reads_much_at_once_and_a_slow_one_little() -> None:
    fast = Stride(most_tokens=512, pause_s=0.1)
    machine(fast, token_s=0.0001)
    assert fast.tokens == 512
    slow = Stride(most_tokens=512, pause_s=0.1)
    machine(slow, token_s=1.0)
    assert slow.tokens == LEAST_TOKENS


def test_the_short_end_of_a_prompt_tells_nothing_of_a_long_one() -> None:
    stride = Stride(most_tokens=512, pause_s=0.1)
    stride.stepped(0.01, read_tokens=0, decoded=1)
    for _ in range(20):
        stride.stepped(0.011, read_tokens=5, decoded=1)
    assert stride.tokens == FIRST_TOKENS


@given(
    token_s=st.floats(1e-6, 1e-2),
    decode_s=st.floats(1e-4, 1.0),
    most=st.integers(16, 8192),
    pause_s=st.floats(0.01, 1.0),
)
def test_pauses_keep_to_what_is_wanted_as_far_as_the_least_allows(
    token_s: float, decode_s: float, most: int, pause_s: float
) -> None:
    stride = Stride(most_tokens=most, pause_s=pause_s)
    longest = machine(stride, token_s=token_s, decode_s=decode_s)
    assert longest <= max(pause_s, LEAST_TOKENS * token_s) * 1.01
    assert min(LEAST_TOKENS, most) <= stride.tokens <= most

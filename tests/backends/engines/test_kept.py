"""What finished answers leave behind, and which of it a new prompt may begin from."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.kept import Kept, Layers

Prompts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=12)


def cut(layers: Layers, tokens: int) -> Layers:
    """As a library does it: here a layer is its tokens."""
    return layers[: len(layers) - tokens]


def whole_only(layers: Layers, tokens: int) -> Layers | None:
    return None if tokens else list(layers)


def kept(most_bytes: int, *answers: Sequence[int]) -> Kept:
    made = Kept(most_bytes=most_bytes, shortened=cut)
    for tokens in answers:
        made.keep(tokens, list(tokens), len(tokens))
    return made


def test_a_chat_that_goes_on_begins_where_its_last_answer_ended() -> None:
    made = kept(100, [1, 2, 3, 4])
    assert made.find([1, 2, 3, 4, 5, 6]) == (4, [1, 2, 3, 4])


def test_a_chat_that_turns_off_begins_where_it_does() -> None:
    assert kept(100, [1, 2, 3, 4], [1, 2, 9]).find([1, 2, 3, 7, 7]) == (3, [1, 2, 3])


def test_the_same_prompt_again_reads_its_last_token() -> None:
    assert kept(100, [1, 2, 3]).find([1, 2, 3]) == (2, [1, 2])
    assert kept(100, [1, 2, 3]).find([1]) == (0, None)


def test_what_cannot_be_shortened_is_taken_whole_or_not_at_all() -> None:
    made = Kept(most_bytes=100, shortened=whole_only)
    made.keep([1, 2, 3, 4], [1, 2, 3, 4], 4)
    made.keep([1, 2], [1, 2], 2)
    assert made.find([1, 2, 3, 9]) == (2, [1, 2])
    assert made.find([1, 9]) == (0, None)


def test_a_longer_answer_takes_the_place_of_its_own_beginning() -> None:
    made = kept(100, [1, 2], [1, 2, 3], [4])
    assert made.held_bytes == 4


def test_the_longest_unused_goes_first() -> None:
    made = kept(6, [1, 1], [2, 2], [3, 3])
    made.find([1, 1, 0])
    made.keep([4, 4], [4, 4], 2)
    assert made.find([2, 2, 0]) == (0, None)
    assert made.find([1, 1, 0]) == (2, [1, 1])


def test_one_that_is_too_large_drives_nobody_out() -> None:
    made = kept(4, [1, 1], [2] * 5)
    assert made.held_bytes == 2
    assert made.find([1, 1, 0]) == (2, [1, 1])


def test_without_room_nothing_is_kept() -> None:
    made = kept(0, [1, 2, 3])
    assert (made.held_bytes, made.find([1, 2, 3])) == (0, (0, None))


@given(answers=Prompts, asked=st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_what_is_found_is_the_longest_there_is_and_the_bound_holds(
    answers: list[list[int]], asked: list[int]
) -> None:
    made = kept(20, *answers)
    assert 0 <= made.held_bytes <= 20
    known, layers = made.find(asked)
    assert known < len(asked)
    assert layers == (asked[:known] or None)
    if sum(map(len, answers)) <= 20:
        longest = max((common(one, asked[:-1]) for one in answers), default=0)
        assert known == longest


def common(one: Sequence[int], other: Sequence[int]) -> int:
    for at, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return at
    return min(len(one), len(other))

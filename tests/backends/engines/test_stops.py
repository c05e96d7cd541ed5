"""Stop words: the same text for every cut, and never a part of one shown."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.engines.stops import Stops

texts = st.text(alphabet="abc", max_size=30)
words = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3)


def shown(pieces: list[str], stop_words: list[str]) -> tuple[str, bool]:
    stops = Stops(stop_words)
    text = "".join([stops.take(piece) for piece in pieces])
    return text + stops.rest(), stops.is_met


@given(texts, words, st.lists(st.integers(0, 30), max_size=6))
def test_the_cut_does_not_matter(text: str, stop_words: list[str], cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert shown(pieces, stop_words) == shown([text], stop_words)


@given(texts, words)
def test_what_is_shown_is_the_text_up_to_a_stop_word(text: str, stop_words: list[str]) -> None:
    said, is_met = shown(list(text), stop_words)
    assert text.startswith(said)
    assert is_met == any(word in text for word in stop_words)
    assert not any(word in said for word in stop_words)
    assert is_met or said == text


def test_nothing_that_may_begin_a_stop_word_is_shown_too_early() -> None:
    stops = Stops(["END"])
    assert [stops.take(piece) for piece in ("a E", "N", "T E", "ND b", "c")] == [
        "a ",
        "",
        "ENT ",
        "",
        "",
    ]
    assert stops.is_met
    assert stops.rest() == ""

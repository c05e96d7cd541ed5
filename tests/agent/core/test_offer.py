"""What the coordinator was told of our offer, and when only a new line can mend it."""

from poolhand.agent.core.offer import Offer
from poolhand.config.settings import Settings
from tests.journeys.world import settings


def with_words(label: str = "poolhand", **coordinator: object) -> Settings:
    url = {"url": "ws://127.0.0.1:8080"}
    return settings(coordinator={**url, **coordinator}, wire={"backend_label": label})


def test_a_word_of_the_line_needs_a_new_one_and_a_word_taken_back_does_not() -> None:
    first = with_words()
    offer = Offer(first)
    changed, back = with_words("other"), with_words()
    stale = [offer.is_stale(each, ()) for each in (first, changed, changed, back, changed)]
    assert stale == [False, True, True, False, True]
    offer.dialled(changed)
    assert not offer.is_stale(changed, ())
    assert offer.is_stale(back, ())


def test_a_beat_is_changed_on_the_line_that_stands() -> None:
    offer = Offer(with_words())
    assert not offer.is_stale(with_words(heartbeat_interval_s=1.0), ())
    assert offer.is_stale(with_words(heartbeat_interval_s=1.0, ping_interval_s=1.0), ())

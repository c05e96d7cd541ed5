"""What many threads count is told in whole, now and then, one at a time."""

import threading

from poolhand.agent.weights.telling import Telling


def test_all_that_was_counted_is_told() -> None:
    told: list[int] = []
    telling = Telling(lambda done, _: told.append(done), tick_s=0.0)
    for count in (0, 3, 4):
        telling(count)
    assert told == [0, 3, 7]


def test_not_each_time() -> None:
    told: list[int] = []
    telling = Telling(lambda done, _: told.append(done), tick_s=3600.0)
    for _ in range(9):
        telling(1)
    assert told == [1]


def test_from_many_threads_one_at_a_time_and_ever_more() -> None:
    told: list[int] = []
    is_free = threading.Lock()

    def tell(done: int, _now_s: float) -> None:
        assert is_free.acquire(blocking=False)
        told.append(done)
        is_free.release()

    telling = Telling(tell, tick_s=0.0)
    threads = [threading.Thread(target=lambda: [telling(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == list(range(1, 2001))

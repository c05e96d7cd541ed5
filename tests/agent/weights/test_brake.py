"""One rate for all: rests are owed together, and end when somebody asks to stop."""

import threading
import time

import pytest

from poolhand.agent.weights.brake import Brake
from poolhand.agent.weights.digests import Interrupted


def test_without_a_rate_nobody_rests() -> None:
    brake = Brake(None, threading.Event())
    assert brake.rate_bytes_s is None
    for _ in range(100):
        brake.pay(2**40)


def test_several_pay_into_one_purse() -> None:
    brake = Brake(1_000_000, threading.Event())
    begun_s = time.monotonic()
    payers = [threading.Thread(target=brake.pay, args=(250_000,)) for _ in range(4)]
    for payer in payers:
        payer.start()
    for payer in payers:
        payer.join()
    assert time.monotonic() - begun_s >= 0.7, "a second's worth, less what a slow start may make up"


def test_a_rest_under_way_hears_of_another_rate_and_of_the_end() -> None:
    stopped = threading.Event()
    brake = Brake(1, stopped)
    ended: list[bool] = []

    def pay() -> None:
        with pytest.raises(Interrupted):
            brake.pay(10**9)
        ended.append(True)

    payer = threading.Thread(target=pay)
    payer.start()
    brake.limit(2)
    assert brake.rate_bytes_s == 2
    stopped.set()
    payer.join(20)
    assert ended == [True]
    with pytest.raises(Interrupted):
        Brake(None, stopped).pay(1)

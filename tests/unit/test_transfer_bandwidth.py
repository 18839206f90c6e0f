from datetime import UTC, datetime

import pytest

from ckpt_archive.errors import ThrottledError
from ckpt_archive.transfer.bandwidth import Limiter


class HandClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_bytes_are_paid_for_before_the_next_part_begins() -> None:
    clock = HandClock()
    limiter = Limiter(clock, 100, 8)
    for _ in range(4):
        with limiter.part(50):
            pass
    assert clock.seconds == pytest.approx(1.5)


def test_idle_time_is_not_saved_up() -> None:
    clock = HandClock()
    limiter = Limiter(clock, 100, 8)
    clock.sleep(1_000)
    for _ in range(3):
        with limiter.part(100):
            pass
    assert clock.seconds == pytest.approx(1_002)


def throttle(limiter: Limiter) -> None:
    with pytest.raises(ThrottledError), limiter.part(1):
        raise ThrottledError("slow down")


def test_throttling_halves_the_parts_in_flight_and_success_adds_them_slowly() -> None:
    clock = HandClock()
    limiter = Limiter(clock, None, 8)
    throttle(limiter)
    assert limiter.allowed_in_flight == 4
    clock.sleep(2)
    throttle(limiter)
    assert limiter.allowed_in_flight == 2
    for _ in range(2 + 3):
        with limiter.part(1):
            pass
    assert limiter.allowed_in_flight == 4
    for _ in range(100):
        with limiter.part(1):
            pass
    assert limiter.allowed_in_flight == 8


def test_many_refusals_at_once_are_one_sign_of_congestion_and_one_part_always_may_go() -> None:
    clock = HandClock()
    limiter = Limiter(clock, None, 8)
    for _ in range(5):
        throttle(limiter)
    assert limiter.allowed_in_flight == 4
    for _ in range(9):
        clock.sleep(2)
        throttle(limiter)
    assert limiter.allowed_in_flight == 1

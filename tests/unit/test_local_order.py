"""Which checkpoints may go, case by case. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ckpt_archive.contribution import Contribution
from ckpt_archive.local.order import complete_groups, evictable, thin
from ckpt_archive.local.sealed import Seal
from ckpt_archive.strictjson import Json

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Held:
    launch: int
    step: int
    rank: int
    seal: Seal
    is_pinned: bool = False
    has_receipt: bool = False
    reason: Mapping[str, Json] | None = None

    def promotion(self) -> Mapping[str, Json]:
        return self.reason or {}


def held(
    launch: int,
    step: int,
    *,
    rank: int = 0,
    saves: int | None = None,
    writers: int = 1,
    pinned: bool = False,
    receipt: bool = False,
    ordinal: Json = None,
) -> Held:
    seal = Seal("r", launch, step, rank, step if saves is None else saves, Contribution("k", writers, NOW), ())
    reason = None if ordinal is None else {"ordinal": ordinal}
    return Held(launch, step, rank, seal, pinned, receipt, reason)


def test_after_a_roll_back_the_smaller_steps_are_the_newer_ones() -> None:
    shares = [held(0, step) for step in (1300, 1400, 1500)] + [held(1, 1001, saves=1501), held(1, 1002, saves=1502)]
    assert evictable(shares, 3) == [(0, 1300), (0, 1400)]


def test_of_one_writer_everything_is_complete_at_once() -> None:
    assert complete_groups([held(0, 1), held(1, 2)], 3) == [(1, 2), (0, 1)]
    assert evictable([held(0, 1), held(1, 2)], 1) == [(0, 1)]


def test_the_first_checkpoint_of_one_rank_of_many_proves_nothing() -> None:
    shares = [held(0, 5, rank=3, writers=8), held(1, 1, rank=3, writers=8, saves=6)]
    assert complete_groups(shares, 1) == []
    assert evictable(shares, 1) == []
    shares += [held(1, 2, rank=3, writers=8, saves=7)]
    assert complete_groups(shares, 1) == [(1, 2), (1, 1)]
    assert evictable(shares, 1) == [(0, 5), (1, 1)]


def test_the_ranks_of_the_launch_before_are_waited_for_at_first() -> None:
    before = [held(0, step, rank=rank, writers=8) for step in (4, 5) for rank in (0, 1)]
    after = [held(1, step, rank=1, writers=8, saves=5 + step) for step in range(1, 5)]
    assert complete_groups(before + after[:3], 1) == [(0, 5), (0, 4)]
    assert evictable(before + after[:3], 1) == [(0, 4)]
    # The fourth is more than a straggler explains: rank 0 works elsewhere now.
    assert complete_groups(before + after, 1)[0] == (1, 4)
    other_size = [held(1, step, rank=1, writers=4, saves=5 + step) for step in (1, 2)]
    assert complete_groups(before + other_size, 1)[0] == (1, 2)


def test_a_lagging_rank_holds_its_checkpoint_back_and_a_silent_one_does_not_for_ever() -> None:
    both = [held(0, 1, rank=rank, writers=2) for rank in (0, 1)]
    alone = [held(0, step, rank=0, writers=2) for step in range(2, 7)]
    assert evictable(both + alone[:2], 1) == []
    assert complete_groups(both + alone[:2], 1) == [(0, 1)]
    assert evictable(both + alone, 1) == [(0, step) for step in range(1, 6)]


def test_a_rank_that_counts_from_elsewhere_is_not_taken_for_old() -> None:
    shares = [held(0, step, rank=0, saves=step, writers=2) for step in (98, 99, 100)]
    # Rank 1 is new on this node: its first save of step 101 comes before that of rank 0.
    shares += [held(0, 101, rank=1, saves=1, writers=2)]
    assert (0, 101) not in evictable(shares, 1)
    shares += [held(0, 101, rank=0, saves=101, writers=2)]
    assert evictable(shares, 1) == [(0, 98), (0, 99), (0, 100)]


@pytest.mark.parametrize("keep", [0, 1, -5])
def test_the_newest_complete_one_stays_whatever_is_asked(keep: int) -> None:
    assert evictable([held(0, 1), held(0, 2)], keep) == [(0, 1)]


def test_pinned_and_protected_ones_stay_as_a_whole() -> None:
    shares = [
        held(0, step, rank=rank, writers=2, pinned=(step, rank) == (1, 1)) for step in range(1, 5) for rank in (0, 1)
    ]
    assert evictable(shares, 1) == [(0, 2), (0, 3)]
    assert evictable(shares, 1, {(0, 2)}) == [(0, 3)]


def test_nothing_may_go_from_an_empty_ring() -> None:
    assert evictable([], 3) == []
    assert thin([]) == []


def test_odd_ordinals_are_given_up_first_and_the_newest_is_kept() -> None:
    shares = [held(0, ordinal * 100, pinned=True, ordinal=ordinal) for ordinal in range(9)]
    assert [step // 100 for _, step in thin(shares)] == [1, 3, 5, 7, 2, 6, 4, 0]


def test_what_has_a_receipt_or_waits_for_nothing_is_not_given_up() -> None:
    shares = [
        held(0, 1, pinned=True, ordinal=1, rank=0, writers=2),
        held(0, 1, pinned=True, ordinal=1, rank=1, writers=2, receipt=True),
        held(0, 2, ordinal=2),
        held(0, 3, pinned=True, ordinal=3),
        held(0, 4, pinned=True, ordinal=4),
        held(0, 5, pinned=True, ordinal=5),
    ]
    assert thin(shares) == [(0, 3), (0, 4)]


@pytest.mark.parametrize("ordinal", [None, "1", True, -1, 1.0])
def test_promotions_without_an_ordinal_go_last(ordinal: Json) -> None:
    shares = [
        held(0, 1, pinned=True, ordinal=ordinal),
        held(0, 2, pinned=True, ordinal=0),
        held(0, 3, pinned=True, ordinal=1),
    ]
    assert thin([*shares, held(0, 9, pinned=True)]) == [(0, 3), (0, 2), (0, 1)]

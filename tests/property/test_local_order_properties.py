"""Eviction and thinning, for any ring."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

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
    is_pinned: bool
    has_receipt: bool
    ordinal: int | None

    def promotion(self) -> Mapping[str, Json]:
        return {} if self.ordinal is None else {"ordinal": self.ordinal}

    @property
    def group(self) -> tuple[int, int]:
        return self.launch, self.step


@st.composite
def rings(draw: st.DrawFn) -> list[Held]:
    """Ranks of one node, each saving in the order of the launch's steps but missing some, with counts of its own."""
    ranks = draw(st.integers(1, 3))
    writers = draw(st.sampled_from([ranks, ranks + 3]))
    counts = [draw(st.integers(0, 50)) for _ in range(ranks)]
    shares = []
    for launch in range(draw(st.integers(1, 3))):
        for step in draw(st.lists(st.integers(0, 30), unique=True, max_size=6)):
            ordinal = draw(st.none() | st.integers(0, 40))
            for rank in range(ranks):
                if draw(st.integers(0, 5)):
                    counts[rank] += 1
                    seal = Seal("r", launch, step, rank, counts[rank], Contribution("k", writers, NOW), ())
                    pinned = draw(st.booleans())
                    shares.append(Held(launch, step, rank, seal, pinned, draw(st.integers(0, 4)) == 0, ordinal))
    return draw(st.permutations(shares))


@given(rings(), st.integers(1, 4))
def test_what_must_stay_stays(shares: list[Held], keep: int) -> None:
    gone = evictable(shares, keep)
    complete = complete_groups(shares, keep)
    assert not set(gone) & set(complete[:keep])
    assert not set(gone) & {share.group for share in shares if share.is_pinned}
    assert not gone or len(complete) >= keep
    assert len(set(gone)) == len(gone)


@given(rings(), st.integers(1, 4))
def test_evicting_is_done_after_once(shares: list[Held], keep: int) -> None:
    gone = set(evictable(shares, keep))
    rest = [share for share in shares if share.group not in gone]
    assert set(complete_groups(shares, keep)[:keep]) <= {share.group for share in rest}
    assert evictable(rest, keep) == []


@given(rings(), st.integers(1, 4))
def test_the_order_in_which_shares_are_found_does_not_matter(shares: list[Held], keep: int) -> None:
    other = sorted(shares, key=lambda share: (share.rank, share.step))
    assert evictable(shares, keep) == evictable(other, keep)
    assert thin(shares) == thin(other)


@given(rings())
def test_thinning_gives_up_only_what_waits_and_never_the_newest(shares: list[Held]) -> None:
    order = thin(shares)
    pinned = {share.group for share in shares if share.is_pinned}
    assert set(order) <= pinned
    assert not set(order) & {share.group for share in shares if share.is_pinned and share.has_receipt}
    assert not pinned or pinned - set(order)


@given(st.lists(st.integers(1, 60), unique=True, min_size=2), st.integers(0, 40))
def test_nodes_that_see_different_backlogs_give_up_in_the_same_order(ordinals: list[int], missing: int) -> None:
    """A node that lacks one promotion keeps the others in the order of its peers."""

    def order(present: list[int]) -> list[int]:
        shares = []
        for ordinal in sorted(present):
            seal = Seal("r", 0, ordinal * 10, 0, ordinal, Contribution("k", 2, NOW), ())
            shares.append(Held(0, ordinal * 10, 0, seal, True, False, ordinal))
        return [step // 10 for _, step in thin(shares)]

    newest = max(ordinals)
    left = [ordinal for ordinal in ordinals if ordinal != missing or ordinal == newest]
    assert order(left) == [ordinal for ordinal in order(ordinals) if ordinal in left]

"""What becomes of a checkpoint, told by names alone: in any order, and whatever takes back or holds never hastens an end."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.commit import fate
from ckpt_archive.commit.fate import Fate, Pass, fold

START = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = ("daily.365d", "trash.7d", "milestone.forever", "minutely.2d.GLACIER-1d")

generations = st.integers(0, 3)
days = st.integers(0, 6).map(lambda days: START + timedelta(days=days))
tags = st.sampled_from(TAGS)
cases = st.sampled_from(["A", "ABC.1", "x-0001-held"])
numbers = st.integers(1, 4)
ends = st.builds(fate.end_name, generations, st.none() | days, tags)
back = st.builds(fate.word_name, generations, st.sampled_from(["revoked", "cleared"]))
held = st.builds(lambda case, number: fate.case_name(case, number, held=True), cases, numbers)
released = st.builds(lambda case, number: fate.case_name(case, number, held=False), cases, numbers)
passes = st.builds(
    lambda second, word: fate.pass_name(Pass(START + timedelta(seconds=second), "ab"), ended=word),
    st.integers(0, 3),
    st.booleans(),
)
others = st.one_of(
    st.builds(fate.tagged_name, generations, tags),
    st.builds(fate.word_name, generations, st.just("ended")),
    st.builds(fate.class_statement_name, numbers, st.sampled_from(["", "daily", "milestone"])),
    released,
    passes,
)
ours = st.one_of(ends, back, held, others).map(lambda name: f"{name}.json")
strangers = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "0000-ends-20271399-daily.365d.json",
            "0000-ends-20270203-daily.365d",
            "0000-ends-20270203-.json",
            "0-revoked.json",
            "0000-Revoked.json",
            "class-0001-Daily.json",
            "case--0001-held.json",
            "case-ABC-1-held.json",
            f"pass-{'9' * 20}-ab-begun.json",
            f"{chr(0x660) * 4}-revoked.json",
            "0000-revoked.json\n",
        ]
    ),
)
moments = st.integers(-2, 8).map(lambda days: START + timedelta(days=days))
names = st.lists(ours, max_size=12)


@given(names, st.randoms(use_true_random=False))
def test_the_order_in_which_statements_list_or_came_does_not_matter(said: list[str], random: object) -> None:
    shuffled = [*said, *said[:3]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(shuffled) == fold(said)


@given(names, st.lists(st.one_of(back, held).map(lambda name: f"{name}.json"), min_size=1, max_size=4), moments)
def test_taking_back_or_holding_never_makes_anything_end_sooner(
    said: list[str], more: list[str], now: datetime
) -> None:
    before, after = fold(said), fold([*said, *more])
    assert before.is_over(now) or not after.is_over(now)
    assert before.ends_at is not None or after.ends_at is None
    assert set(before.cases) <= set(after.cases)


@given(names, moments)
def test_releasing_ends_nothing_by_itself(said: list[str], now: datetime) -> None:
    without = [name for name in said if not name.startswith("case-")]
    assert fold(said).is_over(now) == fold(without).is_over(now)


@given(names, st.lists(strangers, max_size=5))
def test_what_nobody_of_ours_wrote_is_named_and_counts_for_nothing(said: list[str], foreign: list[str]) -> None:
    clean, mixed = fold(said), fold([*said, *foreign])
    assert mixed == clean  # `strange` is not compared
    assert clean.strange == ()
    assert list(mixed.strange) == sorted(foreign)


@given(st.lists(st.tuples(st.none() | days, tags, st.booleans()), min_size=1, max_size=4), st.data())
def test_a_listing_that_was_made_while_an_end_was_taken_back_and_said_anew_tells_one_of_the_two(
    told: list[tuple[datetime | None, str, bool]], data: st.DataObject
) -> None:
    """Pages are told at different times: the later statement may be there, and the one before it not."""
    said: list[str] = []
    states: list[Fate] = [fold(())]
    for generation, (ends_at, tag, is_tagged) in enumerate(told):
        steps = [fate.end_name(generation, ends_at, tag)]
        steps += [fate.tagged_name(generation, tag)] if is_tagged else []
        steps += [fate.word_name(generation, "revoked"), fate.word_name(generation, "cleared")]
        for name in steps[: None if generation < len(told) - 1 else data.draw(st.integers(1, len(steps)))]:
            said.append(f"{name}.json")
            states.append(fold(said))
    possible = {(state.generation, state.ends_at) for state in states}
    listed = sorted(said)
    cut = data.draw(st.integers(0, len(listed)))
    # What lists before the cut was told when less had been said.
    early = set(said[: data.draw(st.integers(0, len(said)))])
    seen = [name for index, name in enumerate(listed) if index >= cut or name in early]
    found = fold(seen)
    assert (found.generation, found.ends_at) in possible

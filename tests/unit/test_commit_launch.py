"""A launch gets exactly one number, whoever asks for it, how often, and whatever dies meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import Standing, latest, standing
from ckpt_archive.commit.launch import (
    Fallback,
    Launch,
    LaunchRequest,
    Resumption,
    open_launch,
    push_key,
    watch_key,
)
from ckpt_archive.commit.marker import Marker, read_marker, write_marker
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Listing, Store
from ckpt_archive.testing.archives import content
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.hooked import HookedStore, Request


class Killed(BaseException):
    """The process died."""


def request(key: str, clock: ManualClock | None = None, **more: object) -> LaunchRequest:
    started_at = NOON if clock is None else clock.now()
    made = LaunchRequest(ARCHIVE_ID, "run", key, 1, started_at, maybe_recorded=False)
    return replace(made, **more)  # type: ignore[arg-type]


def go_on(standing: Standing) -> Resumption:
    return Resumption(standing.head, explicit=False)


def choose(attempt: int, step: int) -> Callable[[Standing], Resumption]:
    return lambda _: Resumption(Place("run", attempt, step), explicit=True)


def attempts_in(store: Store) -> int:
    return len(store.list(layout.attempts_folder("run")).objects)


def archive(store: Store, attempt: int, step: int, launch_key: str) -> None:
    archive_files(store, Place("run", attempt, step), {"a": b"%d" % step}, launch_key=launch_key)


def test_the_first_launch_begins_from_nothing() -> None:
    store = MemoryStore()
    seen: list[Standing] = []

    def decide(now: Standing) -> Resumption:
        seen.append(now)
        return go_on(now)

    launch = open_launch(store, request("a", labels={"project": "x"}, policy="p", writers=8), decide)
    assert seen == [Standing(None, None)]
    assert launch == Launch(ARCHIVE_ID, "run", 0, "a", 8, NOON, None, False, None, False, "p", {"project": "x"})
    assert standing(store, "run") == Standing(launch, None)


def test_a_later_launch_goes_on_from_the_newest_checkpoint() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    archive(store, 0, 100, "a")
    archive(store, 0, 200, "a")
    launch = open_launch(store, request("b"), go_on)
    assert (launch.attempt, launch.resume_from, launch.falls_back_to) == (1, Place("run", 0, 200), Fallback(0, None))


def test_every_node_of_a_launch_gets_the_same_record() -> None:
    store = MemoryStore()
    first = open_launch(store, request("a", writers=2), go_on)
    archive_files(store, Place("run", 0, 100), {"a": b"1"}, {"b": b"2"}, launch_key="a")
    assert open_launch(store, request("a", writers=2), go_on) == first
    assert attempts_in(store) == 1


def test_record_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    """The store that retries finds its own record in the way."""
    store = MemoryStore()
    request_ = request("a")

    def before(asked: Request) -> None:
        if (asked.verb, asked.key) == ("create", layout.attempt_record("run", 0)):
            open_launch(store, request_, go_on)  # The first try of this very create.

    launch = open_launch(HookedStore(store, before=before), request_, go_on)
    assert launch.attempt == 0
    assert attempts_in(store) == 1


def test_record_of_a_new_attempt_landed_and_answer_was_lost() -> None:
    """Also who never joins must know its own record again, or it would leave an empty attempt behind."""
    store = MemoryStore()
    open_launch(store, request(push_key("run")), go_on)
    again = request(push_key("run"), join=False)

    def before(asked: Request) -> None:
        if (asked.verb, asked.key) == ("create", layout.attempt_record("run", 1)):
            open_launch(store, again, go_on)

    assert open_launch(HookedStore(store, before=before), again, go_on).attempt == 1
    assert attempts_in(store) == 2


def test_died_right_after_the_record_landed() -> None:
    store = MemoryStore()

    def after(asked: Request) -> None:
        if (asked.verb, asked.key) == ("create", layout.attempt_record("run", 0)):
            raise Killed

    with pytest.raises(Killed):
        open_launch(HookedStore(store, after=after), request("a"), go_on)
    open_launch(store, request("b"), go_on)
    launch = open_launch(store, request("a", maybe_recorded=True), go_on)
    assert launch.attempt == 0
    assert attempts_in(store) == 2


def markers_in(store: Store) -> list[tuple[str, bool]]:
    """The records that markers of launches name, and whether these are there."""
    found = [info.key for info in store.list(layout.PENDING).objects]
    named = [read_marker(content(store, key), key).record_key for key in found if "-launch-" in key]
    there = {info.key for info in store.list(layout.RUNS).objects}
    return [(key, key in there) for key in named]


def test_died_right_after_the_marker() -> None:
    """The intent stays, and names the number that the next launch gets: nobody takes it for a launch."""
    store = MemoryStore()

    def after(asked: Request) -> None:
        if asked.key.startswith(layout.PENDING):
            raise Killed

    with pytest.raises(Killed):
        open_launch(HookedStore(store, after=after), request("a"), go_on)
    assert markers_in(store) == [(layout.attempt_record("run", 0), False)]
    assert standing(store, "run") == Standing(None, None)
    assert open_launch(store, request("a", maybe_recorded=True), go_on).attempt == 0
    # The same launch says the same again: within the second that is the same marker.
    assert markers_in(store) == [(layout.attempt_record("run", 0), True)]


def test_marker_of_a_launch_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    store = MemoryStore()

    def before(asked: Request) -> None:
        if asked.key.startswith(layout.PENDING):
            marker = Marker.of_launch(ARCHIVE_ID, "run", 0, expected.encode())
            write_marker(store, marker, NOON)

    expected = open_launch(MemoryStore(), request("a"), go_on)
    assert open_launch(HookedStore(store, before=before), request("a"), go_on) == expected


def test_every_record_has_its_marker_first_also_after_a_lost_race() -> None:
    store = MemoryStore()

    def before(asked: Request) -> None:
        if (asked.verb, asked.key) == ("create", layout.attempt_record("run", 0)) and not attempts_in(store):
            open_launch(store, request("b"), go_on)

    hooked = HookedStore(store, before=before)
    assert open_launch(hooked, request("a"), go_on).attempt == 1
    created = [asked.key for asked in hooked.requests if asked.verb == "create"]
    assert [key.startswith(layout.PENDING) for key in created] == [True, False, True, False]
    # Three intents, two launches: who lost the race had told of the number that he did not get.
    first, second = (layout.attempt_record("run", number) for number in (0, 1))
    assert sorted(markers_in(store)) == [(second, True), (first, True), (first, True)]


def test_two_nodes_of_a_launch_at_once_get_one_record_although_they_chose_differently() -> None:
    store = MemoryStore()
    theirs: list[Launch] = []

    def before(asked: Request) -> None:
        if asked.verb == "create" and not theirs:
            theirs.append(open_launch(store, request("a"), go_on))
            archive(store, 0, 100, "a")

    def later(now: Standing) -> Resumption:
        return Resumption(Place("run", 0, 7), explicit=False)

    assert open_launch(HookedStore(store, before=before), request("a"), later) == theirs[0]
    assert theirs[0].resume_from is None
    assert attempts_in(store) == 1


def test_two_launches_at_once_get_two_numbers_and_the_loser_decides_again() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    seen: list[Standing] = []

    def before(asked: Request) -> None:
        if asked.verb == "create" and attempts_in(store) == 1:
            open_launch(store, request("b"), go_on)
            archive(store, 1, 50, "b")

    def decide(now: Standing) -> Resumption:
        seen.append(now)
        return go_on(now)

    launch = open_launch(HookedStore(store, before=before), request("c"), decide)
    assert [now.head for now in seen] == [None, Place("run", 1, 50)]
    assert (launch.attempt, launch.resume_from, launch.falls_back_to) == (2, Place("run", 1, 50), Fallback(1, None))


def test_a_listing_that_lags_behind_does_not_give_a_number_twice() -> None:
    store = MemoryStore()
    for key in "abcd":
        open_launch(store, request(key), go_on)

    class Lagging(HookedStore):
        def list(
            self,
            prefix: str,
            *,
            delimiter: str = "",
            token: str | None = None,
            limit: int = 1000,
            start_after: str = "",
        ) -> Listing:
            page = super().list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)
            return replace(page, objects=page.objects[2:]) if prefix == layout.attempts_folder("run") else page

    assert open_launch(Lagging(store), request("e"), go_on).attempt == 4


def test_too_many_lost_races_end_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_archive.commit.launch._MAX_RACES", 3)
    store = MemoryStore()

    def before(asked: Request) -> None:
        if asked.verb == "create":
            open_launch(store, request(f"other-{asked.number}"), go_on)

    with pytest.raises(UnavailableError, match="3 other launches"):
        open_launch(HookedStore(store, before=before), request("a"), go_on)


def test_an_older_record_is_found_only_back_to_two_hours_before_the_launch_began() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    open_launch(store, request("reused", clock), go_on)
    clock.sleep(3 * 3_600)
    open_launch(store, request("other", clock), go_on)
    assert open_launch(store, request("reused", clock, maybe_recorded=True), go_on).attempt == 2
    clock.sleep(3_600)
    open_launch(store, request("another", clock), go_on)
    assert open_launch(store, request("reused", clock, maybe_recorded=True), go_on).attempt == 2


def test_a_push_finds_its_record_again_however_old_it_is() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    pushed = open_launch(store, request(push_key("run"), clock), go_on)
    watched = open_launch(store, request(watch_key("run", "/data"), clock), go_on)
    for index in range(30):
        clock.sleep(86_400)
        open_launch(store, request(f"job-{index}", clock), go_on)
    assert open_launch(store, request(push_key("run"), clock), go_on) == pushed
    assert open_launch(store, request(watch_key("run", "/data"), clock), go_on) == watched


def test_a_new_attempt_of_a_push_is_where_later_pushes_go() -> None:
    store = MemoryStore()
    open_launch(store, request(push_key("run")), go_on)
    began = request(push_key("run"), join=False, started_at=NOON + timedelta(seconds=1))
    assert open_launch(store, began, go_on).attempt == 1
    assert open_launch(store, request(push_key("run")), go_on).attempt == 1


def test_a_roll_back_is_what_answers_until_the_launch_has_a_checkpoint() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    archive(store, 0, 1_000, "a")
    archive(store, 0, 1_500, "a")
    launch = open_launch(store, request("b"), choose(0, 1_000))
    assert launch.falls_back_to == Fallback(0, 1_000)
    assert latest(store, "run") == Place("run", 0, 1_000)
    archive(store, 1, 1_001, "b")
    assert latest(store, "run") == Place("run", 1, 1_001)


def test_a_roll_back_whose_launch_died_at_once_is_not_forgotten() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    archive(store, 0, 1_000, "a")
    archive(store, 0, 1_500, "a")
    open_launch(store, request("b"), choose(0, 1_000))
    launch = open_launch(store, request("c"), go_on)
    assert launch.resume_from == Place("run", 0, 1_000)
    assert latest(store, "run") == Place("run", 0, 1_000)


def test_somebody_may_choose_to_begin_anew() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    archive(store, 0, 1_000, "a")
    launch = open_launch(store, request("b"), lambda _: Resumption(None, explicit=True))
    assert (launch.explicit, launch.falls_back_to) == (True, None)
    assert latest(store, "run") is None


@pytest.mark.parametrize("place", [Place("other", 0, 1), Place("run", 1, 1), Place("run", 5, 1)])
def test_a_choice_that_is_not_an_earlier_checkpoint_of_the_run_is_refused(place: Place) -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    with pytest.raises(InvalidInputError, match="can not go on from"):
        open_launch(store, request("b"), lambda _: Resumption(place, explicit=True))
    assert attempts_in(store) == 1


def test_a_launch_recorded_after_its_end_while_a_later_one_is_there_never_answers() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    old = request("old", clock)
    clock.sleep(60)
    open_launch(store, request("new", clock), go_on)
    archive(store, 0, 500, "new")
    clock.sleep(60)
    late = open_launch(store, replace(old, ended=True), go_on)
    assert (late.attempt, late.late, late.falls_back_to) == (1, True, Fallback(0, None))
    archive(store, 1, 900, "old")
    assert latest(store, "run") == Place("run", 0, 500)
    following = open_launch(store, request("next", clock), go_on)
    assert (following.resume_from, following.falls_back_to) == (Place("run", 0, 500), Fallback(0, None))


def test_a_launch_recorded_after_its_end_is_not_late_if_nothing_began_since() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    open_launch(store, request("before", clock), go_on)
    clock.sleep(60)
    ended = request("old", clock, ended=True)
    clock.sleep(60)
    assert not open_launch(store, ended, go_on).late


def test_what_an_abandoned_branch_commits_later_never_answers() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    archive(store, 0, 1_000, "a")
    open_launch(store, request("b"), go_on)
    open_launch(store, request("c"), choose(0, 1_000))
    archive(store, 1, 1_500, "b")
    archive(store, 0, 1_600, "a")
    assert latest(store, "run") == Place("run", 0, 1_000)
    assert open_launch(store, request("d"), go_on).falls_back_to == Fallback(0, 1_000)
    assert latest(store, "run") == Place("run", 0, 1_000)


def test_a_late_launch_makes_no_other_one_late() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    zombie = request("zombie", clock, ended=True)
    clock.sleep(1)
    open_launch(store, request("a", clock), go_on)
    clock.sleep(1)
    waiting = request("b", clock, ended=True)
    clock.sleep(1)
    assert open_launch(store, zombie, go_on).late
    assert not open_launch(store, waiting, go_on).late


def test_a_launch_that_still_runs_is_not_late_however_late_it_is_recorded() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    slow = request("slow", clock)
    clock.sleep(60)
    open_launch(store, request("other", clock), go_on)
    assert not open_launch(store, slow, go_on).late


def test_a_record_of_another_archive_is_a_conflict() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    with pytest.raises(ConflictError, match="was recorded in the archive"):
        open_launch(store, request("a", archive_id="another"), go_on)


def test_a_request_without_key_or_writers_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        request("")
    with pytest.raises(InvalidInputError):
        request("a", writers=0)


def test_a_record_under_another_key_is_refused() -> None:
    store = MemoryStore()
    launch = open_launch(store, request("a"), go_on)
    store.create(layout.attempt_record("run", 3), Body.of(launch.encode()))
    with pytest.raises(IntegrityError, match="says that it is of run attempt 0"):
        latest(store, "run")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"falls_back_to": Fallback(1, None)}, "not an earlier one"),
        ({"falls_back_to": Fallback(2, 5)}, "not an earlier one"),
        ({"branch": 2}, "which is a later one"),
        ({"late": True}, "does not name"),
        ({"late": True, "falls_back_to": Fallback(0, 5)}, "does not name"),
        ({"writers": 0}, "writers = 0 is not allowed"),
        ({"launch_key": ""}, "at least one writer"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict[str, object], problem: str) -> None:
    good = Launch(ARCHIVE_ID, "run", 1, "a", 1, NOON, None, False, None, False)
    bad = replace(good, **change)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=problem):
        Launch.decode(bad.encode(), "it")


def test_a_late_record_that_names_a_late_one_is_refused() -> None:
    store = MemoryStore()
    open_launch(store, request("a"), go_on)
    good = Launch(ARCHIVE_ID, "run", 1, "b", 1, NOON, None, False, Fallback(0, None), True)
    for launch in (good, replace(good, attempt=2, falls_back_to=Fallback(1, None))):
        store.create(layout.attempt_record("run", launch.attempt), Body.of(launch.encode()))
    with pytest.raises(IntegrityError, match="which is late too"):
        latest(store, "run")


def test_a_record_survives_the_round_trip_with_members_of_a_newer_release() -> None:
    launch = Launch(
        ARCHIVE_ID, "run", 9, "key", 4, NOON, Place("run", 3, 7), True, Fallback(3, 7), False, "p", {"a": "b"}, 9,
        {"newer": [1, {"x": None}]},
    )  # fmt: skip
    assert Launch.decode(launch.encode(), "it") == launch

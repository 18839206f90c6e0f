"""Carries out the policy in force once a day, run by run; any number may do so at once, and be killed anywhere.

Marks below `retention/` tell who goes through which run today, so that passes share the work, and what is done is not done
again. A pass that was killed in a run has left the mark that it has begun; after an hour somebody else begins with it.
Nothing at all is done where no policy was ever applied. Rules are never written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.commit.marks import is_marked, mark
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.retention.passes.carrying import Done, carry_out
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.planning import plan_one_run, tags_compared
from ckpt_archive.retention.plans.survey import basis_of, runs
from ckpt_archive.retention.policy.in_force import InForce, read_in_force, read_policy
from ckpt_archive.store.protocol import Store, list_pages

_BEGUN_LASTS = timedelta(hours=1)

_OF_ONE_RUN = (ConflictError, IntegrityError, InvalidInputError)


@dataclass(slots=True)
class Passed:
    """What came of a pass.

    Attributes:
        done: What was done to checkpoints.
        runs: How many runs were gone through.
        left: How many were not, because there was no time.
        busy: How many somebody else is going through.
        problems: What can not be done, and why, for people.
        policy: The name of the policy in force; "" if there is none.
        was_due: Whether there was anything to go through today.
    """

    done: Done = field(default_factory=Done)
    runs: int = 0
    left: int = 0
    busy: int = 0
    problems: list[str] = field(default_factory=list)
    policy: str = ""
    was_due: bool = False


def go_through(make_voice: Callable[[str], Voice], store: Store, archive_id: str, go_on: Callable[[], bool]) -> Passed:
    """Do for every run what the policy in force says, if that was not done today.

    Costs one listing where no policy is in force, and two reads more on a day that is done.

    Args:
        make_voice: Who does it, by the policy of that digest.
        store: Where the archive is.
        archive_id: Its id.
        go_on: Asked before each run, and before each checkpoint that would be announced or tagged.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the record or the text of the policy in force is damaged.
        InvalidInputError: If one of them needs a newer release.
    """
    in_force = read_in_force(store, archive_id)
    if in_force.applied is None:
        return Passed()
    found = Passed(policy=in_force.applied.name)
    today = in_force.store_time.astimezone(UTC).date()
    if is_marked(store, layout.retention_day(today, in_force.number)):
        return found
    found.was_due = True
    _Pass(make_voice(in_force.applied.policy), store, in_force, today, go_on, found).run()
    return found


class _Pass:
    def __init__(
        self, voice: Voice, store: Store, in_force: InForce, today: date, go_on: Callable[[], bool], found: Passed
    ) -> None:
        self._voice = voice
        self._store = store
        self._in_force = in_force
        self._today = today
        self._go_on = go_on
        self._found = found

    def run(self) -> None:
        assert self._in_force.applied is not None
        connection, found = self._voice.connection, self._found
        policy = read_policy(self._store, self._in_force.applied)
        basis = basis_of(connection, policy, compared=tags_compared(connection, policy, self._in_force))
        done, busy = self._seen_today()
        for run in runs(self._store):
            if run in done:
                continue
            if run in busy:
                found.busy += 1
                continue
            if not self._go_on():
                found.left += 1
                continue
            begun = layout.retention_run(self._today, self._in_force.number, run, is_done=False)
            mark(self._store, begun)
            try:
                planned = plan_one_run(self._voice.machine, connection, basis, run)
                found.problems += planned.problems
                carry_out(self._voice, policy, planned.plan, found.done, self._go_on)
            except _OF_ONE_RUN as error:
                found.problems.append(f"{run}: {error.message}")
            found.problems += found.done.problems
            found.done.problems.clear()
            if found.done.left:
                found.left += 1
                self._store.delete(begun)
                continue
            found.runs += 1
            mark(self._store, layout.retention_run(self._today, self._in_force.number, run, is_done=True))
        if not found.left and not found.busy:
            mark(self._store, layout.retention_day(self._today, self._in_force.number))
            if not found.problems and not found.done.moved:
                mark(self._store, layout.retention_compared(self._in_force.number))
            self._forget()

    def _seen_today(self) -> tuple[set[str], set[str]]:
        """The runs that were gone through today, and those that somebody is going through."""
        done: set[str] = set()
        busy: set[str] = set()
        for page in list_pages(self._store, layout.retention_runs(self._today, self._in_force.number)):
            for info in page.objects:
                run = info.key.split("/")[-2]
                if info.key == layout.retention_run(self._today, self._in_force.number, run, is_done=True):
                    done.add(run)
                elif page.store_time - (info.modified or datetime.min.replace(tzinfo=UTC)) < _BEGUN_LASTS:
                    busy.add(run)
        return done, busy - done

    def _forget(self) -> None:
        """Remove the marks of days that are over: some of them, so that it takes no time; the rest another day."""
        today = layout.retention_day(self._today, self._in_force.number)
        for info in self._store.list(layout.RETENTION_DAYS).objects:
            if info.key < today:
                self._store.delete(info.key)
        for info in self._store.list(layout.RETENTION_RUNS).objects:
            if info.key < layout.retention_runs(self._today, self._in_force.number):
                self._store.delete(info.key)

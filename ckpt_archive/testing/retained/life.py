"""Lives through a history, and has the oracle judge it after every step; then everything is well for some weeks."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ckpt_archive.audit import listing
from ckpt_archive.audit.verify import verify
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.errors import CkptArchiveError, EndedError
from ckpt_archive.place import Place
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.testing.retained import acting, story
from ckpt_archive.testing.retained.deeds import Deeds
from ckpt_archive.testing.retained.known import MARGIN
from ckpt_archive.testing.retained.oracle import ViolationError
from ckpt_archive.testing.retained.site import Site
from ckpt_archive.testing.retained.story import Actor, Deed, Engine, History, Pass, Scene, Step, ToEnd
from ckpt_archive.testing.retained.world import Process

_MOST_CALM_PASSES = 80
_QUIET_PASSES = 2


@dataclass(slots=True)
class Tally:
    """What was seen.

    Attributes:
        histories: How many.
        requests: Made by processes.
        interrupted: Of these, how many were struck.
        counts: What became of checkpoints.
        checked: Checkpoints whose bytes were read.
    """

    histories: int = 0
    requests: int = 0
    interrupted: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    checked: int = 0

    def add(self, other: "Tally") -> None:
        """Count another one."""
        self.histories += other.histories
        self.requests += other.requests
        self.interrupted += other.interrupted
        self.counts += other.counts
        self.checked += other.checked

    def text(self) -> str:
        """For people."""
        counted = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return (
            f"{self.histories} histories, {self.requests} requests, {self.interrupted} of them struck; {counted}; "
            f"{self.checked} checkpoints read and compared; newest lost 0, held deleted 0"
        )


class Life:
    """One history.

    Args:
        history: Which.

    Attributes:
        site: What it happens to.
        struck_requests: How many requests the last process had made that was to be struck.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.site = Site(history)
        self.struck_requests = 0
        self._deeds = Deeds(self.site, history.seed)
        self._checked = 0
        self._processes = 0

    def live(self) -> Tally:
        """To its end.

        Raises:
            ViolationError: If a promise was broken; with the history and what happened last as notes.
        """
        step: Step | None = None
        try:
            for step in self.history.steps:
                self.site.world.note(f"--- {step}")
                self._do(step)
                self._check()
            step = None
            self._calm()
        except (AssertionError, CkptArchiveError, RuntimeError) as error:
            error.add_note(self.history.spelled())
            error.add_note("\n".join(self.site.world.trace[-120:]))
            error.add_note(f"at {self.site.world.now}, in {step}")
            raise
        world = self.site.world
        return Tally(1, world.turns, world.interrupted, Counter(self.site.oracle.counts), self._checked)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        match step:
            case Scene():
                self._scene(step)
            case Pass():
                self.site.world.pass_time(story.hours(step.hours))
            case ToEnd():
                self._to_end(step)
            case Engine():
                self._deeds.engine(step.share)

    def _to_end(self, step: ToEnd) -> None:
        now = self.site.world.now
        moments = [end + timedelta(minutes=step.minutes) for end in self._ends()]
        ahead = [moment for moment in moments if moment > now]
        if ahead:
            self.site.world.pass_time(min(ahead) - now)

    def _ends(self) -> list[datetime]:
        current = [known.current for known in self.site.oracle.known.values()]
        return [one.ends_at for one in current if one.ends_at is not None and one.ended_at is None]

    def _waiting(self) -> list[datetime]:
        """The ends that are to come; what is held after its end stays as it is."""
        fates = {run: read_fates(self.site.store, run) for run in self.site.runs()}
        return [
            end
            for place, known in self.site.oracle.known.items()
            if (end := known.current.ends_at) is not None
            and known.current.ended_at is None
            and not (place.run in fates and fates[place.run].cases(place))
        ]

    def _scene(self, scene: Scene) -> None:
        oracle, began = self.site.oracle, self.site.world.now
        before = list(oracle.known)
        played = [(actor, self._process(actor)) for actor in scene.actors]
        self._deeds.contested = {
            self._deeds.held(actor.deed) for actor in scene.actors if isinstance(actor.deed, story.Release)
        }
        self.site.world.run([(process, self._deeds.job(actor.deed, process, actor.waits)) for actor, process in played])
        for actor, process in played:
            self._refused(actor.deed, process)
            if actor.strikes:
                self.struck_requests = process.requests
        self._excuse(scene)
        (actor, process), *others = played
        is_pass = isinstance(actor.deed, story.Apply | story.Maintain)
        # Something may have come to its end while it worked.
        passed = any(began <= moment < self.site.world.now for end in self._ends() for moment in (end - MARGIN, end))
        if is_pass and not passed and not others and not actor.strikes and process.result is True:
            self._settled(before, wrote_rules=isinstance(actor.deed, story.Apply))

    def _process(self, actor: Actor) -> Process:
        self._processes += 1
        name = f"{type(actor.deed).__name__.lower()}-{self._processes}"
        return Process(self.site.world, name, actor.strikes, timedelta(hours=actor.clock_hours))

    def _refused(self, deed: Deed, process: Process) -> None:
        """An error is an answer; which ones are right, the product's own tests know."""
        if process.error is not None:
            name = f"{type(deed).__name__.lower()}: {type(process.error).__name__}"
            self.site.oracle.counts[name] += 1

    def _excuse(self, scene: Scene) -> None:
        """Who goes back to something whose end was announced has to wait for a pass that takes that back."""
        oracle = self.site.oracle
        went_back = any(isinstance(actor.deed, story.Launch) and actor.deed.back for actor in scene.actors)
        if went_back:
            beside = any(isinstance(actor.deed, story.Apply | story.Maintain | story.Drop) for actor in scene.actors)
            for head in self.site.latest().values():
                known = oracle.known.get(head) if head is not None else None
                if head is not None and known is not None and (beside or known.current.ends_at is not None):
                    oracle.excused.add(head)

    # --- judging -----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self.site.oracle.check(self.site.latest(), self._listed())

    def _listed(self) -> list[Place]:
        machine, connection = self.site.quiet()
        found: list[Place] = []
        for run in self.site.runs():
            try:
                shown = listing.checkpoints(machine, connection, run, None)
            except EndedError:
                continue
            found += [Place(item.run, item.attempt, item.step) for item in shown]
        return found

    def _settled(self, before: list[Place], *, wrote_rules: bool) -> None:
        policy = acting.in_force(self.site)
        assert policy is not None
        self.site.oracle.settled(policy.keep_newest, self.site.latest(), before)
        self._assert_nothing_left(policy, with_rules=wrote_rules)

    def _assert_nothing_left(self, policy: Policy, *, with_rules: bool) -> None:
        plan = acting.planned(*self.site.quiet(), policy)
        self._assert(not plan.changes, f"after a whole pass there is still something to do: {plan.changes}")
        is_drifting = with_rules and plan.rules is not None and not plan.rules.is_empty
        self._assert(not is_drifting, f"after a whole pass the rules are not as they should be: {plan.rules}")

    def _calm(self) -> None:
        """Nobody is killed any more, clocks are right, and the engine does all that is due: then all ends that should."""
        site = self.site
        deeds = [actor.deed for step in self.history.steps if isinstance(step, Scene) for actor in step.actors]
        applied = [story.PolicyText(), *(deed.policy for deed in deeds if isinstance(deed, story.Apply))]
        self._apply(applied[-1])
        quiet = 0
        for _ in range(_MOST_CALM_PASSES):
            self._deeds.engine(1.0)
            self._check()
            self._do(Scene((Actor(story.Maintain()),)))
            self._check()
            waiting = self._waiting()
            ahead = [end for end in waiting if end > site.world.now]
            late = [end for end in waiting if end <= site.world.now]
            if late:
                site.world.pass_time(timedelta(days=1))
            elif ahead:
                site.world.pass_time(min(ahead) + timedelta(hours=1) - site.world.now)
            elif quiet > _QUIET_PASSES:
                break
            else:
                # Whoever has died a moment ago is waited for.
                site.world.pass_time(timedelta(days=1))
                quiet += 1
        else:
            raise ViolationError(f"what is due does not end: {sorted(self._waiting())}")
        # Rules of tags that nothing has any more are removed by whoever writes rules.
        self._apply(applied[-1])
        self._judge_the_end()

    def _apply(self, policy: story.PolicyText) -> None:
        """Apply it again where a midnight, or an end, has come between the plan and that."""
        for _ in range(3):
            self._do(Scene((Actor(story.Apply(policy)),)))
            self._check()
            found = acting.in_force(self.site)
            if found is not None and found.text == policy.text():
                return
        raise ViolationError(f"{policy} can not be applied")

    def _judge_the_end(self) -> None:
        site = self.site
        policy = acting.in_force(site)
        assert policy is not None
        machine, connection = site.quiet()
        listed = set(self._listed())
        latest = site.latest()
        for run in site.runs():
            fates = read_fates(site.store, run)
            there = [place for place in site.committed(run) if place in listed]
            protected = {*there[: policy.keep_newest], latest[run]}
            for place in site.committed(run):
                fate, known = fates.fate(place), site.oracle.known[place]
                if place not in listed:
                    # Who holds something after its end keeps what is left of it.
                    is_gone = fate.has_ended and not site.oracle.keys_left(place)
                    self._assert(is_gone or bool(fates.cases(place)), f"{place} is not listed, and has not ended")
                    continue
                self._assert(known.is_whole, f"{place} is listed, and misses {known.lost}")
                chosen = acting.class_of(connection, policy, place, fate)
                if place in protected or fates.cases(place) or chosen is None:
                    self._assert(not site.oracle.tags(place), f"{place} is kept, and is tagged")
                    continue
                self._assert(chosen.keep_days is None, f"{place} is {chosen.tag}, and does not end")
                # Who took another end back, and was slow, may have removed that tag too: that costs, and loses nothing.
                self._assert(site.oracle.tags(place) <= {chosen.tag}, f"{place} is {chosen.tag}, and has another tag")
        report = verify(machine, connection, sorted(listed), deep=True)
        self._assert(not report.findings, f"{report.findings}")
        self._checked += report.checkpoints
        self._assert_nothing_left(policy, with_rules=True)

    @staticmethod
    def _assert(holds: bool, otherwise: str) -> None:
        if not holds:
            raise ViolationError(otherwise)


def live(history: History) -> Tally:
    """Live through a history; see `Life.live`."""
    return Life(history).live()

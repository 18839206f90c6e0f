"""Any history of launches against a model that may walk: start, record late, roll back, die, commit, ask.

The model is what the rule says in words: the newest launch that is not late and has a checkpoint answers, and nothing from
before the last explicit choice does.
"""

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import Standing, latest, standing
from ckpt_archive.commit.launch import Launch, LaunchRequest, Resumption, open_launch
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

MARKER = layout.PENDING
RECORD = layout.RUNS
"""Where the last object lies that whoever dies has created."""


class Killed(BaseException):
    """The process died."""


@dataclass
class ModelLaunch:
    request: LaunchRequest
    choice: Place | None = None
    explicit: bool = False
    recorded_at_second: int = 0
    late: bool = False
    steps: set[int] = field(default_factory=set)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.seconds = 0
        self.keys = 0
        self.waiting: list[ModelLaunch] = []
        self.recorded: list[ModelLaunch] = []

    def pass_time(self) -> None:
        self.clock.sleep(1)
        self.seconds += 1

    def model_latest(self) -> Place | None:
        for attempt in range(len(self.recorded) - 1, -1, -1):
            launch = self.recorded[attempt]
            if launch.late:
                continue
            if launch.steps:
                return Place("run", attempt, max(launch.steps))
            if launch.explicit:
                return launch.choice
        return None

    def committed(self) -> list[Place]:
        return [Place("run", attempt, step) for attempt, launch in enumerate(self.recorded) for step in launch.steps]

    @rule(offline=st.booleans(), roll_back=st.randoms(use_true_random=False) | st.none(), anew=st.booleans())
    def start(self, offline: bool, roll_back: "object", anew: bool) -> None:
        """A launch begins; offline, it has no record yet."""
        self.pass_time()
        self.keys += 1
        made = ModelLaunch(
            LaunchRequest(ARCHIVE_ID, "run", f"key-{self.keys}", 1, self.clock.now(), maybe_recorded=False)
        )
        if roll_back is not None:
            choices = self.committed()
            made.explicit = bool(choices) or anew
            made.choice = None if anew or not choices else roll_back.choice(choices)  # type: ignore[attr-defined]
        if offline:
            self.waiting.append(made)
        else:
            self.record(made, ended=False, dies="")

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 9), ended=st.booleans(), dies=st.sampled_from(["", MARKER, RECORD]))
    def reach_the_store(self, index: int, ended: bool, dies: str) -> None:
        """A launch that began offline gets its record, perhaps after its end, perhaps dying right after it or its marker."""
        self.pass_time()
        self.record(self.waiting.pop(index % len(self.waiting)), ended, dies)

    def record(self, made: ModelLaunch, ended: bool, dies: str) -> None:
        asked = replace(made.request, ended=ended)
        expected = self.model_latest()
        on_time = [launch for launch in self.recorded if not launch.late]
        began_second = round((asked.started_at - ManualClock().now()).total_seconds())
        made.late = ended and bool(on_time) and on_time[-1].recorded_at_second > began_second
        made.recorded_at_second = self.seconds

        def choose(now: Standing) -> Resumption:
            assert now.head == expected
            return Resumption(made.choice if made.explicit else now.head, made.explicit)

        def after(request: Request) -> None:
            if request.verb == "create" and request.key.startswith(dies or "nowhere"):
                raise Killed

        try:
            launch = open_launch(HookedStore(self.store, after=after), asked, choose)
        except Killed:
            launch = self.again(asked) if dies == RECORD else open_launch(self.store, asked, choose)
        made.request = asked
        self.recorded.append(made)
        assert (launch.attempt, launch.late) == (len(self.recorded) - 1, made.late)

    def again(self, asked: LaunchRequest) -> Launch:
        def never(_: Standing) -> Resumption:
            raise AssertionError("its record is there")

        return open_launch(self.store, replace(asked, maybe_recorded=True), never)

    @precondition(lambda self: self.recorded)
    @rule(index=st.integers(0, 9))
    def ask_again(self, index: int) -> None:
        """Another node, or an agent that starts again."""
        attempt = index % len(self.recorded)
        assert self.again(self.recorded[attempt].request).attempt == attempt

    @precondition(lambda self: self.recorded)
    @rule(back=st.integers(0, 4), step=st.integers(0, 20))
    def commit(self, back: int, step: int) -> None:
        """Any launch, the newest or an old one whose agent lives on, commits a checkpoint."""
        self.pass_time()
        attempt = max(0, len(self.recorded) - 1 - back)
        if step not in self.recorded[attempt].steps:
            self.recorded[attempt].steps.add(step)
            self.store.create(layout.manifest("run", attempt, step), Body.of(b"{}"))

    @invariant()
    def everybody_gets_the_answer_of_the_model(self) -> None:
        assert latest(self.store, "run") == self.model_latest()

    @invariant()
    def the_newest_launch_is_the_newest_that_is_not_late(self) -> None:
        on_time = [attempt for attempt, launch in enumerate(self.recorded) if not launch.late]
        newest = standing(self.store, "run").newest
        assert (newest.attempt if newest else None) == (on_time[-1] if on_time else None)

    @invariant()
    def it_costs_no_more_than_late_launches_with_checkpoints_explain(self) -> None:
        counting = CountingStore(self.store)
        latest(counting, "run")
        groups = sum(launch.late and bool(launch.steps) for launch in self.recorded)
        assert counting.total <= 5 + 2 * groups


TestHistories = Histories.TestCase

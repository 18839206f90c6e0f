"""A world that one integer determines: every adapter call passes `step`, where anything may happen, and `done`.

`step` comes before the effect: another process may go on first, and the calling one may be paused, killed or told to fail.
Between `step` and `done` nothing else runs, so each effect is atomic, and a paused process makes its call when it wakes up:
that is a zombie's write. All randomness comes from the seed, and the same seed gives the same trace.
"""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from ckpt_archive.testing.simulation.faults import CANDIDATES, Crash, CrashPoint, Fault, Injection, Options, When
from ckpt_archive.testing.simulation.process import Fiber, Killed, Process, State, StuckError, Watcher
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS, Scheduler

# About what an NVMe disk and an HDD-backed object store take: only their order of magnitude matters to timeouts and ages.
_DISK_US = 100
_STORE_US = 10_000
_LONGEST_PAUSE_SECONDS = 7200.0
# Of one process, in all: a rank that begins two hours after its launch was recorded is not promised to find its number.
_MOST_PAUSED_SECONDS = 6600.0


class Step(NamedTuple):
    """One I/O of a trace."""

    io: int
    now_us: int
    process: str
    kind: str
    detail: str
    fault: Fault | None

    def __str__(self) -> str:
        fault = f"  !! {self.fault.value}" if self.fault else ""
        return (
            f"{self.io:6d} {self.now_us / MICROSECONDS:12.4f}s {self.process:24s} {self.kind:22s} {self.detail}{fault}"
        )


class World(Scheduler):
    """Where simulated nodes, stores and processes live.

    Use it as a context manager, so that what still runs at the end is ended.

    Args:
        seed: Determines everything.
        options: What may go wrong.
        trace: Whether to keep every step. It changes nothing else.
        max_ios: More I/Os than that are a process that never ends.

    Attributes:
        seed: As given.
        options: As given.
        chance: The one source of randomness.
        trace: The steps so far, if they are kept.
        faults_seen: How often each fault happened to each kind of call.
        troubles: How many things chance has sent so far: faults, kills, pauses, power losses, clocks that jump.
        is_calm: Whether nothing can go wrong any more: troubles under way are over then too.
        calm_after_io: The last I/O before that; None before it.
    """

    def __init__(
        self,
        seed: int,
        options: Options = Options(),  # noqa: B008 - frozen
        *,
        trace: bool = False,
        max_ios: int = 200_000,
    ) -> None:
        self.seed = seed
        self.options = options
        self.chance = random.Random(f"world {seed}")
        super().__init__(self.chance)
        self._nonces = random.Random(f"nonces {seed}")
        self.trace: list[Step] | None = [] if trace else None
        self.faults_seen: Counter[tuple[str, Fault]] = Counter()
        self.troubles = 0
        self.is_calm = False
        self.calm_after_io: int | None = None
        self._max_ios = max_ios
        self._injections: list[Injection] = []
        self._crashes = list(options.crashes)
        self._watches_io = False
        self._candidates: dict[str, tuple[Fault, ...]] = {}
        self._set_chances(options)
        self._aim()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"seed {self.seed}, I/O {self.ios}, {self.now_us / MICROSECONDS:.4f} s, {self.options}")
            if self.trace is not None:
                error.add_note(self.story(last=60))
        self.close()

    # --- what adapters call --------------------------------------------------------------------------------------------

    def step(self, kind: str, detail: str = "") -> Fault | None:
        """An adapter is about to do something.

        Args:
            kind: One of `faults.CANDIDATES`.
            detail: To what.

        Returns:
            What is to go wrong with it.

        Raises:
            Killed: The process is dead.
        """
        fiber = self.current
        if fiber is None:
            return self._injected(kind) if self._injections else None
        if fiber.process.state is not State.ALIVE:
            raise Killed
        is_store = kind[0] == "s"
        roll = self._random()
        fault = None
        if roll < self._eventful_below:
            self._event(fiber, roll)
        elif roll < (self._store_faults_below if is_store else self._disk_faults_below):
            fault = self._chosen(kind)
        if self._injections:
            fault = self._injected(kind) or fault
        self.ios = ios = self.ios + 1
        self.now_us += _STORE_US if is_store else _DISK_US
        if self.trace is not None:
            self.trace.append(Step(ios, self.now_us, str(fiber.process), kind, detail, fault))
        if ios >= self._look_at:
            self._look(fiber)
        return fault

    def done(self, kind: str, detail: str = "") -> None:
        """That had its effect; the caller does not know yet."""
        if self._watches_io:
            self.observe(partial(self.watcher.after_io, kind, detail))
        if self.ios == self._crash_after and self.current is not None:
            self._crash(self.current)

    def observe(self, tell: Callable[[], None]) -> None:
        """Tell a watcher; what it asserts stops the world here."""
        try:
            tell()
        except AssertionError as violation:
            self.stop(violation)

    def note(self, process: Process | None, event: str, detail: str = "") -> None:
        """Something happened that is no I/O: it stands in the trace, indented, under the number of the last I/O."""
        if self.trace is not None:
            self.trace.append(Step(self.ios, self.now_us, str(process or ""), f"  {event}", detail, None))

    def nonce(self) -> str:
        """32 hexadecimal digits, never the same twice."""
        return f"{self._nonces.getrandbits(128):032x}"

    # --- what tests and workloads call ---------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> None:
        """Let an oracle, or a supervisor, be told what happens."""
        self.watcher = watcher
        self._watches_io = type(watcher).after_io is not Watcher.after_io

    def inject(self, kind: str, fault: Fault, *, skip: int = 0, times: int | None = 1) -> None:
        """Let calls of `kind` go wrong at exact places, wherever chance stands.

        Args:
            kind: One of `faults.CANDIDATES`.
            fault: How.
            skip: How many calls of that kind go well first.
            times: How many go wrong then; None for all that follow.
        """
        assert fault in CANDIDATES[kind], f"{kind} knows no {fault}"
        self._injections.append(Injection(kind, fault, skip, times))

    def calm(self) -> None:
        """From now on nothing goes wrong any more; processes are still switched. Then what should converge must."""
        self.is_calm = True
        self.calm_after_io = self.ios
        self._set_chances(Options(switch_chance=self.options.switch_chance))
        self._injections.clear()
        self._crashes.clear()
        self._aim()
        for process in self.processes:
            process.paused_until_us = 0

    def story(self, *, last: int | None = None) -> str:
        """The trace as text.

        Args:
            last: Only that many steps from the end.
        """
        if self.trace is None:
            return "no trace was kept: run the seed again with trace=True"
        return "\n".join(str(step) for step in (self.trace if last is None else self.trace[-last:]))

    # --- chance --------------------------------------------------------------------------------------------------------

    def _set_chances(self, options: Options) -> None:
        self._kill_below = options.kill_chance
        self._pause_below = self._kill_below + options.pause_chance
        self._power_below = self._pause_below + options.power_loss_chance
        self._jump_below = self._power_below + options.clock_jump_chance
        self._eventful_below = self._jump_below + options.switch_chance
        self._store_faults_below = self._eventful_below + options.store_fault_chance
        self._disk_faults_below = self._eventful_below + options.disk_fault_chance

    def _event(self, fiber: Fiber, roll: float) -> None:
        process = fiber.process
        if roll < self._jump_below and self._is_spared():
            return
        if self._power_below <= roll < self._jump_below:
            process.node.jump_clock(self.chance)
            self.note(process, "clock jumps")
        elif process.mortal and roll < self._power_below:
            if roll < self._kill_below:
                self.kill(process)
            elif roll < self._pause_below:
                # As many short pauses as long ones, on a logarithmic scale.
                left = _MOST_PAUSED_SECONDS - process.paused_seconds
                self.pause(process, min(_LONGEST_PAUSE_SECONDS ** self._random(), left))
            else:
                self.lose_power(process.node)
        elif self._runnable or self._timers:
            self.switch()

    def _is_spared(self) -> bool:
        """Whether the next of the things that chance sends does not happen."""
        self.troubles += 1
        most = self.options.most_troubles
        return self.troubles in self.options.spared_troubles or (most is not None and self.troubles > most)

    def _chosen(self, kind: str) -> Fault | None:
        candidates = self._candidates.get(kind)
        if candidates is None:
            allowed, spared = self.options.faults, self.options.spared
            candidates = tuple(f for f in CANDIDATES[kind] if f in allowed and (kind, f) not in spared)
            self._candidates[kind] = candidates
        if not candidates or self._is_spared():
            return None
        fault = candidates[int(self._random() * len(candidates))]
        self.faults_seen[kind, fault] += 1
        return fault

    def _injected(self, kind: str) -> Fault | None:
        for injection in self._injections:
            if injection.kind == kind and injection.strikes():
                self.faults_seen[kind, injection.fault] += 1
                return injection.fault
        return None

    # --- crash points --------------------------------------------------------------------------------------------------

    def _aim(self) -> None:
        """Look out for the next crash point; and, always, for a process that never ends."""
        self._crash_after = 0
        self._look_at = self._max_ios
        self._next_crash: CrashPoint | None = self._crashes.pop(0) if self._crashes else None
        if self._next_crash is None:
            return
        if self._next_crash.when is When.AFTER:
            self._crash_after = self._next_crash.io
        else:
            self._look_at = min(self._look_at, self._next_crash.io)

    def _look(self, fiber: Fiber) -> None:
        if self.ios >= self._max_ios:
            self.stop(StuckError(f"{self.ios} I/Os, and {fiber.process} still goes on"))
        self._crash(fiber)

    def _crash(self, fiber: Fiber) -> None:
        crash = self._next_crash
        assert crash is not None
        self._aim()
        if crash.what is Crash.NODE:
            self.lose_power(fiber.process.node)
        else:
            self.kill(fiber.process)

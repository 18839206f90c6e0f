"""One store, its clock, and processes that take turns at every request, and may be killed there, or lose the answer."""

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from ckpt_archive.errors import CkptArchiveError, ThrottledError, UnavailableError
from ckpt_archive.testing.hooked import Request

MOST_TURNS = 200_000
_STANDS_STILL = timedelta(minutes=25)
# Who tags acts upon nothing that he has read more than 30 seconds ago, and who holds waits for 60.
_PAUSES = timedelta(seconds=25)


class Killed(BaseException):
    """Ends a process; nothing catches it."""


class Blow(enum.StrEnum):
    """What may happen at a request."""

    KILLED_BEFORE = "killed before it is sent"
    KILLED_AFTER = "killed when it has landed"
    ANSWER_LOST = "it lands, the answer is lost"
    REFUSED = "refused"
    STANDS_STILL = "stands still for a while first"
    PAUSES = "pauses for a moment first"


@dataclass(frozen=True, slots=True)
class Strike:
    """A blow at one request.

    Attributes:
        blow: What happens.
        at: The number of the request, counted from 0.
    """

    blow: Blow
    at: int


class Process:
    """Somebody who asks the store.

    Args:
        world: Where.
        name: For people.
        strikes: What befalls it.
        offset: By how much its clock is wrong.

    Attributes:
        requests: How many requests it has made.
        error: What ended it, if it is an error of ours.
        was_killed: Whether it was killed.
    """

    def __init__(
        self, world: "World", name: str, strikes: tuple[Strike, ...] = (), offset: timedelta = timedelta()
    ) -> None:
        self.world = world
        self.name = name
        self.offset = offset
        self.requests = 0
        self.error: CkptArchiveError | None = None
        self.was_killed = False
        self.result: Any = None
        self.waits_until: datetime | None = None
        self.fiber: greenlet | None = None
        self._blows: dict[int, list[Blow]] = {}
        for strike in strikes:
            self._blows.setdefault(strike.at, []).append(strike.blow)

    # --- its clock ---------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Its own clock, which may be wrong."""
        return self.world.now + self.offset

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return (self.world.now - self.world.began).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let time pass; others go on meanwhile."""
        self.world.sleep(self, timedelta(seconds=seconds))

    # --- its requests ------------------------------------------------------------------------------------------------

    def before(self, request: Request) -> None:
        """A request is about to be sent."""
        if self.was_killed:
            raise Killed
        number, self.requests = self.requests, self.requests + 1
        self.world.turn(self)
        blows = self._blows.get(number, ())
        if Blow.KILLED_BEFORE in blows:
            self._die(request)
        # Nobody can take back what is on its way: a pass looks at its clock before each tag that it sends.
        if Blow.STANDS_STILL in blows and request.verb != "write_tags":
            self.world.struck(self, Blow.STANDS_STILL, request)
            self.world.sleep(self, _STANDS_STILL)
        if Blow.PAUSES in blows:
            self.world.struck(self, Blow.PAUSES, request)
            self.world.sleep(self, _PAUSES)
        if Blow.REFUSED in blows:
            self.world.struck(self, Blow.REFUSED, request)
            raise ThrottledError(f"{request.verb} {request.key}: slow down")

    def after(self, request: Request) -> None:
        """It has landed."""
        blows = self._blows.get(self.requests - 1, ())
        self.world.note(f"{self.name}: {request.verb} {request.key}")
        self.world.pass_some(self)
        if Blow.KILLED_AFTER in blows:
            self._die(request)
        if Blow.ANSWER_LOST in blows:
            self.world.struck(self, Blow.ANSWER_LOST, request)
            raise UnavailableError(f"{request.verb} {request.key}: no answer")

    def _die(self, request: Request) -> None:
        self.was_killed = True
        self.world.struck(self, Blow.KILLED_AFTER, request)
        raise Killed


class World:
    """Time, and turns.

    Args:
        seed: Decides who goes on when.
        began: When it begins, by the store's clock.

    Attributes:
        now: The store's clock.
        trace: What happened.
        interrupted: How many requests were struck.
        turns: How many requests there were.
    """

    def __init__(self, seed: int | str, began: datetime) -> None:
        self.began = self.now = began
        self.trace: list[str] = []
        self.interrupted = 0
        self.turns = 0
        self._chance = random.Random(f"world {seed}")
        self._slow = self._chance.choice((0.0, 0.05, 1.0, 1.0, 8.0))
        self._hub: greenlet | None = None

    def clock_now(self) -> datetime:
        """The store's clock."""
        return self.now

    def note(self, what: str) -> None:
        """Something happened."""
        self.trace.append(f"{self.now:%m-%d %H:%M:%S} {what}")

    def struck(self, process: Process, blow: Blow, request: Request) -> None:
        """A process was struck."""
        self.interrupted += 1
        self.note(f"{process.name}: {blow} at {request.verb} {request.key}")

    def pass_some(self, process: Process) -> None:
        """A request takes its time."""
        del process
        self.now += timedelta(seconds=self._slow * self._chance.random())

    def pass_time(self, duration: timedelta) -> None:
        """Time passes, and nobody does anything."""
        self.now += duration

    def turn(self, process: Process) -> None:
        """Let others go on first, perhaps."""
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise RuntimeError("this does not end")
        if self._hub is not None and process.fiber is not None and getcurrent() is process.fiber:
            self._hub.switch()

    def sleep(self, process: Process, duration: timedelta) -> None:
        """Let time pass for one process."""
        until = self.now + duration
        if self._hub is None or getcurrent() is not process.fiber:
            self.now = max(self.now, until)
            return
        process.waits_until = until
        self._hub.switch()

    def run(self, jobs: list[tuple[Process, Callable[[], Any]]]) -> None:
        """Let processes do what they do, until all have ended.

        Errors of ours end a process, and are kept there. All others are mistakes, and are raised.
        """
        self._hub = getcurrent()
        try:
            alive: list[Process] = []
            for process, job in jobs:
                process.fiber = greenlet(_body(process, job), self._hub)
                alive.append(process)
            while alive:
                ready = [one for one in alive if one.waits_until is None or one.waits_until <= self.now]
                if not ready:
                    first = min(alive, key=lambda one: one.waits_until or self.now)
                    assert first.waits_until is not None
                    self.now = first.waits_until
                    ready = [first]
                process = self._chance.choice(ready)
                process.waits_until = None
                assert process.fiber is not None
                process.fiber.switch()
                alive = [one for one in alive if one.fiber is not None and not one.fiber.dead]
        finally:
            self._hub = None
            for process, _ in jobs:
                # Something that must not be was raised: whoever had not ended is not heard of again.
                if process.fiber:  # it has begun, and has not ended
                    process.was_killed = True
                    process.fiber.throw(Killed)


def _body(process: Process, job: Callable[[], Any]) -> Callable[[], None]:
    def body() -> None:
        try:
            process.result = job()
        except Killed:
            process.was_killed = True
        except CkptArchiveError as error:
            process.error = error
            process.world.note(f"{process.name}: {type(error).__name__}: {error}")

    return body

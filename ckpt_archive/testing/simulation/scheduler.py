"""Who goes on next, and what time it is: cooperative fibers on one thread, every choice drawn from one generator.

Time passes by I/O and by waiting, never by computing. Nothing here knows of disks, stores or faults.
"""

import gc
import heapq
import random
from collections.abc import Callable

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from ckpt_archive.testing.simulation.process import Fiber, Host, Killed, Main, Process, State, StuckError, Watcher

MICROSECONDS = 1_000_000


class Scheduler:
    """Runs processes.

    Attributes:
        now_us: Simulated time in microseconds since the world began.
        ios: I/Os of processes so far.
        current: What runs now; None outside of processes.
        processes: All there ever were.
        watcher: Who is told.
    """

    def __init__(self, chance: random.Random) -> None:
        self.now_us = 0
        self.ios = 0
        self.current: Fiber | None = None
        self.processes: list[Process] = []
        self.watcher = Watcher()
        self._chance = chance
        self._random = chance.random
        self._runnable: list[Fiber] = []
        self._timers: list[tuple[int, int, Fiber | None, Callable[[], None] | None]] = []
        self._timers_begun = 0
        self._awaited = 0
        self._orders: list[Callable[[], None]] = []
        self._failure: BaseException | None = None
        self._hub: greenlet = getcurrent()

    # --- processes -----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, node: Host, main: Main, *, daemon: bool = False, mortal: bool = True) -> Process:
        """Start a process: also from within another one, or from a watcher.

        Args:
            name: For people.
            node: Where.
            main: What it does. What it raises is raised by `run`.
            daemon: Whether `run` returns although it still runs.
            mortal: Whether chance may kill or pause it.
        """
        process = Process(len(self.processes) + 1, name, node, daemon, mortal)
        self.processes.append(process)
        self._awaited += not daemon
        self.note(process, "begins")
        self.start_fiber(process, main)
        return process

    def start_fiber(self, process: Process, main: Main) -> Fiber:
        """Start a thread of a process; the first one's result and error are those of the process."""
        first = not process.fibers

        def body() -> None:
            try:
                result = main()
            except Killed:
                return
            except BaseException as error:  # noqa: BLE001 - raised by `run`, in the caller's stack
                fiber.error = process.error = error
            else:
                if first:
                    process.result = result

        fiber = Fiber(process, greenlet(body, self._hub))
        process.fibers.append(fiber)
        self._runnable.append(fiber)
        return fiber

    def kill(self, process: Process) -> None:
        """End a process here and now; from within itself this does not return."""
        self._order(lambda: self._end(process, State.KILLED), leaves=process)

    def pause(self, process: Process, seconds: float) -> None:
        """Let a process stand still for `seconds` and then go on as if nothing had been."""
        process.paused_seconds += seconds
        process.paused_until_us = max(process.paused_until_us, self.now_us + round(seconds * MICROSECONDS))
        self.note(process, "pauses", f"{seconds:.3f} s")
        self.watcher.paused(process, seconds)
        if self.current is not None and self.current.process is process:
            self.switch()

    def lose_power(self, node: Host) -> None:
        """Kill everything on a node and let it forget what was not durable."""

        def order() -> None:
            # Not those that a watcher spawns meanwhile: they begin when the node is up again.
            for process in list(self.processes):
                if process.node is node and process.alive:
                    self._end(process, State.KILLED)
            self.note(None, "power loss", node.name)
            node.lose_power(self._chance)
            self.watcher.power_lost(node)

        leaves = self.current.process if self.current is not None and self.current.process.node is node else None
        self._order(order, leaves=leaves)

    def wait_for(self, process: Process) -> None:
        """Wait until another process has ended."""
        while process.alive:
            assert self.current is not None, "only a process can wait for another one"
            process.waiting.append(self.current)
            self.suspend()

    def stop(self, failure: BaseException) -> None:
        """Stop the world where it is; `run` raises `failure`. Does not return within a process."""
        if self.current is None:
            raise failure
        self._failure = failure
        self._hub.switch()

    def note(self, process: Process | None, event: str, detail: str = "") -> None:
        """Something happened that is no I/O; whoever keeps a trace overrides this."""

    # --- fibers --------------------------------------------------------------------------------------------------------

    def switch(self) -> None:
        """Let others go on first."""
        assert self.current is not None
        self._runnable.append(self.current)
        self.suspend()

    def suspend(self) -> None:
        """Stand still until somebody calls `wake`."""
        if self.current is None:
            raise StuckError("nothing outside of processes may wait: nobody could end it")
        if not self.current.process.alive:
            raise Killed
        self._hub.switch()

    def wake(self, fibers: list[Fiber]) -> None:
        """Let fibers go on, and empty the list."""
        self._runnable.extend(fibers)
        fibers.clear()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass for the current fiber; outside of processes: for the whole world."""
        due_us = self.now_us + max(0, round(seconds * MICROSECONDS))
        if self.current is not None:
            self._at(due_us, self.current, None)
            self.suspend()
            return
        while self._timers and self._timers[0][0] <= due_us:
            self.now_us = max(self.now_us, self._timers[0][0])
            self._fire()
        self.now_us = max(self.now_us, due_us)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something outside of all processes, `seconds` from now."""
        self._at(self.now_us + round(seconds * MICROSECONDS), None, action)

    # --- the hub -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything go on until no process is left that is not a daemon.

        Raises:
            StuckError: They all wait for each other.
            BaseException: What a process raised, or what a watcher asserted.
        """
        # A finalizer that runs at an arbitrary moment could do I/O there: then a seed would not repeat.
        collecting = gc.isenabled()
        gc.disable()
        try:
            while self._awaited:
                fiber = self._next()
                if fiber is None and not self._awaited:
                    # A timer has killed the last one.
                    return
                if fiber is None:
                    alive = ", ".join(str(process) for process in self.processes if process.alive)
                    raise StuckError(f"these processes wait for each other: {alive}")
                self._resume(fiber)
        finally:
            if collecting:
                gc.enable()

    def close(self) -> None:
        """End everything without telling anybody."""
        self.watcher = Watcher()
        self._timers.clear()
        for process in self.processes:
            if process.alive:
                self._end(process, State.KILLED)

    def _next(self) -> Fiber | None:
        while True:
            if self._timers and self._timers[0][0] <= self.now_us:
                self._fire()
                continue
            count = len(self._runnable)
            if count:
                index = int(self._random() * count) if count > 1 else 0
                last = self._runnable.pop()
                fiber = last
                if index < count - 1:
                    fiber, self._runnable[index] = self._runnable[index], last
                if fiber.done:
                    continue
                if fiber.process.paused_until_us > self.now_us:
                    self._at(fiber.process.paused_until_us, fiber, None)
                    continue
                return fiber
            if not self._timers:
                return None
            self.now_us = max(self.now_us, self._timers[0][0])

    def _resume(self, fiber: Fiber) -> None:
        self.current = fiber
        fiber.greenlet.switch()
        self.current = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if fiber.greenlet.dead and not fiber.done:
            self._fiber_done(fiber)
        while self._orders:
            self._orders.pop()()

    def _fiber_done(self, fiber: Fiber) -> None:
        process = fiber.process
        fiber.done = True
        process.fibers.remove(fiber)
        if fiber.error is not None:
            self._end(process, State.FAILED)
            raise fiber.error
        if not process.fibers:
            self._end(process, State.DONE)

    def _end(self, process: Process, state: State) -> None:
        if not process.alive:
            return
        process.state = state
        self.note(process, state.value)
        self._awaited -= not process.daemon
        for fiber in process.fibers:
            fiber.done = True
            # One that has not begun has nothing to unwind.
            if fiber.greenlet:
                self.current = fiber
                fiber.greenlet.throw(Killed)
                self.current = None
                assert fiber.greenlet.dead, f"{process} caught its own death and went on"
        process.fibers.clear()
        process.node.release(process)
        self.wake(process.waiting)
        self.watcher.ended(process)

    def _order(self, order: Callable[[], None], *, leaves: Process | None) -> None:
        """Have the hub do what ends greenlets; the current one goes on afterwards unless it belongs to `leaves`."""
        fiber = self.current
        if fiber is None:
            order()
            return
        self._orders.append(order)
        if fiber.process is not leaves:
            self._runnable.append(fiber)
        self.suspend()

    def _at(self, due_us: int, fiber: Fiber | None, action: Callable[[], None] | None) -> None:
        self._timers_begun += 1
        heapq.heappush(self._timers, (due_us, self._timers_begun, fiber, action))

    def _fire(self) -> None:
        _, _, fiber, action = heapq.heappop(self._timers)
        if fiber is not None:
            self._runnable.append(fiber)
        if action is not None:
            action()

"""The agent as a process: one per staging directory, held by a lock; it yields to a newer one, and may leave when idle."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ckpt_archive import record
from ckpt_archive.agent.node import Agent, Pass
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.agent.upkeep import Upkeep
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import LockMode, join
from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.local.agent_status import AgentStatus, forget_half_written, read_status, write_status
from ckpt_archive.local.faults import converting
from ckpt_archive.local.gaps import load_missed
from ckpt_archive.local.ring import SealedShare, scan
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine

_log = logging.getLogger(__name__)

PROTOCOL = 1
"""Raised when two releases must not work on one staging directory in turns."""

_HANDOVER = "agent.handover.json"
_MORE_TRIES = 5
_TRY_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain left.

    Attributes:
        done: Whether everything promoted is archived or given up.
        remaining: What is not.
        troubles: Why.
    """

    done: bool
    remaining: tuple[SealedShare, ...]
    troubles: tuple[str, ...]


class Daemon:
    """Runs an agent's passes until told to stop.

    Args:
        machine: The machine it runs on.
        agent: What it runs.
        settings: How it works.
        pid: This process, for people.
        protocol: The version of its ways.
        upkeep: Maintains the archives beside; None where somebody else does.
    """

    def __init__(
        self,
        machine: Machine,
        agent: Agent,
        settings: AgentSettings,
        pid: int = 0,
        *,
        protocol: int = PROTOCOL,
        upkeep: Upkeep | None = None,
    ) -> None:
        self._machine = machine
        self._pid = pid
        self._protocol = protocol
        self._agent = agent
        self._staging = agent.staging
        self._settings = settings
        self._upkeep = upkeep
        self._said: tuple[object, ...] = ()

    def run(
        self,
        should_stop: Callable[[], bool],
        *,
        until_idle: bool = False,
        hurry: Callable[[], bool] = lambda: False,
        on_pass: Callable[[Pass], None] | None = None,
    ) -> None:
        """Work until `should_stop`, until a newer agent asks for the staging directory, or until there is nothing to do.

        Args:
            should_stop: Asked between passes.
            until_idle: Leave when no launch lives and nothing is pending; also while credentials are refused: those of the
                next launch may be better, and they reach an agent that it starts.
            hurry: Asked before each share; once it says so, the pass begins nothing more.
            on_pass: Told what each pass did.

        Raises:
            ConflictError: If another agent works here already.
            UnavailableError: If the disk does not answer.
        """
        with self._sole():
            inode = self._lock_inode()
            idle_since: float | None = None
            # Whoever removed the lock's file, with the staging directory perhaps, has made room for another agent.
            while not should_stop() and not self._newer_wants_it() and self._lock_inode() == inode:
                done = self._pass(hurry)
                if on_pass is not None:
                    on_pass(done)
                now = self._machine.clock.monotonic()
                busy = (done.live or done.pending or done.untold) and not (done.denied and not done.archived)
                idle_since = None if busy else (now if idle_since is None else idle_since)
                if until_idle and idle_since is not None and now - idle_since >= self._settings.linger_seconds:
                    self._maintain(leaving=True, hurry=hurry)
                    return
                if not done.pending:
                    self._maintain(hurry=hurry)
                self._machine.clock.sleep(self._settings.poll_seconds)

    def drain(self, timeout_seconds: float, *, on_pass: Callable[[Pass], None] | None = None) -> DrainReport:
        """Work, or watch the agent that works here, until the time is over, or everything promoted is archived or given up.

        What was given up counts when the archive knows of it.
        """
        ends_at = self._machine.clock.monotonic() + timeout_seconds
        held: AbstractContextManager[None] | None = None
        troubles: tuple[str, ...] = ()
        try:
            while True:
                held = held or self._try_lock()
                if held is not None:
                    done = self._pass()
                    troubles = tuple(done.troubles)
                    if on_pass is not None:
                        on_pass(done)
                else:
                    said = read_status(self._staging)
                    troubles = () if said is None else said.troubles
                remaining: list[SealedShare] = []
                untold = 0
                unknown: tuple[str, ...] = ()
                try:
                    remaining = pending(self._staging)
                    untold = _untold(self._staging)
                except UnavailableError as error:
                    unknown = (str(error),)
                if not (remaining or untold or unknown):
                    self._maintain(leaving=True)
                    return DrainReport(done=True, remaining=(), troubles=())
                if self._machine.clock.monotonic() >= ends_at:
                    troubles += unknown
                    if untold:
                        troubles += (
                            f"{untold} checkpoints were given up here and the archive does not know of it yet",
                        )
                    return DrainReport(done=False, remaining=tuple(remaining), troubles=troubles)
                self._machine.clock.sleep(min(self._settings.poll_seconds, 1.0))
        finally:
            if held is not None:
                held.__exit__(None, None, None)

    def _pass(self, should_stop: Callable[[], bool] = lambda: False) -> Pass:
        try:
            done = self._agent.step(should_stop)
        except CkptArchiveError as error:
            _log.warning("%s", error)
            done = Pass(troubles=[str(error)])
        self._say(done)
        if self._upkeep is not None:
            self._upkeep.note(done.archives)
        return done

    def _maintain(self, *, leaving: bool = False, hurry: Callable[[], bool] = lambda: False) -> None:
        """Maintain the archives, until there is something to upload: that comes first."""
        if self._upkeep is None:
            return

        def has_work() -> bool:
            try:
                return hurry() or self._newer_wants_it() or bool(pending(self._staging))
            except UnavailableError:
                return True

        if leaving:
            self._upkeep.finish(has_work)
        else:
            self._upkeep.work(has_work)

    def _say(self, done: Pass) -> None:
        oldest = min((share.seal.contribution.staged_at for share in done.pending), default=None)
        said = (len(done.pending), oldest, tuple(done.troubles), done.denied)
        if said == self._said:
            return
        status = AgentStatus(
            self._machine.clock.now(),
            self._pid,
            self._protocol,
            len(done.pending),
            oldest,
            tuple(done.troubles),
            done.denied,
        )
        try:
            write_status(self._staging, status)
        except OSError as error:
            _log.warning("the agent's status can not be written: %s", error)
        else:
            self._said = said

    @contextmanager
    def _sole(self) -> Iterator[None]:
        """Be the one agent of the staging directory."""
        with converting(f"no agent can work in {self._staging.root}"):
            durable.make_directories(self._machine.fs, self._staging.root)
        held = self._try_lock()
        for _ in range(_MORE_TRIES):
            if held is not None:
                break
            # Whoever asks whether an agent works here holds the lock for a moment too.
            self._machine.clock.sleep(_TRY_AGAIN_SECONDS)
            held = self._try_lock()
        with held or self._taken_over():
            with converting(f"{self._handover} can not be removed"):
                # It was for us, or for one that is gone.
                durable.remove_if_there(self._machine.fs, self._handover)
            with converting(f"the staging folder {self._staging.root} can not be tidied"):
                forget_half_written(self._staging)
            yield

    def _taken_over(self) -> AbstractContextManager[None]:
        """The lock of an older agent, which is asked to leave; taken when it has finished its pass."""
        fs = self._machine.fs
        said = read_status(self._staging)
        if said is None or said.protocol >= self._protocol:
            who = f" (process {said.pid})" if said is not None and said.pid else ""
            raise ConflictError(
                f"another agent{who} works in {self._staging.root} already",
                hint="One agent serves all runs of a staging directory: let it work.",
            )
        with converting(f"the agent of {self._staging.root} can not be asked to leave"):
            data = record.encode("agent-handover", {"protocol": self._protocol}, {})
            durable.replace(fs, self._handover, data, nonce=self._machine.nonce())
        return fs.lock(self._staging.agent_lock, LockMode.EXCLUSIVE)

    def _try_lock(self) -> AbstractContextManager[None] | None:
        with converting(f"the lock of the agent of {self._staging.root} can not be asked"):
            return self._machine.fs.try_lock(self._staging.agent_lock, LockMode.EXCLUSIVE)

    def _lock_inode(self) -> int | None:
        try:
            return self._machine.fs.stat(self._staging.agent_lock).inode
        except OSError:
            return None

    @property
    def _handover(self) -> str:
        return join(self._staging.root, _HANDOVER)

    def _newer_wants_it(self) -> bool:
        try:
            data = durable.read_small(self._machine.fs, self._handover)
            return record.decode("agent-handover", data, self._handover).number("protocol") > self._protocol
        except InvalidInputError:
            # Only a newer release writes what we can not read.
            return True
        except (OSError, IntegrityError):
            return False


def pending(staging: Staging) -> list[SealedShare]:
    """Promoted shares that are neither archived nor given up, by run and age.

    Raises:
        UnavailableError: If the disk does not answer: what can not be looked at may be one of them.
    """
    return [share for name in staging.runs() for share in scan(staging.run(name), strict=True) if share.is_pinned]


def _untold(staging: Staging) -> int:
    return sum(len(load_missed(staging.run(name), strict=True)) for name in staging.runs())

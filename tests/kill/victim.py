"""A process of the real code that may be told to end itself with SIGKILL. Its one argument says what it does, as JSON."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.archive import Archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.compose import connection_of, system_machine
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.restore.archived import restore_archived
from ckpt_archive.restore.selection import Selection
from ckpt_archive.settings import Environment
from ckpt_archive.ship.push import PushRequest, push
from ckpt_archive.store.open import connect as bare_store
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.testing.kill import KillAt, KillAtDisk, Moments, Point
from ckpt_archive.transfer.settings import TransferSettings

Result = Mapping[str, Any]


class Scene:
    """The parts of a process, wired as `compose` does, with the points in between."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.moments = Moments([Point.from_json(point) for point in task["points"]], task["traffic"])
        self.arguments: dict[str, Any] = task["arguments"]
        self.settings = TransferSettings(
            part_size_bytes=self.arguments.pop("part_size_bytes", 5 << 20),
            pack_below_bytes=1 << 20,
            parts_in_flight=self.arguments.pop("parts_in_flight", 2),
        )
        self._policy = RetryPolicy(
            max_tries=self.arguments.pop("max_tries", 40),
            longest_pause_seconds=1.0,
            deadline_seconds=60.0,
        )
        self.machine: Machine = replace(system_machine(), fs=KillAtDisk(self.moments))

    def connect(self, url: str) -> Connection:
        bare = bare_store(url, fs=PosixFileSystem(), clock=self.machine.clock)
        store = RetryingStore(KillAt(bare, self.moments), self.machine.clock, self._policy)
        return connection_of(store, self.machine, self.settings, None)


def do_push(scene: Scene, *, url: str, **request: Any) -> Result:
    return asdict(push(scene.machine, scene.connect(url), PushRequest(**request)))


def do_agent(scene: Scene, *, staging: str) -> Result:
    settings = AgentSettings(transfer=scene.settings, poll_seconds=0.05, recheck_seconds=0.2)
    agent = Agent(scene.machine, Staging(scene.machine, staging), scene.connect, settings)
    archived: list[dict[str, Any]] = []
    report = Daemon(scene.machine, agent, settings).drain(
        60.0, on_pass=lambda done: archived.extend(asdict(item) for item in done.archived)
    )
    return {"done": report.done, "archived": archived, "troubles": report.troubles}


def do_restore(scene: Scene, *, url: str, to: str, run: str, attempt: int, step: int) -> Result:
    place = Place(run, attempt, step)
    restored = restore_archived(scene.machine, scene.connect(url), place, lambda _: to, Selection())
    return {**asdict(restored), "path": str(restored.path)}


def do_train(
    scene: Scene, *, url: str, staging: str, run: str, steps: list[int], size_bytes: int, torn: bool
) -> Result:
    """Save steps as a trainer does; the last one is broken off in the middle of its file if `torn`."""
    archive = Archive(url, scene.machine, lambda _: scene.connect(url), lambda _: None, Environment(), scene.settings)
    training = archive.run(run, staging=staging, promote=Every(1), agent="external", on_error="raise")
    saved = []
    for step in steps:
        with training.checkpoint(step=step) as checkpoint:
            data = step.to_bytes(4, "big") * (size_bytes // 4)
            with open(checkpoint.path / "model.bin", "wb") as file:
                file.write(data[: size_bytes // 2])
                file.flush()
                if torn and step == steps[-1]:
                    scene.moments.die()
                file.write(data[size_bytes // 2 :])
        saved.append((step, checkpoint.staged, checkpoint.duplicate))
    training.finish()
    return {"saved": saved}


ACTIONS: dict[str, Callable[..., Result]] = {
    "push": do_push,
    "agent": do_agent,
    "restore": do_restore,
    "train": do_train,
}


def main() -> int:
    task = json.loads(sys.argv[1])
    scene = Scene(task)
    try:
        result = ACTIONS[task["do"]](scene, **scene.arguments)
    except CkptArchiveError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    finally:
        scene.moments.leave_traces()
    os.write(1, f"{json.dumps(result)}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

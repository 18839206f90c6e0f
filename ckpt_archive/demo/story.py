"""The whole story on one machine: train, kill everything mid-upload, resume, lose the node, look, verify, restore.

Real processes, a real S3 server, real SIGKILLs; what is claimed is checked. About half a minute, no network.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ckpt_archive.clock import SystemClock
from ckpt_archive.demo.actors import Actor, command_line, on_terminal
from ckpt_archive.demo.telling import Teller
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import InvalidInputError, UnavailableError
from ckpt_archive.store.open import connect
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.s3_connection import Connection

RUN = "digits"
SAVE_EVERY = 5
PROMOTE_EVERY = 2
FIRST_DEATH, SECOND_DEATH, LAST_STEP = 45, 95, 130
PART_SIZE = "5M"
SLOW = "6M"

T = TypeVar("T")

_ARCHIVED = re.compile(r"archived \S+ step (\d+) .*: (\S+ \S+) sent(?:, (\S+ \S+) found)?")
_WAIT_SECONDS = 60.0
_LEAST_WIDTH = 100  # of the terminal that commands print to


@dataclass(frozen=True, slots=True)
class _Upload:
    """Sizes, as the agent told them.

    Attributes:
        sent: What went to the store.
        found: What was there from an earlier upload; "" if nothing was.
    """

    sent: str
    found: str


@dataclass(slots=True)
class Story:
    """One telling.

    Args:
        teller: Prints it.
        folder: Everything happens in here.
        kept: Whether it stays when the story is told.
    """

    teller: Teller
    folder: str
    kept: bool
    _server: DevServer = field(init=False)
    _environment: dict[str, str] = field(init=False)
    _launches: list[dict[int, float]] = field(default_factory=list)
    _uploads: dict[int, _Upload] = field(default_factory=dict)
    _on_stage: ExitStack = field(default_factory=ExitStack)

    def tell(self) -> None:
        """Tell it; what was not as claimed is in `teller.failures`.

        Raises:
            InvalidInputError: If the extra ``demo`` is not installed.
            UnavailableError: If one of the processes does not do its part.
        """
        if any(importlib.util.find_spec(name) is None for name in ("sklearn", "duckdb", "deltalake")):
            raise InvalidInputError("the demo's parts are not installed", hint="pip install 'ckpt-archive[demo]'")
        with self._on_stage:
            self._begin()
            self._die_in_the_middle()
            self._come_back()
            self._lose_the_node()
            self._look_and_leave()
            self._ask()
            self._keep()
            self._compare_curves()
        self._say_what_is_next()

    def _begin(self) -> None:
        self.teller.chapter("A real S3 server on this machine, and an archive in it")
        self._server = self._on_stage.enter_context(DevServer(os.path.join(self.folder, "server")))
        self._environment = {
            **os.environ,
            **self._server.environment(),
            # One thread each: this machine also has a server to run, and sums come out the same to the last bit.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._cli("init")

    def _die_in_the_middle(self) -> None:
        self.teller.chapter("Training saves to the local disk, the agent uploads; then SIGKILL for both")
        self.teller.say(
            f"A checkpoint every {SAVE_EVERY} steps; every {PROMOTE_EVERY}nd goes to the archive. The agent is held to "
            f"{SLOW} a second, so that it is surely in the middle of an upload. (An attempt is what the archive calls one "
            "launch of a training run, counted from 0; the ring is the newest few checkpoints, kept on the local disk.)"
        )
        agent = self._agent("node-1", "--bandwidth", SLOW)
        trainer = self._trainer("node-1")
        trainer.wait_for(_saved(FIRST_DEATH))
        trainer.kill()
        self.teller.event("SIGKILL", f"the trainer, after step {FIRST_DEATH}")
        parts = self._wait_for_parts()
        agent.kill()
        self.teller.event("SIGKILL", f"the agent, with {parts} parts of an unfinished upload in the store")
        self._cli("status", "--staging", self._staging("node-1"))

    def _come_back(self) -> None:
        self.teller.chapter("The node comes back: nothing staged is lost, nothing is sent twice")
        agent = self._agent("node-1")
        trainer = self._trainer("node-1")
        resumed = json.loads(trainer.wait_for(_event("resumed")))
        self.teller.check(
            f"training went on from step {FIRST_DEATH}, the last one saved, from the local disk ({resumed['source']})",
            (resumed["step"], resumed["source"]) == (FIRST_DEATH, "ring"),
        )
        found = {step: upload for step, upload in self._wait_for_uploads(4).items() if upload.found}
        for step, upload in found.items():
            self.teller.say(
                f"  step {step}: {upload.found} were in the store already, the other {upload.sent} were sent."
            )
        self.teller.check("the broken-off upload went on where it stopped", bool(found))
        trainer.wait_for(_saved(SECOND_DEATH))
        trainer.kill()
        self.teller.event("SIGKILL", f"the trainer, after step {SECOND_DEATH}")
        self._wait_for_uploads(5)
        agent.kill()
        self.teller.event("SIGKILL", "the agent")

    def _lose_the_node(self) -> None:
        self.teller.chapter("The node is lost with its disk: another one goes on from the archive")
        shutil.rmtree(self._staging("node-1"))
        agent = self._agent("node-2")
        trainer = self._trainer("node-2")
        resumed = json.loads(trainer.wait_for(_event("resumed")))
        self.teller.check(
            f"a node that holds nothing went on from step {resumed['step']}, the newest in the archive, every byte verified",
            (resumed["source"], resumed["verified"]) == ("archive", True) and resumed["step"] > FIRST_DEATH,
        )
        self.teller.check("the trainer finished", trainer.join() == 0)
        self._cli("drain", "--staging", self._staging("node-2"))
        agent.stop()

    def _look_and_leave(self) -> None:
        self.teller.chapter("The bucket is all one needs: look, verify every byte, fetch, compare")
        self._cli("ls", RUN)
        self._cli("verify", RUN, "--deep")
        restored = os.path.join(self.folder, "restored")
        self._cli("restore", RUN, str(LAST_STEP), "--to", restored)
        staged = _files_of_newest(self._staging("node-2"))
        self.teller.check("the restored folder is byte for byte what the trainer staged", _digests(restored) == staged)
        if shutil.which("curl"):
            self.teller.say("And without this package: curl, sh and sha256sum.")
            script = self._script("show", RUN, str(LAST_STEP), "--as", "curl")
            without_us = os.path.join(self.folder, "without-us")
            os.mkdir(without_us)
            done = subprocess.run(["sh"], input=script, text=True, cwd=without_us, env=self._environment, check=False)  # noqa: S607
            self.teller.check("that folder is the same", done.returncode == 0 and _digests(without_us) == staged)

    def _ask(self) -> None:
        self.teller.chapter("Whoever asks later asks with SQL: an index in the same bucket")
        self._cli("index", "sync")
        self.teller.say("Which models saw a data source? (One of the questions that `query --list` shows.)")
        self._cli("query", "--saved", "data-source", "-p", "source=pip:scikit-learn%")
        self._cli(
            "query",
            "SELECT attempt, count(*) AS checkpoints, max(step) AS last_step, min(value) AS best_loss "
            "FROM metrics GROUP BY attempt ORDER BY attempt",
        )
        counted = json.loads(self._printed("query", "--json", "SELECT count(*) AS checkpoints FROM checkpoints"))
        listed = json.loads(self._printed("ls", RUN, "--json"))
        self.teller.check(f"the index knows all {len(listed)} checkpoints", counted == [{"checkpoints": len(listed)}])
        self._cli("index", "check", "--all")

    def _keep(self) -> None:
        self.teller.chapter("What is kept for how long: one policy, priced, shown, applied to the bucket's own rules")
        self.teller.say("What three years of a 70B model cost, 1 TB every five minutes, under each preset:")
        self._cli("retention", "simulate")
        first = min(item["step"] for item in json.loads(self._printed("ls", RUN, "--json")))
        self.teller.say(f"A lawyer wants step {first} kept, whatever the policy says. Then the policy is applied.")
        self._cli("retention", "hold", RUN, str(first), "--case", "demo-1", "--reason", "somebody asked")
        self._cli("retention", "plan")
        self._cli("retention", "apply", "--yes")
        self._cli("retention", "drift")
        states = {item["step"]: item for item in json.loads(self._printed("ls", RUN, "--json"))}
        ending = sorted(step for step, item in states.items() if item["state"] == "ending")
        newest = sorted(states)[-3:]
        self.teller.check(
            f"steps {', '.join(map(str, ending))} will end, and that is announced; the three newest and the held one stay",
            bool(ending) and states[first]["held"] and not {first, *newest}.intersection(ending),
        )

    def _compare_curves(self) -> None:
        self.teller.chapter("The loss curve, over three launches and two deaths")
        self.teller.curve(self._launches)
        self.teller.say("The same training once more, never interrupted, for comparison:")
        trainer = self._trainer("reference", "--run", "reference", "--promote-every", "1000", heard=False)
        self.teller.check("the reference finished", trainer.join() == 0)
        reference = self._launches.pop()
        told = {step: loss for launch in self._launches for step, loss in launch.items()}
        self.teller.check(
            f"all {len(reference)} losses are the same to the last bit", len(reference) > 0 and told == reference
        )

    def _say_what_is_next(self) -> None:
        self.teller.chapter("And now")
        if self.kept:
            server = shlex.quote(os.path.join(self.folder, "server"))
            self.teller.say(f"Everything is kept in {self.folder}. Serve its archive again, to look around in it:")
            self.teller.command(f"ckpt-archive dev-server --folder {server}")
        else:
            self.teller.say("All of this was in a folder that is removed now. To keep it, and look around in it:")
            self.teller.command("ckpt-archive demo --folder DIR")
        self.teller.say(
            'For your own training: "In the training loop" in README.md; without the library: "Without the library".'
        )

    def _cli(self, *arguments: str) -> None:
        """Run a command; what it shows to a person is shown."""
        line = shlex.join(["ckpt-archive", *arguments])
        self.teller.command(line)
        said = on_terminal("ckpt_archive", arguments, self._environment, width=max(_LEAST_WIDTH, self.teller.width))
        self.teller.output(said.text)
        if said.exit_code != 0:
            self.teller.check(f"`{line}` exits 0, not {said.exit_code}", holds=False)

    def _script(self, *arguments: str) -> str:
        """The script that a command prints; shown as piped to a shell."""
        self.teller.command(f"{shlex.join(['ckpt-archive', *arguments])} | sh")
        return self._printed(*arguments)

    def _printed(self, *arguments: str) -> str:
        """What a command prints to another program."""
        line = shlex.join(["ckpt-archive", *arguments])
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command_line("ckpt_archive", arguments), env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            self.teller.output(done.stderr)
            self.teller.check(f"`{line}` exits 0, not {done.returncode}", holds=False)
        return done.stdout

    def _staging(self, node: str) -> str:
        return os.path.join(self.folder, node)

    def _agent(self, node: str, *options: str) -> Actor:
        def hear(line: str) -> None:
            self.teller.event("agent", line)
            found = _ARCHIVED.match(line)
            if found:
                self._uploads[int(found[1])] = _Upload(found[2], found[3] or "")

        arguments = ["agent", "--staging", self._staging(node), "--part-size", PART_SIZE, *options]
        return self._enter(Actor("agent", "ckpt_archive", arguments, self._environment, hear))

    def _trainer(self, node: str, *options: str, heard: bool = True) -> Actor:
        losses: dict[int, float] = {}
        self._launches.append(losses)

        def hear(line: str) -> None:
            said = json.loads(line) if line.startswith("{") else None
            if said and said["event"] == "saved":
                losses[said["step"]] = said["loss"]
            if heard:
                self.teller.event("trainer", _told(said) if said else line)

        arguments = ["--staging", self._staging(node), "--agent", "external"]
        arguments += ["--steps", str(LAST_STEP), "--save-every", str(SAVE_EVERY)]
        arguments += ["--promote-every", str(PROMOTE_EVERY), *options]
        return self._enter(Actor("trainer", "ckpt_archive.demo.trainer", arguments, self._environment, hear))

    def _enter(self, actor: Actor) -> Actor:
        self._on_stage.callback(actor.kill)
        return actor

    def _wait_for_parts(self) -> int:
        """Until an upload is under way of which the store holds at least two parts; how many it holds."""
        server = self._server
        keys = Connection(server.endpoint_url, server.access_key, server.secret_key, REGION)
        store: Store = connect(server.url, fs=PosixFileSystem(), clock=SystemClock(), connection=keys)

        def look() -> int:
            parts = sum(len(store.list_parts(item.key, item.upload_id)) for item in store.list_uploads("data/"))
            return parts if parts > 1 else 0

        return _until(look, "the agent began no upload")

    def _wait_for_uploads(self, count: int) -> dict[int, _Upload]:
        def look() -> dict[int, _Upload]:
            return dict(self._uploads) if len(self._uploads) >= count else {}

        return _until(look, "the agent archived too little")


def _until(look: Callable[[], T], problem: str) -> T:
    """What `look` sees when it is something."""
    clock = SystemClock()
    ends_at = clock.monotonic() + _WAIT_SECONDS
    while not (seen := look()):
        if clock.monotonic() > ends_at:
            raise UnavailableError(problem, hint="What the processes said stands above.")
        clock.sleep(0.02)
    return seen


def _told(said: dict[str, Any]) -> str:
    match said["event"]:
        case "saved":
            return f"saved step {said['step']}, loss {said['loss']:.4f}" + ("" if said["staged"] else ": NOT staged")
        case "resumed":
            return f"resumed from step {said['step']}, from the {said['source']}"
        case _:
            return f"{said['event']} at step {said['step']}"


def _event(name: str) -> Callable[[str], bool]:
    return lambda line: line.startswith("{") and json.loads(line)["event"] == name


def _saved(step: int) -> Callable[[str], bool]:
    return lambda line: _event("saved")(line) and json.loads(line)["step"] == step


def _digests(folder: str) -> dict[str, str]:
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _files_of_newest(staging: str) -> dict[str, str]:
    """Digests of the files of the checkpoint that was sealed last."""
    ring = os.path.join(staging, RUN, "ring")
    launch = max(os.listdir(ring))
    step = max(os.listdir(os.path.join(ring, launch)))
    (share,) = os.listdir(os.path.join(ring, launch, step))
    return _digests(os.path.join(ring, launch, step, share, "files"))

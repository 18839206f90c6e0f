"""What the children of a siege do: each is what a user would run, through the public API or the command line."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckpt_archive import Archive, Every
from ckpt_archive.cli import main as cli
from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.commit import catalog
from ckpt_archive.commit.decision import Action, read_decisions
from ckpt_archive.compose import system_machine
from ckpt_archive.errors import CkptArchiveError, NotFoundError
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.siege import journal as journal_of
from ckpt_archive.testing.siege.content import Identity, WrongBytesError, check, write
from ckpt_archive.testing.siege.journal import Journal
from ckpt_archive.transfer.settings import TransferSettings

WRONG = 71
"""The exit code of a child that was given wrong bytes and was not told so."""

PART_SIZE_BYTES = 5 << 20  # the smallest part that S3 takes, and so the smallest that is sent
PROMOTE_EVERY = 2

RUN = "trained"
PUSHED = "pushed"


def _transfer() -> TransferSettings:
    return TransferSettings(part_size_bytes=PART_SIZE_BYTES, parts_in_flight=4)


def command(*arguments: str) -> Callable[[], int]:
    """A command line of ours."""
    return lambda: cli.run(arguments)


@dataclass(frozen=True, slots=True)
class Training:
    """A training process.

    Attributes:
        seed: Of the site.
        launch: Its name.
        staging: The staging folder.
        journal: Where it tells what it does.
        agent: "auto" or "external".
        pace_seconds: How long it trains between two saves.
        saves: After how many it ends; None for never.
    """

    seed: str
    launch: str
    staging: str
    journal: str
    agent: str = "external"
    pace_seconds: float = 0.1
    saves: int | None = None

    def __call__(self) -> int:
        """Resume, train, save."""
        clock: Clock = SystemClock()
        journal = Journal(self.journal)
        archive = Archive.open(transfer=_transfer())
        run = archive.run(
            RUN,
            staging=self.staging,
            promote=Every(PROMOTE_EVERY, save_every_steps=1),
            labels={"launch": self.launch},
            agent=self.agent,
        )
        journal.say(journal_of.LAUNCH, self.launch)
        try:
            restored = run.resume()
            found = None if restored is None else check(restored.path)[0]
        except WrongBytesError as error:
            journal.say(journal_of.WRONG, self.launch, why=str(error))
            return WRONG
        except CkptArchiveError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        step = 0 if restored is None else restored.step
        if found is not None and found != Identity(self.seed, RUN, step, found.launch):
            journal.say(journal_of.WRONG, self.launch, why=f"step {step} is {found}")
            return WRONG
        journal.say(
            journal_of.RESUMED,
            self.launch,
            step=None if restored is None else step,
            **{"from": None if found is None else found.launch},
            source=None if restored is None else restored.source,
        )
        last = None if self.saves is None else step + self.saves
        while last is None or step < last:
            clock.sleep(self.pace_seconds)
            step += 1
            journal.say(journal_of.BEGUN, self.launch, step=step)
            with run.checkpoint(step=step, metrics={"loss": 1 / step}) as checkpoint:
                write(checkpoint.path, Identity(self.seed, RUN, step, self.launch))
            told = journal_of.ACKNOWLEDGED if checkpoint.staged else journal_of.NOT_STAGED
            journal.say(told, self.launch, step=step)
        run.finish()
        return 0


@dataclass(frozen=True, slots=True)
class Pushing:
    """A push in parts, through the API: the command line's parts are larger than what is worth sending here."""

    folder: str
    step: int
    rank: int
    writers: int

    def __call__(self) -> int:
        """Push."""
        try:
            archive = Archive.open(transfer=_transfer())
            report = archive.push(self.folder, PUSHED, self.step, rank=self.rank, writers=self.writers)
        except CkptArchiveError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        os.write(1, json.dumps([asdict(report)]).encode() + b"\n")
        return 0


@dataclass(frozen=True, slots=True)
class Judging:
    """Restores everything that is archived, and looks for what lies around; tells it as one line of JSON.

    Attributes:
        scratch: A folder for what is restored.
    """

    scratch: str

    def __call__(self) -> int:
        """Restore, compare, list."""
        archive = Archive.open(transfer=_transfer())
        machine = system_machine()
        store = archive.connection.store
        archived: list[tuple[str, int, int, str]] = []
        wrong: list[str] = []
        refused: list[str] = []
        named: set[str] = set()
        gaps: list[tuple[int, int]] = []
        for run in (RUN, PUSHED):
            with contextlib.suppress(NotFoundError):
                for info in archive.checkpoints(run):
                    folder = Path(self.scratch, f"{run}-{info.attempt}-{info.step}")
                    try:
                        archive.restore(run, info.step, attempt=info.attempt, to=folder, exact_folder=True)
                        archived += [(run, info.attempt, info.step, item.launch) for item in check(folder)]
                    except WrongBytesError as error:
                        wrong.append(f"{run} attempt {info.attempt} step {info.step}: {error}")
                    except CkptArchiveError as error:
                        refused.append(f"{run} attempt {info.attempt} step {info.step} is not restored: {error}")
                    shutil.rmtree(folder, ignore_errors=True)
            for place in catalog.places(store, run):
                manifest = catalog.load_manifest(store, place).manifest
                receipts = catalog.load_receipts(store, machine.executor, manifest)
                named |= {item.key for item in catalog.wanted(receipts) if item.object is not None}
        for attempt in {item[1] for item in archived if item[0] == RUN}:
            decided = read_decisions(store, RUN, attempt)
            gaps += [(attempt, item.step) for item in decided.values() if item.action is Action.GAP]
        orphans = sorted({info.key for info in list_all(store, "data/")} - named)
        found = {
            "archived": archived,
            "wrong": wrong,
            "refused": refused,
            "gaps": gaps,
            "orphans": orphans,
            "probes": [info.key for info in list_all(store, ".probe/")],
            "uploads": [upload.key for upload in store.list_uploads("")],
            "doctor": [asdict(item) for item in archive.doctor()],
        }
        os.write(1, json.dumps(found).encode() + b"\n")
        return 0


def one_document(lines: Sequence[str]) -> list[dict[str, Any]]:
    """What a command with ``--json`` has printed; empty if it did not come so far."""
    try:
        document = json.loads("\n".join(lines))
    except ValueError:
        return []
    return document if isinstance(document, list) else []

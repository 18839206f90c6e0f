"""What must be so in the store at every moment, and what every restore must return; asserted as it happens.

It reads stored records as the plain JSON that they are, and shares no code with what it judges. It knows what was saved
from the `Diary` alone.

What is not promised is not asked for: where a launch's record rots in the store, or ``archive.json`` does, its run may
come to a standstill, loudly. Any bit of anything may flip; every record tells by its own checksum.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from ckpt_archive.digest import sha256_hex
from ckpt_archive.testing.simulation.diary import COMMON, Diary, Files, Slot, common, own_files, ranks_in
from ckpt_archive.testing.simulation.feed import EVENT, MARKER, Feed
from ckpt_archive.testing.simulation.process import Process
from ckpt_archive.testing.simulation.store import SimStore

SPARED: tuple[str, ...] = ()
"""Beginnings of the keys of records whose bits never flip."""

TEXT: tuple[str, ...] = ()
"""Endings of the names of records in which only the highest bit of a byte flips."""

_MANIFEST = re.compile(r"manifests/([a-z0-9._-]+)/(\d{8})/(\d{12})\.json")
_RECEIPT = re.compile(r"receipts/([a-z0-9._-]+)/(\d{8})/(\d{12})/(\d{6})\.json")
_DATA = re.compile(r"data/([a-z0-9._-]+)/(\d{8})/(\d{12})/(\d{6})/([0-9a-f]{64})")
_ATTEMPT = re.compile(r"runs/([a-z0-9._-]+)/attempts/(\d{8})\.json")
_DECISION = re.compile(r"runs/([a-z0-9._-]+)/decisions/(\d{8})/(\d{12})\.json")
_OTHER = re.compile(r"archive\.json")
_SCRATCH = ".probe/"

At = tuple[str, int, int]
"""(run, attempt, step) of a checkpoint."""


def _at(manifest: re.Match[str]) -> At:
    return manifest[1], 99_999_999 - int(manifest[2]), 999_999_999_999 - int(manifest[3])


class Oracle:
    """Judges a store.

    Args:
        store: Which.
        diary: What was saved.
        has_rotted: Whether a bit of what may be archived as that share has rotted.
        records_rotted: Whether a record of a launch of that run has rotted somewhere.
        recorded: Told of every launch that gets its number, with its record.
        given_up: Told of every checkpoint that is given up, with the record of its launch and the reason.
        enforced: Whether the store refuses bytes that do not match their checksum.

    Attributes:
        archived: For every committed checkpoint, its tree.
        gaps: Checkpoints that were given up.
        promoted: Checkpoints that somebody asked for beyond the rule.
        unreadable: Checkpoints whose manifest came wrong into a store that does not look.
        launches: For every (run, attempt), its launch's record.
        attempts: The attempt of every launch that has one, by (run, launch key).
        choices: For every run, the newest attempt that began with a step somebody chose, and that step: (attempt, where).
        receipt_makers: Who created the receipt that names an object, by the object's key.
    """

    def __init__(
        self,
        store: SimStore,
        diary: Diary,
        has_rotted: Callable[[Slot], bool],
        records_rotted: Callable[[str], bool],
        recorded: Callable[[str, dict[str, Any]], None],
        given_up: Callable[[At, dict[str, Any], str], None],
        *,
        enforced: bool,
    ) -> None:
        self._records_rotted = records_rotted
        self._recorded = recorded
        self._given_up = given_up
        self._has_rotted = has_rotted
        self._bucket = store.bucket
        self._diary = diary
        self._enforced = enforced
        self._stored: dict[str, bytes] = {}
        self._wrong: set[str] = set()
        self._chosen: dict[tuple[str, str], tuple[int | None, int]] = {}
        self.archived: dict[At, Files] = {}
        self.slots: set[Slot] = set()
        self.launches: dict[tuple[str, int], dict[str, Any]] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.gaps: set[At] = set()
        self.promoted: set[At] = set()
        self.unreadable: set[At] = set()
        self.choices: dict[str, tuple[int, tuple[int, int] | None]] = {}
        self.receipt_makers: dict[str, Process | None] = {}
        self._feed = Feed(store.bucket, self._has_been)
        self._named: dict[At, tuple[str, ...]] = {}
        self._answers: dict[str, list[tuple[int, int] | None]] = {}
        self._kinds: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], bytes, Process | None], None]], ...] = (
            (_DATA, self._data),
            (_RECEIPT, self._receipt),
            (_MANIFEST, self._manifest),
            (_ATTEMPT, self._attempt),
            (_DECISION, self._decision),
            (MARKER, lambda match, data, _: self._feed.marker(match, data)),
            (EVENT, lambda match, data, _: self._feed.event(match, data)),
            (_OTHER, lambda *_: None),
        )

    # --- what becomes visible ------------------------------------------------------------------------------------------

    def stored(self, key: str, data: bytes, by: Process | None) -> None:
        """An object has become visible."""
        if key.startswith(_SCRATCH):
            return
        before = self._stored.get(key)
        # Where completing an upload is not conditional, who comes late puts the same bytes there once more.
        again = key.startswith("data/") and (before == data or not self._enforced)
        assert before is None or again, f"{key} was written again"
        self._stored[key] = data
        if key in self._bucket.rotted and not key.startswith("data/"):
            assert not self._enforced, f"{key} was taken with wrong bytes"
            self._wrong.add(key)
            marker = MARKER.fullmatch(key)
            if marker is not None:
                self._feed.marker_came_wrong(marker)
            manifest = _MANIFEST.fullmatch(key)
            if manifest is not None:
                self.unreadable.add(_at(manifest))
            return
        for pattern, judge in self._kinds:
            match = pattern.fullmatch(key)
            if match is not None:
                judge(match, data, by)
                return
        raise AssertionError(f"{key} has no place in an archive")

    def _has_been(self, at: At) -> bool:
        """Whether a checkpoint was committed, or what the store holds of it is damaged."""
        return at in self.archived or self.is_damaged(at)

    def deleted(self, key: str) -> None:
        """An object is gone."""
        assert key.startswith(_SCRATCH), f"{key} was deleted"

    def _data(self, match: re.Match[str], data: bytes, _: Process | None) -> None:
        if hashlib.sha256(data).hexdigest() != match[5]:
            assert not self._enforced, f"{match[0]} has other bytes than its name says"
            self._wrong.add(match[0])

    def _receipt(self, match: re.Match[str], data: bytes, by: Process | None) -> None:
        run, attempt, step, rank = match[1], int(match[2]), int(match[3]), int(match[4])
        fields = json.loads(data)
        assert (fields["run"], fields["attempt"], fields["step"], fields["rank"]) == (run, attempt, step, rank)
        folder = f"data/{run}/{match[2]}/{match[3]}/{match[4]}/"
        files = self._tree_of(match[0], fields, folder)
        slot = Slot(run, fields["launch_key"], step, rank)
        known = self._diary.archivable(slot)
        assert files in known or self._has_rotted(slot), f"{match[0]} is about files that {slot} has never saved"
        self._diary.bound.setdefault(slot, files)
        for item in fields["objects"]:
            self.receipt_makers[folder + item["sha256"]] = by

    def _manifest(self, match: re.Match[str], data: bytes, _: Process | None) -> None:
        run, attempt, step = _at(match)
        fields = json.loads(data)
        assert (fields["run"], fields["attempt"], fields["step"]) == (run, attempt, step), (
            f"{match[0]} is of another place"
        )
        launch = self.launches.get((run, attempt))
        unknown = launch is None and not self.launches_damaged(run)
        assert not unknown, f"{match[0]} is of a launch that was never recorded"
        mixed = launch is not None and launch["launch_key"] != fields["launch_key"] and not self._records_rotted(run)
        assert not mixed, f"{match[0]} is of another launch than its attempt"
        self._feed.check_marked(match[0], "commit", sha256_hex(data)[:32])
        assert [entry["rank"] for entry in fields["receipts"]] == list(range(fields["writers"]))
        tree: dict[str, bytes] = {}
        named: list[str] = []
        for entry in fields["receipts"]:
            key = f"receipts/{run}/{attempt:08d}/{step:012d}/{entry['rank']:06d}.json"
            stored = self._stored.get(key)
            assert stored is not None, f"{match[0]} names {key}, which is not there"
            assert sha256_hex(stored) == entry["sha256"], f"{match[0]} names {key}, which has other bytes"
            receipt = json.loads(stored)
            for name in ("launch_key", "writers", "archive"):
                assert receipt[name] == fields[name], f"{match[0]}: the {name} of rank {entry['rank']} is another one"
            share = self._tree_of(match[0], receipt, f"data/{run}/{attempt:08d}/{step:012d}/{entry['rank']:06d}/")
            for path, content in share.items():
                assert tree.setdefault(path, content) == content, f"{match[0]}: two writers wrote {path!r}"
            self.slots.add(Slot(run, fields["launch_key"], step, entry["rank"]))
            folder = key.replace("receipts/", "data/", 1).removesuffix(".json")
            named += [key, *(f"{folder}/{item['sha256']}" for item in receipt["objects"])]
        assert (len(tree), sum(map(len, tree.values()))) == (fields["files"], fields["size"])
        self.archived[run, attempt, step] = tree
        self._named[run, attempt, step] = (match[0], *named)
        self._note_answer(run)

    def _attempt(self, match: re.Match[str], data: bytes, _: Process | None) -> None:
        run, attempt = match[1], 99_999_999 - int(match[2])
        fields = json.loads(data)
        assert (fields["run"], fields["attempt"]) == (run, attempt), f"{match[0]} is of another place"
        self._feed.check_marked(match[0], "launch", sha256_hex(data)[:32])
        follows = attempt == 0 or (run, attempt - 1) in self.launches or self.launches_damaged(run)
        assert follows, f"{match[0]} skips a number"
        key = fields["launch_key"]
        assert (run, key) not in self.attempts, f"{match[0]}: the launch {key} has got a second number"
        self.launches[run, attempt] = fields
        self.attempts[run, key] = attempt
        self._note_choice(run, key)
        self._note_answer(run)
        self._recorded(run, fields)

    def _decision(self, match: re.Match[str], data: bytes, _: Process | None) -> None:
        at = (match[1], int(match[2]), int(match[3]))
        fields = json.loads(data)
        self._feed.check_marked(match[0], "decision", sha256_hex(data)[:32])
        if fields["action"] == "promote":
            self.promoted.add(at)
        if fields["action"] == "gap":
            self.gaps.add(at)
            launch = self.launches.get(at[:2])
            if launch is not None and not self.is_damaged(at):
                self._given_up(at, launch, fields["reason"])

    def _tree_of(self, what: str, receipt: dict[str, Any], folder: str) -> Files:
        """The files that a receipt names, as they lie in the store."""
        for item in receipt["objects"]:
            key = folder + item["sha256"]
            data = self._stored.get(key)
            assert data is not None, f"{what} names {key}, which is not there"
            assert key not in self._wrong, f"{what} names {key}, which has other bytes than its name says"
            assert len(data) == item["size"], f"{what} names {key} with {item['size']} bytes; it has {len(data)}"
        tree = {}
        for file in receipt["files"]:
            data = b""
            if "object" in file:
                whole = self._stored[folder + receipt["objects"][file["object"]]["sha256"]]
                data = whole[file["offset"] : file["offset"] + file["size"]]
            assert sha256_hex(data) == file["sha256"], f"{what}: the bytes of {file['path']} are not where it says"
            tree[file["path"]] = data
        return tree

    # --- what people are told ------------------------------------------------------------------------------------------

    def chose(self, run: str, launch_key: str, attempt: int | None, step: int) -> None:
        """A launch was told to go on from a step that somebody chose, and did."""
        self._chosen[run, launch_key] = (attempt, step)
        self._note_choice(run, launch_key)
        self._note_answer(run)

    def _note_choice(self, run: str, launch_key: str) -> None:
        chosen, attempt = self._chosen.get((run, launch_key)), self.attempts.get((run, launch_key))
        if chosen is None or attempt is None or self.launches[run, attempt]["late"]:
            return
        origin = self.launches[run, attempt]["resume_from"]
        if origin is None and chosen[0] is None:
            # It lay in a ring alone, and the record of its launch, by which the archive could name it, has rotted.
            return
        assert origin is not None, f"attempt {attempt} of {run} does not say from which step it goes on"
        assert chosen[0] in (None, origin["attempt"]), f"attempt {attempt} of {run} goes on from another attempt"
        assert chosen[1] == origin["step"], (
            f"attempt {attempt} of {run} goes on from step {origin['step']}, not {chosen[1]}"
        )
        if attempt >= self.choices.get(run, (0, None))[0]:
            self.choices[run] = (attempt, (origin["attempt"], origin["step"]))

    def check_archived(self, at: At, files: Files, rank: int | None = None) -> None:
        """A restore from the archive has returned this; with `rank`, only that writer's files were asked for."""
        wanted = self.archived.get(at)
        assert wanted is not None, f"{at} was restored, and was never committed"
        if rank is not None:
            # Whether a writer has written what all of them write is its own affair.
            wanted = {**own_files(wanted, rank), **({COMMON: wanted[COMMON]} if COMMON in files else {})}
        assert files == wanted, f"{at} was restored with other files or bytes than were archived"

    def check_local(self, run: str, launch_key: str, step: int, files: Files, *, proved_since_us: int = -1) -> None:
        """A restore from the ring has returned this: each writer's part is one that it has saved.

        What somebody has changed is excused, unless every byte was proved after he did.
        """
        for rank in ranks_in(files):
            slot = Slot(run, launch_key, step, rank)
            is_proved = self._diary.changed_us.get(slot, proved_since_us) < proved_since_us
            if slot not in self._diary.spoilt or is_proved:
                # Who has begun to read may get what was replaced meanwhile.
                saved = [own_files(content, rank) for content in self._diary.staged.get(slot, ())]
                assert own_files(files, rank) in saved, f"what was restored of {slot} is nothing that was saved"
        assert files.get(COMMON) in (None, common(run, step)), f"{COMMON} of step {step} of {run} has other bytes"

    def newest_with(self, run: str, step: int) -> int:
        """The newest attempt of a run that has that step; -1 if none has."""
        return max((attempt for name, attempt, there in self.archived if (name, there) == (run, step)), default=-1)

    def mark(self, run: str) -> int:
        """A moment, for `answers_since`."""
        return max(0, len(self._answers.get(run, ())) - 1)

    def answers_since(self, run: str, mark: int) -> list[tuple[int, int] | None]:
        """All that answered "latest" at some time since `mark`."""
        return self._answers.get(run, [None])[mark:]

    def _note_answer(self, run: str) -> None:
        answers = self._answers.setdefault(run, [None])
        answer = self.expected_latest(run)
        if answer != answers[-1]:
            answers.append(answer)

    def expected_latest(self, run: str) -> tuple[int, int] | None:
        """(attempt, step) that answers "latest", found by looking at everything."""
        on_time = [attempt for (name, attempt), launch in self.launches.items() if name == run and not launch["late"]]
        # What somebody was told that he had chosen counts, and also a choice whose maker died before he was told.
        branch, chosen = self.choices.get(run, (-1, None))
        for attempt in on_time:
            if attempt > branch and self.launches[run, attempt]["explicit"]:
                origin = self.launches[run, attempt]["resume_from"]
                branch, chosen = attempt, (origin["attempt"], origin["step"])
        saved = [
            (attempt, step)
            for name, attempt, step in (*self.archived, *self.unreadable)
            if name == run and attempt in on_time and attempt >= branch
        ]
        return max(saved) if saved else chosen

    @property
    def archive_damaged(self) -> bool:
        """Whether the record of the archive itself has rotted, or was taken with wrong bytes."""
        return "archive.json" in self._bucket.rotted

    def launches_damaged(self, run: str) -> bool:
        """Whether the store has let a record of a launch of the run rot, or taken wrong bytes for it."""
        beginnings = ("archive.json", f"runs/{run}/")
        return any(key.startswith(beginnings) for key in (*self._bucket.rotted, *self._wrong))

    def wrong_keys(self, at: At) -> list[str]:
        """Those that a committed checkpoint names, and its own, whose bytes are not what was archived any more."""
        return [
            key
            for key in self._named[at]
            if key in self._bucket.rotted
            and (
                self._bucket.objects[key].data != self._stored[key]
                if not key.startswith("data/")
                else hashlib.sha256(self._bucket.objects[key].data).hexdigest() != key.rpartition("/")[2]
            )
        ]

    def contributed(self) -> tuple[dict[At, dict[int, int]], set[At]]:
        """Where there are receipts, of which rank and how many writers it tells of; and where there is data."""
        receipts: dict[At, dict[int, int]] = {}
        data: set[At] = set()
        for key, content in self._stored.items():
            match = _RECEIPT.fullmatch(key)
            if match is not None:
                writers = 0 if key in self._wrong else json.loads(content)["writers"]
                receipts.setdefault((match[1], int(match[2]), int(match[3])), {})[int(match[4])] = writers
            match = _DATA.fullmatch(key)
            if match is not None:
                data.add((match[1], int(match[2]), int(match[3])))
        return receipts, data

    def is_damaged(self, at: At) -> bool:
        """Whether the store has let something of a checkpoint rot, or has taken wrong bytes for it."""
        if self.launches_damaged(at[0]):
            return True
        run, attempt, step = at
        middle = f"/{run}/{attempt:08d}/{step:012d}/"
        manifest = f"manifests/{run}/{99_999_999 - attempt:08d}/{999_999_999_999 - step:012d}.json"
        return any(key == manifest or middle in key for key in (*self._bucket.rotted, *self._wrong))

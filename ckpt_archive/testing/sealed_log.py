"""What must be so of a log, whoever has sealed it: a gapless row of batches that hold each record once, and nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import read_marker
from ckpt_archive.digest import sha256_hex
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.log.batch import FINDING, Entry
from ckpt_archive.log.plan import OVERLAP
from ckpt_archive.log.sequence import Sealed, newest_number, read_batches
from ckpt_archive.store.protocol import Store, StoredBytes, list_all
from ckpt_archive.strictjson import MAX_RECORD_BYTES

KIND_OF = {
    layout.MANIFESTS: "commit",
    layout.EVENTS: "event",
    "attempts": "launch",
    "decisions": "decision",
}


@dataclass(frozen=True, slots=True)
class Log:
    """A log that was read whole.

    Attributes:
        batches: In order.
        entries: By key: those that name a record.
        findings: By key: those that say what is wrong.
    """

    batches: tuple[Sealed, ...]
    entries: Mapping[str, Entry]
    findings: Mapping[str, Entry]


def read_log(store: Store, archive_id: str) -> Log:
    """Read the log whole, and check that it is one.

    Raises:
        AssertionError: If a batch is out of place, or an entry occurs twice.
        IntegrityError: If a batch is damaged, or does not follow the one before.
    """
    numbers = [layout.sequence_number(info.key) for info in list_all(store, layout.SEQUENCE)]
    assert numbers == list(range(1, len(numbers) + 1)), f"the batches are {numbers}"
    assert newest_number(store) == len(numbers)
    batches = tuple(read_batches(store, InlineExecutor(), archive_id, 1, len(numbers)))
    every = [entry for sealed in batches for entry in sealed.batch.entries]
    twice = [subject for subject, times in Counter(entry.subject for entry in every).items() if times > 1]
    assert not twice, f"sealed more than once: {twice}"
    for before, after in pairwise(batches):
        assert before.batch.end_entry == after.batch.first_entry
        assert before.batch.sealed_at <= after.batch.sealed_at
    return Log(
        batches,
        {entry.key: entry for entry in every if entry.kind != FINDING},
        {entry.key: entry for entry in every if entry.kind == FINDING},
    )


def check_marks(store: Store, archive_id: str, log: Log) -> None:
    """Check that what the newest batch says was looked at has been looked at.

    Raises:
        AssertionError: If a marker was there by then, and the log does not say what became of it.
    """
    if not log.batches:
        return
    newest = log.batches[-1].batch
    waiting = {marker.key for marker in newest.unresolved}
    for info in list_all(store, layout.PENDING):
        name = layout.marker_name(info.key)
        if name is None or info.modified is None:
            continue
        is_on_time = info.modified - name.moment < OVERLAP
        by_sweep = newest.swept_at is not None and info.modified < newest.swept_at
        if by_sweep or (is_on_time and info.modified < newest.watermark):
            if info.key in waiting or info.key in log.findings:
                continue
            key = read_marker(store.read(info.key, limit_bytes=MAX_RECORD_BYTES).data, info.key).record_key
            assert key in log.entries or key in log.findings, f"{info.key} was passed over"


def records(store: Store) -> Iterator[tuple[str, StoredBytes]]:
    """Every record there is that belongs into the log: its kind and itself."""
    for prefix in (layout.MANIFESTS, layout.RUNS, layout.EVENTS):
        for info in list_all(store, prefix):
            kind = KIND_OF.get(prefix) or KIND_OF.get(info.key.split("/")[2])
            if kind is not None:
                yield kind, store.read(info.key, limit_bytes=MAX_RECORD_BYTES)


def check_log(store: Store, archive_id: str) -> Log:
    """Check that the log holds exactly the records that are there, each once and as it is.

    Raises:
        AssertionError: If not.
    """
    log = read_log(store, archive_id)
    missing = dict(log.entries)
    for kind, stored in records(store):
        key = stored.info.key
        entry = missing.pop(key, None)
        assert entry is not None, f"{key} is not in the log"
        assert entry.digest == sha256_hex(stored.data), f"{key} is in the log as {entry}"
        assert (entry.kind, entry.time) == (kind, stored.info.modified), f"{key} is in the log as {entry}"
        expected = layout.event_name(key).identity if kind == "event" else entry.digest[:32]
        assert entry.id == expected, f"{key} is in the log as {entry}"
    assert not missing, f"in the log and not there: {sorted(missing)}"
    return log

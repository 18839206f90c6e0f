"""Commits of a batch as rows: manifests and their receipts, fetched and read some hundreds at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckpt_archive import errors
from ckpt_archive.commit import layout
from ckpt_archive.commit.receipts import receipt_key
from ckpt_archive.digest import sha256_hex
from ckpt_archive.index import limits
from ckpt_archive.index.arrow import month_of
from ckpt_archive.index.fetching import Fetcher, Problem
from ckpt_archive.index.manifests import ReadManifest, ReadsManifests
from ckpt_archive.index.parsed import Parsed, Source, Totals
from ckpt_archive.index.rows import At, Rows
from ckpt_archive.index.said import integer, number, text
from ckpt_archive.index.schema import CHECKPOINTS, FILES, METRICS, TENSOR_LAYOUTS
from ckpt_archive.log.batch import Entry
from ckpt_archive.place import Place

_MANIFESTS = 512
# Of manifests that are looked at together: each of their receipts takes a few hundred bytes.
_MANIFEST_BYTES = 2 << 20
_RECEIPTS = 2_048
_RECEIPT_BYTES = 4 << 20


@dataclass(slots=True)
class _Commit:
    """A checkpoint whose manifest was read, and what its receipts add to it."""

    at: At
    entry: Entry
    place: Place
    manifest: ReadManifest
    month: str
    unread: int = 0
    objects: int = 0
    stored_bytes: int = 0
    save_seconds: float | None = None
    upload_seconds: float | None = None

    def add(self, totals: Totals | None) -> None:
        """What one receipt says; None if it could not be read."""
        if totals is None:
            self.unread += 1
            return
        self.objects += totals.objects
        self.stored_bytes += totals.stored_bytes
        self.save_seconds = _larger(self.save_seconds, totals.save_seconds)
        self.upload_seconds = _larger(self.upload_seconds, totals.upload_seconds)


@dataclass(frozen=True, slots=True)
class _Named:
    """A receipt that a manifest names."""

    commit: _Commit
    rank: int
    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        return receipt_key(self.commit.place, self.rank)


def place_of(entry: Entry) -> Place | None:
    """Which checkpoint a commit's key is about; None for a key that is no manifest's."""
    try:
        return Place(*layout.manifest_place(entry.key))
    except errors.IntegrityError:
        return None


class Commits:
    """Makes the rows of commits.

    Args:
        fetcher: Reads records.
        rows: Takes what is not about checkpoints alone.
        archive_id: The archive's.
        manifests: Reads manifests.
        receipts: Reads receipts.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        rows: Rows,
        archive_id: str,
        manifests: ReadsManifests,
        receipts: Callable[[Sequence[Source], str], Parsed],
    ) -> None:
        self._fetcher = fetcher
        self._rows = rows
        self._archive_id = archive_id
        self._manifests = manifests
        self._receipts = receipts
        sink = rows.sink
        self._needs_receipts = any(sink.wants(table.name) for table in (CHECKPOINTS, FILES, TENSOR_LAYOUTS))

    def add(self, log_seq: int, entries: Iterable[tuple[int, Entry]]) -> None:
        """The rows of these entries of one batch, each with its position in it."""
        known: list[tuple[Place, int, Entry]] = []
        for position, entry in entries:
            place = place_of(entry)
            if place is None:
                self._rows.finding(At(log_seq, position, entry.time), entry.key, "it is not a manifest's key")
            else:
                known.append((place, position, entry))
        known.sort(key=lambda item: item[:2])
        for start in range(0, len(known), _MANIFESTS):
            self._add_some(log_seq, known[start : start + _MANIFESTS])

    def _add_some(self, log_seq: int, known: Sequence[tuple[Place, int, Entry]]) -> None:
        commits: list[_Commit] = []
        room = _MANIFEST_BYTES
        found = self._fetcher.records([entry.key for _, _, entry in known])
        for (place, position, entry), data in zip(known, found, strict=True):
            at = At(log_seq, position, entry.time)
            try:
                manifest = self._manifest(entry, place, data)
            except (errors.IntegrityError, errors.InvalidInputError) as error:
                self._rows.finding(at, entry.key, error.message, digest=entry.digest, place=place)
                continue
            commits.append(_Commit(at, entry, place, manifest, month_of(entry.time)))
            room -= 0 if isinstance(data, Problem) else len(data)
            if room <= 0:
                self._add_commits(log_seq, commits)
                commits, room = [], _MANIFEST_BYTES
        self._add_commits(log_seq, commits)

    def _add_commits(self, log_seq: int, commits: Sequence[_Commit]) -> None:
        if self._needs_receipts:
            for group in _groups(_named(commits)):
                self._add_receipts(log_seq, group)
        for commit in commits:
            self._add_commit(commit)

    def _manifest(self, entry: Entry, place: Place, data: bytes | Problem) -> ReadManifest:
        if isinstance(data, Problem):
            raise errors.IntegrityError(data.text)
        digest = sha256_hex(data)
        if digest != entry.digest:
            raise errors.IntegrityError(f"{entry.key} has the SHA-256 {digest}, and the log says {entry.digest}")
        manifest = self._manifests.read(data, entry.key, place)
        if manifest.archive_id != self._archive_id:
            raise errors.IntegrityError(f"{entry.key} is of another archive, {limits.text(manifest.archive_id)}")
        return manifest

    def _add_receipts(self, log_seq: int, group: Sequence[_Named]) -> None:
        sources: list[Source] = []
        named: list[_Named] = []
        found = self._fetcher.sized([(item.key, item.size_bytes) for item in group])
        for item, data in zip(group, found, strict=True):
            problem = _receipt_problem(item, data)
            if problem or isinstance(data, Problem):
                self._unread(item, problem)
                continue
            named.append(item)
            sources.append(Source(item.commit.place, item.rank, item.commit.at.time, log_seq, data))
        if not sources:
            return
        parsed = self._receipts(sources, self._archive_id)
        for index, problem in parsed.problems:
            self._unread(named[index], problem)
        for item, totals in zip(named, parsed.totals, strict=True):
            if totals is not None:
                item.commit.add(totals)
        for month, table in parsed.files:
            self._rows.sink.add_table(FILES.name, month, table)
        for shape in parsed.layouts:
            self._rows.layout(At(log_seq, 0, shape.committed_at), shape)

    def _unread(self, item: _Named, problem: str) -> None:
        commit = item.commit
        commit.add(None)
        self._rows.finding(
            commit.at, item.key, problem, digest=item.sha256, place=commit.place, part=f"receipt {item.rank}"
        )

    def _add_commit(self, commit: _Commit) -> None:
        manifest, rows, at = commit.manifest, self._rows, commit.at
        place, entry, labels, lineage = commit.place, commit.entry, manifest.labels, manifest.lineage
        rows.run(at, place.run, labels)
        rows.sources(at, place, lineage)
        if lineage.source_count > limits.MAX_SOURCES:
            problem = f"it names {lineage.source_count} sources, and the index lists {limits.MAX_SOURCES}"
            rows.finding(at, entry.key, problem, place=place, part="sources")
        if rows.sink.wants(METRICS.name):
            self._add_metrics(commit)
        if not rows.sink.wants(CHECKPOINTS.name):
            return
        is_whole = commit.unread == 0
        rows.sink.add_row(
            CHECKPOINTS.name,
            commit.month,
            (
                place.run,
                place.attempt,
                place.step,
                at.time,
                manifest.first_staged_at,
                manifest.staged_at,
                entry.digest,
                limits.text(manifest.launch_key),
                manifest.writers,
                manifest.files,
                manifest.size_bytes,
                commit.objects if is_whole else None,
                commit.stored_bytes if is_whole else None,
                labels.project,
                labels.text,
                text(manifest.retention_class),
                limits.text(manifest.completeness),
                text(manifest.promotion.get("rule")),
                integer(manifest.promotion.get("ordinal")),
                limits.json_text(manifest.promotion),
                lineage.code_commit,
                lineage.code_dirty,
                lineage.config_sha256,
                lineage.environment_sha256,
                lineage.text,
                commit.save_seconds,
                commit.upload_seconds,
                at.log_seq,
            ),
        )

    def _add_metrics(self, commit: _Commit) -> None:
        metrics, place, at = commit.manifest.metrics, commit.place, commit.at
        if len(metrics) > limits.MAX_METRICS:
            problem = f"it has {len(metrics)} metrics, and the index lists {limits.MAX_METRICS}"
            self._rows.finding(at, commit.entry.key, problem, place=place, part="metrics")
        for name, said in list(metrics.items())[: limits.MAX_METRICS]:
            value = number(said)
            if value is not None:
                row = (place.run, place.attempt, place.step, limits.text(name), value, at.time, at.log_seq)
                self._rows.sink.add_row(METRICS.name, commit.month, row)


def _named(commits: Iterable[_Commit]) -> Iterator[_Named]:
    for commit in commits:
        for rank, sha256, size_bytes in commit.manifest.receipts:
            yield _Named(commit, rank, sha256, size_bytes)


def _groups(named: Iterable[_Named]) -> Iterator[list[_Named]]:
    """As many as may be in memory at once, by the length that the manifest says."""
    group: list[_Named] = []
    room = _RECEIPT_BYTES
    for item in named:
        if group and (room < item.size_bytes or len(group) == _RECEIPTS):
            yield group
            group, room = [], _RECEIPT_BYTES
        group.append(item)
        room -= item.size_bytes
    if group:
        yield group


def _receipt_problem(item: _Named, data: bytes | Problem) -> str:
    if isinstance(data, Problem):
        return data.text
    digest = sha256_hex(data)
    if (len(data), digest) != (item.size_bytes, item.sha256):
        said = f"{item.size_bytes} and {item.sha256}"
        return f"{item.key} has {len(data)} bytes and the SHA-256 {digest}, and the manifest says {said}"
    return ""


def _larger(first: float | None, second: float | None) -> float | None:
    return second if first is None or (second is not None and second > first) else first

"""Records as rows: a fixed archive gives exactly these rows, fast and strictly; what can not be read is a finding."""

import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ckpt_archive.commit import layout
from ckpt_archive.errors import UnavailableError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.index import arrow, limits
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.manifests import ManifestReader, StrictManifestReader
from ckpt_archive.index.parsed import Parsed, Source
from ckpt_archive.index.projection import Projection, Reading
from ckpt_archive.index.receipts import read_receipts, read_strictly
from ckpt_archive.index.schema import TABLES, Table
from ckpt_archive.index.state import Closure, State
from ckpt_archive.log.sequence import Sealed
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import content, memory_store, put
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, forged_record, rewritten
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.logged import LoggedArchive, small_archive
from ckpt_archive.testing.manyfold import Shape, check_against_encoders

GOLDEN = Path(__file__).parents[1] / "fixtures" / "index-1" / "rows.json"
Rows = dict[str, list[dict[str, Any]]]


class Gathered:
    """A sink that keeps rows as mappings."""

    def __init__(self) -> None:
        self.rows: Rows = {name: [] for name in TABLES}

    def wants(self, name: str) -> bool:
        return name in TABLES

    def add_row(self, name: str, month: str, row: Sequence[object]) -> None:
        self.add(name, month, **dict(zip(arrow.file_schema(TABLES[name]).names, row, strict=True)))

    def add(self, name: str, month: str, /, **values: object) -> None:
        table: Table = TABLES[name]
        gathered = arrow.Columns(table)
        gathered.add(**values)
        self.add_table(name, month, gathered.take())

    def add_table(self, name: str, month: str, rows: pa.Table) -> None:
        more = {"month": month} if TABLES[name].monthly else {}
        self.rows[name] += [{**row, **more} for row in rows.to_pylist()]


def projected(store: Store, sealed: Sequence[Sealed], reading: Reading = Reading.FAST) -> Rows:
    sink = Gathered()
    projection = Projection(Fetcher(store, InlineExecutor()), sink, State(), ARCHIVE_ID, reading)
    for batch in sealed:
        projection.add(batch)
    return sink.rows


def as_json(rows: Rows) -> Any:
    return json.loads(
        json.dumps({name: sorted(some, key=str) for name, some in rows.items()}, default=str, sort_keys=True)
    )


def test_a_fixed_archive_gives_exactly_these_rows() -> None:
    store = memory_store()
    rows = as_json(projected(store, small_archive(store).sealed))
    rows = dict(sorted(rows.items()))
    if os.environ.get("CKPT_ARCHIVE_NEW_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    # As texts, because NaN is not equal to itself.
    assert str(rows) == str(json.loads(GOLDEN.read_text()))
    assert all(rows.values())


def test_reading_fast_and_strictly_gives_the_same_rows() -> None:
    store = memory_store()
    sealed = small_archive(store).sealed
    fast, strict = projected(store, sealed), projected(store, sealed, Reading.STRICT)
    assert str(as_json(fast)) == str(as_json(strict))


def findings(rows: Rows) -> list[tuple[str, str]]:
    return [(row["subject"], row["reason"]) for row in rows["events"] if row["kind"] == "finding"]


def one_checkpoint(files: tuple[int, ...] = (3, 2)) -> tuple[MemoryStore, LoggedArchive, Place]:
    store = memory_store()
    made = LoggedArchive(store)
    place = Place("run", 0, 100)
    made.checkpoint(place, files=files)
    return store, made, place


def receipt_key(place: Place, rank: int = 0) -> str:
    return layout.receipt(place.run, place.attempt, place.step, rank)


def test_a_manifest_that_is_missing_is_a_finding() -> None:
    store, made, place = one_checkpoint()
    key = layout.manifest(place.run, place.attempt, place.step)
    store.delete(key)
    rows = projected(store, [made.seal()])
    assert findings(rows) == [(key, f"{key} is missing")]
    assert (rows["checkpoints"], rows["files"], len(rows["sync_log"])) == ([], [], 1)
    assert rows["events"][0]["step"] == 100


def test_a_manifest_with_other_bytes_is_a_finding() -> None:
    store, made, place = one_checkpoint()
    key = layout.manifest(place.run, place.attempt, place.step)
    put(store, key, rewritten(content(store, key), b'"writers":2', b'"writers":3'))
    rows = projected(store, [made.seal()])
    assert "and the log says" in findings(rows)[0][1]
    assert rows["checkpoints"] == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b'"version":1', b'"version":2', "needs a newer release"),
        (b'"writers":2', b'"requires":["shards"],"writers":2', "needs a newer release"),
        (b'"writers":2', b'"writers":3', "names 2 receipts of 3 writers"),
        (b'"step":100', b'"step":101', "says that it is of"),
        (b'"archive":"0', b'"archive":"f', "is of another archive"),
        (b'"attempt":0', b'"attempt":"0"', "not of type int"),
    ],
)
def test_a_manifest_that_is_not_one_is_a_finding(old: bytes, new: bytes, problem: str) -> None:
    store, made, place = one_checkpoint()
    key = layout.manifest(place.run, place.attempt, place.step)
    data = rewritten(content(store, key), old, new)
    put(store, key, data)
    made.entries.clear()
    made.log("commit", "", key, data)
    rows = projected(store, [made.seal()])
    assert problem in findings(rows)[0][1]
    assert rows["checkpoints"] == []


def test_an_unknown_member_and_another_spelling_change_nothing() -> None:
    store, made, place = one_checkpoint()
    key = layout.manifest(place.run, place.attempt, place.step)
    before = projected(store, [made.seal()])
    for data in (
        rewritten(content(store, key), b'"writers":2', b'"later":[{"labels":{}}],"writers":2'),
        json.dumps(json.loads(content(store, key)), indent=1).encode(),
    ):
        other = LoggedArchive(memory_store())
        other.checkpoint(place, files=(3, 2))
        put(other.store, key, data)
        other.entries.clear()
        other.now = NOON
        other.log("commit", "", key, data)
        rows = projected(other.store, [other.seal()])
        ignored = {"manifest_sha256"}
        assert [{k: v for k, v in row.items() if k not in ignored} for row in rows["checkpoints"]] == [
            {k: v for k, v in row.items() if k not in ignored} for row in before["checkpoints"]
        ]
        assert rows["files"] == before["files"]


def test_a_receipt_that_is_missing_or_other_is_a_finding_and_the_rest_is_there() -> None:
    store, made, place = one_checkpoint((3, 2, 4))
    store.delete(receipt_key(place, 0))
    put(store, receipt_key(place, 1), b"other bytes, of another length")
    rows = projected(store, [made.seal()])
    assert [subject for subject, _ in findings(rows)] == [receipt_key(place, 0), receipt_key(place, 1)]
    assert len({row["event_id"] for row in rows["events"]}) == 2
    assert {row["rank"] for row in rows["files"]} == {2}
    assert [(row["files"], row["objects"], row["stored_bytes"]) for row in rows["checkpoints"]] == [(9, None, None)]


def source(data: bytes, place: Place = Place("run", 0, 100), rank: int = 0) -> Source:  # noqa: B008 (a frozen value)
    return Source(place, rank, NOON, 7, data)


def file_rows(parsed: Parsed) -> list[dict[str, Any]]:
    return [row for _, table in parsed.files for row in table.to_pylist()]


def good_receipt(step: int = 100) -> bytes:
    store = memory_store()
    place = Place("run", 0, step)
    LoggedArchive(store).checkpoint(place)
    return content(store, receipt_key(place))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":4096', b'"size":-1'),
        (b'"size":4096', b'"size":"4096"'),
        (b'"size":4096', b'"size":1e3'),
        (b'"size":4096', b'"size":99999999999999999999'),
        (b'"offset":4096', b'"offset":67108864'),
        (b'"object":1', b'"object":2'),
        (b'"object":1', b'"object":-1'),
        (b'"path":"model/layer-00000.bin"', b'"path":"../layer-00000.bin"'),
        (b'"path":"model/layer-00000.bin"', b'"path":"z"'),
        (b'"path":"model/layer-00000.bin"', b'"path":""'),
        (b'"path":"model/layer-00000.bin"', b'"path":"model/layer-00001.bin"'),
        (b'"path":"model/layer-00000.bin"', b'"encoding":"zstd","path":"model/layer-00000.bin"'),
        (b'"path":"model/layer-00000.bin"', b'"key":"elsewhere","path":"model/layer-00000.bin"'),
        (b'"path":"model/layer-00000.bin"', b'"path":"model/layer-00000.bin","stored_size":1'),
        (b'"part_size":8388608', b'"part_size":0'),
        (b'"rank":0', b'"rank":1'),
        (b'"version":1', b'"version":2'),
        (b'"writers":1', b'"requires":["x"],"writers":1'),
        (b'"run":"run"', b'"run":"ran"'),
        (b'"archive":"0', b'"archive":"f'),
        (b"ckpt-archive/receipt", b"ckpt-archive/manifest"),
        (b'"files":[', b'"files":[7,'),
    ],
)
def test_an_odd_receipt_is_judged_by_the_strict_decoder_and_spoils_no_other(old: bytes, new: bytes) -> None:
    odd = rewritten(good_receipt(), old, new)
    good = [source(good_receipt(200), Place("run", 0, 200)), source(good_receipt(300), Place("run", 0, 300))]
    parsed = read_receipts([good[0], source(odd), good[1]], ARCHIVE_ID)
    assert [index for index, _ in parsed.problems] == [1]
    assert [totals is None for totals in parsed.totals] == [False, True, False]
    assert sorted({row["step"] for _, table in parsed.files for row in table.to_pylist()}) == [200, 300]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"path":"model/layer-00000.bin"', '"path":"model/låyer-00000.bin"'.encode()),
        (b'"path":"model/layer-00000.bin"', b'"encoding":"identity","path":"model/layer-00000.bin"'),
        (b'"path":"model/layer-00000.bin"', b'"path":"model/layer-00000.bin","timings":{"upload":1}'),
        (b'"writers":1', b'"later":{"files":[]},"requires":[],"writers":1'),
        (b'"writers":1', b'"timings":{"save_seconds":3},"writers":1'),
        (b'"writers":1', b'"timings":"long","writers":1'),
        (b'"path":"model/layer-00000.bin"', b'"path":"model/layer-00000.bin","tensors":[{"name":"w"}]'),
    ],
)
def test_what_the_strict_decoder_takes_gives_the_same_rows_read_fast(old: bytes, new: bytes) -> None:
    data = good_receipt()
    if "å" in new.decode():
        data = rewritten(data, b'"path":"model/layer-00001.bin"', '"path":"model/låyer-00001.bin"'.encode())
    sources = [source(rewritten(data, old, new))]
    fast, strict = read_receipts(sources, ARCHIVE_ID), read_strictly(sources, ARCHIVE_ID)
    assert (fast.problems, fast.totals) == ([], strict.totals)
    assert file_rows(fast) == file_rows(strict)


def test_a_receipt_without_files_and_one_of_empty_files() -> None:
    members = json.loads(good_receipt()) | {"objects": [], "files": []}
    none = forged_record(members)
    members["files"] = [{"path": "empty", "size": 0, "sha256": "0" * 64}]
    sources = [source(none), source(forged_record(members))]
    for some in ([sources[0]], [sources[1]], sources):
        fast, strict = read_receipts(some, ARCHIVE_ID), read_strictly(some, ARCHIVE_ID)
        assert file_rows(fast) == file_rows(strict)
        assert fast.problems == []


def test_a_large_receipt_that_is_odd_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STRICT_BYTES", 100)
    parsed = read_receipts([source(rewritten(good_receipt(), b'"rank":0', b'"rank":1'))], ARCHIVE_ID)
    assert "is not spelled as ckpt-archive spells it" in parsed.problems[0][1]


def test_receipts_of_two_months_are_parted() -> None:
    sources = [source(good_receipt()), Source(Place("run", 0, 200), 0, NOON + timedelta(days=40), 7, good_receipt(200))]
    assert [month for month, _ in read_receipts(sources, ARCHIVE_ID).files] == ["2026-03", "2026-04"]


def test_texts_and_counts_of_a_hostile_manifest_are_bounded() -> None:
    store = memory_store()
    made = LoggedArchive(store)
    labels = {"project": "x" * 100_000, "big": "y" * 200_000}
    sources = [f"s3://{number}" for number in range(limits.MAX_SOURCES + 5)]
    metrics = {f"m{number}": number for number in range(limits.MAX_METRICS + 5)} | {"huge": 10**400, "deep": {"a": 1}}
    made.checkpoint(Place("run", 0, 1), labels=labels, lineage={"sources": sources}, metrics=metrics)
    rows = projected(store, [made.seal()])
    assert len(rows["checkpoints"][0]["project"]) == limits.MAX_TEXT_CHARACTERS
    assert rows["checkpoints"][0]["labels"] is None
    assert len(rows["run_sources"]) == limits.MAX_SOURCES
    assert len(rows["metrics"]) <= limits.MAX_METRICS
    assert len(findings(rows)) == 2


@pytest.mark.parametrize("kind", ["launch", "decision", "event", "verse"])
def test_other_records_that_can_not_be_read_are_findings(kind: str) -> None:
    store = memory_store()
    made = LoggedArchive(store)
    made.put(kind, "0" * 32 if kind == "event" else "", f"runs/x/{kind}", b"not a record")
    made.launch("run", 0)
    rows = projected(store, [made.seal()])
    assert [subject for subject, _ in findings(rows)] == [f"runs/x/{kind}"]
    assert len(rows["launches"]) == 1


def test_a_launch_under_the_key_of_another_is_a_finding() -> None:
    store = memory_store()
    made = LoggedArchive(store)
    launch = made.launch("run", 0)
    made.put("launch", "", layout.attempt_record("run", 5), launch.encode())
    rows = projected(store, [made.seal()])
    assert [subject for subject, _ in findings(rows)] == [layout.attempt_record("run", 5)]


def test_a_store_that_does_not_answer_stops_it() -> None:
    store, made, _ = one_checkpoint()
    sealed = made.seal()

    def silent(request: Request) -> None:
        if request.verb == "read" and request.key.startswith("receipts/"):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        projected(HookedStore(store, before=silent), [sealed])


def ways(closure: Closure) -> dict[tuple[str, str], int]:
    return {(node, above): depth for node, some in closure._ancestors.items() for above, (depth, _) in some.items()}


def test_the_closure_is_the_same_whatever_the_order_of_edges() -> None:
    edges = [("d", "c"), ("c", "b"), ("b", "a"), ("d", "a"), ("e", "d"), ("a", "e")]
    forwards, backwards = Closure(), Closure()
    for child, parent in edges:
        forwards.add_edge(child, parent, None)
    for child, parent in reversed(edges):
        backwards.add_edge(child, parent, None)
    assert ways(forwards) == ways(backwards)
    assert ways(forwards)["d", "a"] == 1
    assert ways(forwards)["e", "b"] == 3


def test_deep_lineage_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_archive.index.state.MAX_ANCESTORS", 10)
    closure = Closure()
    for number in range(50):
        closure.add_edge(str(number + 1), str(number), None)
    assert max(len(some) for some in closure._ancestors.values()) == 10
    assert closure.dropped


def lines(rows: Rows) -> dict[tuple[str, int], int]:
    return {(row["run"], row["attempt"]): row["line_attempt"] for row in rows["launches"]}


def test_a_line_is_told_of_late() -> None:
    store = memory_store()
    made = LoggedArchive(store)
    made.launch("run", 0)
    made.launch("fork", 0, resume_from=Place("run", 1, 50), explicit=True)
    first = made.seal()
    made.launch("run", 1, resume_from=Place("run", 0, 10))
    rows = projected(store, [first, made.seal()])
    assert lines(rows) == {("run", 0): 0, ("run", 1): 0, ("fork", 0): 0}
    found = {(row["child"], row["parent"], row["relation"]) for row in rows["lineage"]}
    assert found == {("line:fork/0", "line:run/1", "fork"), ("line:run/1", "line:run/0", "line")}
    assert ("line:fork/0", "line:run/0") in {(row["descendant"], row["ancestor"]) for row in rows["lineage_closure"]}


def test_a_source_is_told_of_again_only_from_an_earlier_step() -> None:
    store = memory_store()
    made = LoggedArchive(store)
    batches = []
    for step in (500, 900, 100, 300):
        made.checkpoint(Place("run", 0, step), lineage={"sources": ["s3://x"]})
        batches.append(made.seal())
    rows = projected(store, batches)
    assert [row["from_step"] for row in rows["run_sources"]] == [500, 100]


def test_the_fast_and_the_strict_reader_of_manifests_say_the_same() -> None:
    store, _, place = one_checkpoint()
    key = layout.manifest(place.run, place.attempt, place.step)
    data = content(store, key)
    fast = ManifestReader()._fast(data, place)
    assert fast is not None
    assert fast == StrictManifestReader().read(data, key, place)


def test_the_generator_of_large_archives_spells_as_the_encoders_do() -> None:
    check_against_encoders(Shape(1_000, runs=7, files=3), range(0, 1_000, 97))

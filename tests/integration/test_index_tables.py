"""The tables of the index, in a folder and on a real server: each batch once in each table, whatever happens."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import Field
from deltalake.schema import PrimitiveType

from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import layout
from ckpt_archive.devserver import DevServer
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import (
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.index import tables
from ckpt_archive.index.check import Checked, check
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.reading import rows
from ckpt_archive.index.rebuild import rebuild
from ckpt_archive.index.schema import CHECKPOINTS, FILES, SYNC_LOG, TABLES
from ckpt_archive.index.sink import Sink
from ckpt_archive.index.sync import Projector, open_projector, project_all
from ckpt_archive.index.tables import (
    DataFile,
    OpenTable,
    RefusedError,
    open_all,
    open_or_create,
    open_present,
    open_table,
)
from ckpt_archive.index.vacuum import check_margin, vacuum
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.object_store import Location, location
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.archives import content, put
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.logged import LoggedArchive, all_rows, small_archive, table_rows
from ckpt_archive.testing.staged import local_machine

FEW = 4
"""Files that are worth a merge, here."""


@dataclass(frozen=True)
class Site:
    """Where an archive is, and a machine that looks at it."""

    store: Store
    location: Location
    machine: Machine

    def projector(self, store: Store | None = None) -> Projector:
        return open_projector(store or self.store, self.machine, ARCHIVE_ID, self.location)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return all_rows(self.store, open_all(self.location))

    def check(self) -> Checked:
        return check(self.store, self.machine, ARCHIVE_ID, open_all(self.location), sample=None)

    def parquet_keys(self, name: str) -> set[str]:
        folder = layout.index_table(name)
        keys = {info.key for info in list_all(self.store, folder)}
        return {key for key in keys if key.endswith(".parquet") and "_delta_log" not in key}


def folder_site(path: Path) -> Site:
    store = FileStore(PosixFileSystem(), str(path))
    store.prepare()
    return Site(store, location(store.url), local_machine(clock=SystemClock()))


@pytest.fixture(params=["file", pytest.param("seaweed", marks=pytest.mark.server)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "file":
        yield folder_site(tmp_path / "archive")
        return
    connection: Connection = request.getfixturevalue("seaweed_connection")
    store = request.getfixturevalue("seaweed_store")
    yield Site(store, location(store.url, connection), local_machine(clock=SystemClock()))


def grow(made: LoggedArchive, batches: int, checkpoints: int = 2, run: str = "run") -> None:
    """So many batches more, each with some checkpoints of one run."""
    start = len(made.sealed)
    for number in range(start, start + batches):
        for index in range(checkpoints):
            made.checkpoint(Place(run, 0, 10 * number + index))
        made.seal()


def project_each(site: Site, made: LoggedArchive) -> None:
    """As many commits as there are batches."""
    projector = site.projector()
    for sealed in made.sealed:
        projector.project(sealed.number)


def places(site: Site) -> Counter[tuple[str, int, int]]:
    rows = table_rows(site.store, open_table(site.location, CHECKPOINTS))
    return Counter((row["run"], row["attempt"], row["step"]) for row in rows)


def test_a_log_is_projected_into_all_tables_once(site: Site) -> None:
    small_archive(site.store)
    done = project_all(site.projector())
    assert (done.number, done.batches, done.is_complete) == (3, 3, True)
    before = site.rows()
    assert all(before[name] for name in TABLES)
    assert project_all(site.projector()).batches == 0
    assert str(site.rows()) == str(before)
    found = site.check()
    assert (found.differences, found.number) == ((), 3)
    assert {opened.number for opened in open_all(site.location).values()} == {3}


def test_the_rows_are_the_same_in_one_go_and_batch_by_batch(site: Site, tmp_path: Path) -> None:
    made = small_archive(site.store)
    for sealed in made.sealed:
        # A new process each time: what it needs to know it reads from the tables.
        site.projector().project(sealed.number)
    other = folder_site(tmp_path / "other")
    small_archive(other.store)
    project_all(other.projector())
    assert str(site.rows()) == str(other.rows())


def test_two_projectors_at_once_put_each_batch_in_once(site: Site) -> None:
    grow(small_archive(site.store), 3)
    first, second = site.projector(), site.projector()
    assert first.project(4).batches == 4
    # It has loaded the tables when they were empty.
    assert second.project(6).number == 6
    assert first.project(6).number == 6
    assert site.check().differences == ()


def test_tables_that_are_behind_catch_up_alone(site: Site) -> None:
    grow(small_archive(site.store), 2)
    projector = site.projector()
    kept = {name: opened for name, opened in projector.tables.items() if name not in ("files", "runs")}
    Projector(site.store, site.machine, ARCHIVE_ID, {**kept, "runs": projector.tables["runs"]}).project(2)
    assert [open_all(site.location)[name].number for name in ("files", "runs", "events")] == [0, 2, 2]
    assert project_all(site.projector()).number == 5
    assert site.check().differences == ()


class LosingTable(OpenTable):
    """A table whose commits land, and whose answers are lost."""

    @classmethod
    def of(cls, site: Site, name: str) -> "LosingTable":
        opened = open_or_create(site.location, TABLES[name])
        return cls(opened.table, site.location, opened._handle)

    def append(self, files: Sequence[DataFile], number: int, now: datetime) -> None:
        super().append(files, number, now)
        raise UnavailableError("the answer is lost")

    def replace(
        self, removed: Sequence[DataFile], added: Sequence[DataFile], now: datetime, *, number: int | None = None
    ) -> None:
        super().replace(removed, added, now, number=number)
        raise UnavailableError("the answer is lost")


def test_a_commit_landed_and_its_answer_was_lost(site: Site) -> None:
    small_archive(site.store)
    projector = site.projector()
    losing = Projector(
        site.store, site.machine, ARCHIVE_ID, {**projector.tables, "events": LosingTable.of(site, "events")}
    )
    with pytest.raises(UnavailableError):
        losing.project(3)
    assert project_all(site.projector()).number == 3
    assert site.check().differences == ()


class Died(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("put_files", [0, 1, 5])
def test_a_projector_died_after_some_files(site: Site, put_files: int) -> None:
    small_archive(site.store)
    numbers = itertools.count()

    def die(request: Request) -> None:
        if request.verb == "create" and next(numbers) >= put_files:
            raise Died

    with pytest.raises(Died):
        project_all(site.projector(HookedStore(site.store, before=die)))
    assert project_all(site.projector()).number == 3
    assert site.check().differences == ()


def test_no_batch_stands_in_the_sync_log_before_all_tables_have_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    small_archive(site.store)
    projector = site.projector()
    appended: list[str] = []
    append = OpenTable.append

    def appending(opened: OpenTable, files: Sequence[DataFile], number: int, now: datetime) -> None:
        appended.append(opened.table.name)
        if opened.table == FILES and appended.count(FILES.name) == 1:
            raise RefusedError("somebody else was faster")
        append(opened, files, number, now)
        standing = {name: opened.number for name, opened in open_all(site.location).items()}
        assert standing[SYNC_LOG.name] == min(standing.values())

    monkeypatch.setattr(OpenTable, "append", appending)
    assert projector.project(3).number == 3
    # Refused once, so that the others came first, then what was behind, and it last of all.
    assert appended[-2:] == [FILES.name, SYNC_LOG.name]
    assert len(appended) == len(TABLES) + 1


def test_an_archive_without_an_index_is_told_apart_and_nothing_is_made(site: Site) -> None:
    small_archive(site.store)
    with pytest.raises(NotFoundError, match="has no index yet") as caught:
        open_present(site.location)
    assert "ckpt-archive index sync" in caught.value.hint
    assert not list_all(site.store, layout.INDEX)


def test_a_commit_that_is_refused_leaves_the_table_as_it_was(site: Site) -> None:
    opened, stale = (open_or_create(site.location, SYNC_LOG) for _ in range(2))
    opened.append([], 1, NOON)
    with pytest.raises(RefusedError):
        stale.append([], 1, NOON)
    stale.reload()
    assert stale.number == 1
    stale.append([], 2, NOON)
    assert open_table(site.location, SYNC_LOG).number == 2


def test_making_a_table_twice_is_fine(site: Site) -> None:
    with pytest.raises(NotFoundError):
        open_table(site.location, FILES)
    open_or_create(site.location, FILES)
    tables._create(site.location, FILES)
    assert open_or_create(site.location, FILES).number == 0


def test_four_who_make_the_tables_at_once(site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = [future.result() for future in [pool.submit(open_all, site.location) for _ in range(4)]]
    assert {table.number for tables_ in opened for table in tables_.values()} == {0}


def test_a_rebuild_whose_files_were_removed_is_given_up(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())

    def remove(request: Request) -> None:
        if request.verb == "create" and request.key.startswith(layout.index_table("runs")):
            site.store.delete(request.key)

    with pytest.raises(ConflictError, match="were removed before they were used"):
        rebuild(HookedStore(site.store, after=remove), site.machine, ARCHIVE_ID, site.location)
    assert site.check().differences == ()


def test_the_log_of_a_table_gets_checkpoints(site: Site) -> None:
    opened = open_or_create(site.location, SYNC_LOG)
    for number in range(1, 30):
        opened.append([], number, NOON)
    names = [info.key.rpartition("/")[2] for info in list_all(site.store, layout.index_table("sync_log"))]
    assert "_last_checkpoint" in names
    assert sum(name.endswith(".checkpoint.parquet") for name in names) == 3
    assert open_table(site.location, SYNC_LOG).number == 29


def test_compaction_merges_and_changes_no_row(site: Site) -> None:
    made = small_archive(site.store)
    grow(made, 5)
    project_each(site, made)
    before = site.rows()
    for opened in site.projector().tables.values():
        done = compact(site.store, site.machine, opened, many=FEW)
        assert done.refused == 0
        assert len(opened.files()) < 4
        assert compact(site.store, site.machine, opened, many=FEW).removed == 0
    assert str(site.rows()) == str(before)
    assert site.check().differences == ()
    grow(made, 1)
    project_all(site.projector())
    assert site.check().differences == ()


def test_two_compactions_at_once_and_an_append_between(site: Site) -> None:
    made = LoggedArchive(site.store)
    grow(made, 6)
    project_each(site, made)
    grow(made, 2)
    opened = open_table(site.location, CHECKPOINTS)

    def others(request: Request) -> None:
        if request.verb == "create":
            project_all(site.projector())
            assert compact(site.store, site.machine, open_table(site.location, CHECKPOINTS), many=FEW).added == 1

    done = compact(HookedStore(site.store, before=others), site.machine, opened, many=FEW)
    assert (done.added, done.refused) == (0, 1)
    assert set(places(site).values()) == {1}
    assert len(places(site)) == 16
    assert site.check().differences == ()


def test_an_append_passes_a_compaction(site: Site) -> None:
    made = LoggedArchive(site.store)
    grow(made, 6)
    project_each(site, made)
    grow(made, 1)

    def append(request: Request) -> None:
        if request.verb == "create":
            project_all(site.projector())

    done = compact(
        HookedStore(site.store, after=append), site.machine, open_table(site.location, CHECKPOINTS), many=FEW
    )
    assert (done.added, done.refused) == (1, 0)
    assert site.check().differences == ()


def test_a_compaction_landed_and_its_answer_was_lost(site: Site) -> None:
    made = LoggedArchive(site.store)
    grow(made, 6)
    project_each(site, made)
    with pytest.raises(UnavailableError):
        compact(site.store, site.machine, LosingTable.of(site, "checkpoints"), many=FEW)
    assert compact(site.store, site.machine, open_table(site.location, CHECKPOINTS), many=FEW).removed == 0
    assert site.check().differences == ()


def test_a_rebuild_makes_the_same_rows(site: Site) -> None:
    grow(small_archive(site.store), 2)
    project_all(site.projector())
    before = site.rows()
    done = rebuild(site.store, site.machine, ARCHIVE_ID, site.location)
    assert (done.number, done.renewed) == (5, ())
    assert str(site.rows()) == str(before)
    assert site.check().differences == ()


def test_a_sync_goes_on_beside_a_rebuild(site: Site) -> None:
    made = small_archive(site.store)
    project_all(site.projector())
    stale = site.projector()
    grow(made, 1)
    once = itertools.count()

    def go_on(request: Request) -> None:
        if request.verb == "create" and next(once) == 0:
            grow(made, 1)
            project_all(site.projector())

    done = rebuild(HookedStore(site.store, before=go_on), site.machine, ARCHIVE_ID, site.location)
    assert done.number == 5
    assert stale.project(5).number == 5
    assert site.check().differences == ()


def test_a_rebuild_that_breaks_off_leaves_the_old_index(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())
    before = site.rows()

    def die(request: Request) -> None:
        if request.verb == "create" and request.key.startswith(layout.index_table("files")):
            raise Died

    with pytest.raises(Died):
        rebuild(HookedStore(site.store, before=die), site.machine, ARCHIVE_ID, site.location)
    assert str(site.rows()) == str(before)
    assert site.check().differences == ()


def test_a_table_whose_log_can_not_be_read_is_made_anew(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())
    before = site.rows()
    for info in list_all(site.store, layout.index_table("events") + "_delta_log/"):
        put(site.store, info.key, b"\0" * 100)
    done = rebuild(site.store, site.machine, ARCHIVE_ID, site.location)
    assert done.renewed == ("events",)
    assert str(site.rows()) == str(before)


def test_a_table_that_only_a_newer_reader_understands_is_made_anew(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())
    before = site.rows()
    folder = layout.index_table("events") + "_delta_log/"
    features = ["deletionVectors"]
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": features,
        "writerFeatures": features,
    }
    version = len(list_all(site.store, folder))
    put(site.store, f"{folder}{version:020d}.json", json.dumps({"protocol": protocol}).encode())
    done = rebuild(site.store, site.machine, ARCHIVE_ID, site.location)
    assert done.renewed == ("events",)
    assert str(site.rows()) == str(before)
    assert site.check().differences == ()


def test_a_file_that_was_cut_off_is_told_to_be_of_the_index(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())
    opened = site.projector().tables["runs"]
    key = layout.index_table("runs") + opened.files()[0].path
    put(site.store, key, b"PAR1")
    with pytest.raises(IntegrityError, match="runs/") as caught:
        list(rows(site.store, opened, ["run"]))
    assert "index rebuild" in caught.value.hint


def test_vacuum_removes_what_no_table_names(site: Site) -> None:
    made = LoggedArchive(site.store)
    grow(made, 5)
    project_each(site, made)
    opened = open_table(site.location, FILES)
    compact(site.store, site.machine, opened, many=FEW)
    put(site.store, f"{layout.index_table('files')}month=2026-03/{'0' * 32}.parquet", b"of a commit that never came")
    assert vacuum(site.store, opened).files == 0
    assert vacuum(site.store, opened, timedelta(seconds=-60), dry_run=True).files == 6
    assert vacuum(site.store, opened, timedelta(seconds=-60)).files == 6
    assert len(site.parquet_keys("files")) == len(opened.files()) == 1
    assert site.check().differences == ()


def test_the_check_names_every_difference(site: Site) -> None:
    made = small_archive(site.store)
    project_all(site.projector())
    opened = open_table(site.location, CHECKPOINTS)
    # A table with a row twice, one changed and one less: such as no code of ours makes.
    rows = table_rows(site.store, opened)
    changed = [rows[0], rows[0], {**rows[1], "size_bytes": 1}, *rows[3:]]
    replaced(site, opened, changed)
    found = site.check()
    kinds = Counter((difference.table, difference.kind) for difference in found.differences)
    assert kinds == {("checkpoints", "surplus"): 1, ("checkpoints", "different"): 1, ("checkpoints", "missing"): 1}
    assert any("size_bytes is 1 and should be" in difference.what for difference in found.differences)
    grow(made, 1)
    assert [difference.kind for difference in site.check().differences if difference.table == "sync_log"] == ["behind"]


def replaced(site: Site, opened: OpenTable, rows: Sequence[Mapping[str, Any]]) -> None:
    sink = Sink(site.store, site.machine.nonce, [opened.table.name])
    for row in rows:
        values = {name: value for name, value in row.items() if name != "month"}
        sink.add(opened.table.name, row["month"], **values)
    opened.replace(opened.files(), sink.finish()[opened.table.name], NOON)


def test_a_margin_that_readers_can_not_live_with_is_refused() -> None:
    with pytest.raises(Exception, match="takes files away"):
        check_margin(timedelta(minutes=1))
    assert check_margin(timedelta(minutes=1), force=True) == timedelta(minutes=1)


def test_a_table_of_an_older_release_gets_its_columns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    older = replace(SYNC_LOG, columns=tuple(column for column in SYNC_LOG.columns if column.name != "sealed_by"))
    monkeypatch.setattr(tables, "VERSION", 0)
    monkeypatch.setattr(tables, "_CONFIGURATION", {**tables._CONFIGURATION, "ckpt-archive.schema": "0"})
    open_or_create(site.location, older)
    monkeypatch.undo()
    opened = open_or_create(site.location, SYNC_LOG)
    assert "sealed_by" in opened.column_names()
    assert opened.schema_version == 1
    small_archive(site.store)
    project_all(site.projector())
    assert site.check().differences == ()


def test_months_are_parted(site: Site) -> None:
    made = LoggedArchive(site.store, datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC))
    grow(made, 4)
    project_each(site, made)
    opened = open_table(site.location, CHECKPOINTS)
    assert {file.month for file in opened.files()} == {"2026-02", "2026-03"}
    # Both are long over by the store's clock.
    assert compact(site.store, site.machine, opened, many=FEW).is_complete
    assert len(opened.files()) == 2
    assert site.check().differences == ()


@pytest.mark.parametrize("sample", [0, 1, 3, 99])
def test_a_sample_is_checked(tmp_path: Path, sample: int) -> None:
    site = folder_site(tmp_path / "archive")
    grow(small_archive(site.store), 5)
    project_all(site.projector())
    found = check(site.store, site.machine, ARCHIVE_ID, open_all(site.location), sample=sample, seed=5)
    assert (found.differences, found.batches) == ((), min(sample, 8))
    again = check(site.store, site.machine, ARCHIVE_ID, open_all(site.location), sample=sample, seed=5)
    assert again == found


def test_a_manifest_that_the_log_does_not_know_is_named(tmp_path: Path) -> None:
    site = folder_site(tmp_path / "archive")
    made = small_archive(site.store)
    project_all(site.projector())
    made.checkpoint(Place("unlogged", 0, 1))
    key = layout.manifest("unlogged", 0, 1)
    assert site.check().differences == ()
    long_ago = NOON.timestamp()
    os.utime(tmp_path / "archive" / key, (long_ago, long_ago))
    assert [(found.kind, found.key) for found in site.check().differences] == [("unlogged", key)]


def test_a_table_of_a_newer_release_is_gone_on_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = folder_site(tmp_path / "archive")
    opened = open_or_create(site.location, SYNC_LOG)
    opened._handle.alter.add_columns([Field("later", PrimitiveType("string"), nullable=True)])
    opened._handle.alter.set_table_properties({"ckpt-archive.schema": "99"}, raise_if_not_exists=False)
    small_archive(site.store)
    project_all(site.projector())
    assert "columns of a newer release" in caplog.text
    assert len(table_rows(site.store, open_table(site.location, SYNC_LOG))) == 3
    # A merge by us would lose what we do not know.
    assert compact(site.store, site.machine, open_table(site.location, SYNC_LOG), many=1).removed == 0


@pytest.mark.server
def test_wrong_credentials_and_a_missing_bucket_are_told_apart(
    seaweed: DevServer, seaweed_connection: Connection
) -> None:
    wrong = replace(seaweed_connection, secret_key="wrong")
    with pytest.raises(DeniedError):
        open_or_create(location(f"{seaweed.url}/x", wrong), SYNC_LOG)
    with pytest.raises(NotFoundError, match="bucket"):
        open_or_create(location("s3://no-such-bucket/x", seaweed_connection), SYNC_LOG)


@pytest.mark.server
def test_a_server_that_is_not_there(seaweed_connection: Connection) -> None:
    place = location("s3://bucket/x", replace(seaweed_connection, endpoint_url="http://127.0.0.1:9"))
    quick = replace(place, options={**place.options, "max_retries": "0"})
    with pytest.raises(UnavailableError):
        open_table(quick, SYNC_LOG)


def test_only_a_bucket_or_a_folder_can_have_an_index() -> None:
    with pytest.raises(InvalidInputError, match="can not have an index"):
        location("memory://test")


def test_secrets_are_not_shown() -> None:
    connection = Connection("http://127.0.0.1:9", "AKIA", "canary", "us-east-1")
    assert "canary" not in repr(location("s3://bucket/x", connection))


def test_the_check_finds_a_log_that_lies_about_a_file_and_a_rebuild_mends_it(site: Site) -> None:
    small_archive(site.store)
    project_all(site.projector())
    key = f"{layout.index_table('runs')}_delta_log/{1:020d}.json"
    data = content(site.store, key)
    put(site.store, key, data.replace(b'maxValues\\":{\\"run\\":\\"tuned', b'maxValues\\":{\\"run\\":\\"atune'))
    assert content(site.store, key) != data
    (difference,) = site.check().differences
    assert "ends with 'atune', not 'tuned'" in difference.what
    rebuild(site.store, site.machine, ARCHIVE_ID, site.location)
    assert site.check().differences == ()

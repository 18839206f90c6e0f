"""What was in the bucket before becomes checkpoints, where it lies."""

from pathlib import Path

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.archive import Archive
from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import hold
from ckpt_archive.retention.plans.plan import plan_run
from ckpt_archive.retention.plans.survey import basis_of, survey_run
from ckpt_archive.retention.policy.file import load, preset
from ckpt_archive.ship.adopting import Adopted, adopt, base_of, check_foreign, find_candidates
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.archives import archive_on, connected, flip, memory_store, put, read_tree, write_tree
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "optim/state.bin": b"moments" * 60, "empty": b""}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def store() -> MemoryStore:
    """An archive beside which old checkpoints lie."""
    store = memory_store()
    connected(store)
    for step in (100, 900):
        for path, data in {**FILES, "step": str(step).encode()}.items():
            put(store, f"checkpoint-{step}/{path}", data)
    put(store, "checkpoint-last/model.bin", b"no step")
    put(store, "notes.txt", b"none")
    return store


def run_import(store: Store, run: str = "run") -> list[Adopted]:
    candidates = find_candidates(store, "checkpoint-{step}")
    return list(adopt(local_machine(), connected(store), store, "", run, candidates))


def test_what_was_adopted_is_restored_and_verified_and_nothing_was_copied(store: MemoryStore, tmp_path: Path) -> None:
    before = sum(info.size_bytes for info in list_all(store, "checkpoint-"))
    assert [(item.step, item.state) for item in run_import(store)] == [(100, "committed"), (900, "committed")]
    assert not list_all(store, "data/")
    assert sum(info.size_bytes for info in list_all(store, "checkpoint-")) == before
    archive = archive_on(store)
    report = archive.verify("run", deep=True)
    assert (report.findings, report.objects) == ((), 6)
    archive.restore("run", "latest", to=str(tmp_path / "out"), exact_folder=True)
    assert read_tree(tmp_path / "out") == {**FILES, "step": b"900"}
    assert archive.show("run", 900).files[1].key == "/checkpoint-900/model.bin"


def test_the_event_tells_of_it(store: MemoryStore) -> None:
    run_import(store)
    assert len([info for info in list_all(store, layout.EVENTS) if "-imported-" in info.key]) == 1


def test_again_nothing_is_read_and_nothing_told(store: MemoryStore) -> None:
    run_import(store)
    counting = CountingStore(store)
    assert [item.state for item in run_import(counting)] == ["already-committed"] * 2
    assert not counting.requests["fetch"]
    assert len(list_all(store, layout.EVENTS)) == 1


def test_killed_at_any_request_and_run_again_it_ends_in_the_same_state(store: MemoryStore) -> None:
    watched = HookedStore(store)
    run_import(watched)
    for number in range(len(watched.requests)):

        def die(request: Request, number: int = number) -> None:
            if request.number == number:
                raise Killed

        other = memory_store()
        for info in list_all(store, "checkpoint-"):
            put(other, info.key, store.read(info.key, limit_bytes=1 << 20).data)
        connected(other)
        with pytest.raises(Killed):
            run_import(HookedStore(other, before=die))
        run_import(other)
        assert not archive_on(other).verify("run", deep=True).findings
        assert [place.step for place in catalog.places(other, "run")] == [900, 100]


def test_what_if_the_receipt_landed_and_the_answer_was_lost(store: MemoryStore) -> None:
    def lose(request: Request) -> None:
        if request.verb == "create" and request.key.startswith("receipts/"):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        run_import(HookedStore(store, after=lose))
    assert [item.state for item in run_import(store)] == ["committed"] * 2


def test_what_changed_after_it_was_adopted_is_a_conflict_and_no_second_checkpoint(store: MemoryStore) -> None:
    run_import(store)
    store.delete("checkpoint-100/model.bin")
    put(store, "checkpoint-100/model.bin", b"WEIGHTS!" * 400)
    with pytest.raises(ConflictError, match="other objects"):
        run_import(store)


def test_a_bit_that_flips_in_place_is_found(store: MemoryStore, tmp_path: Path) -> None:
    run_import(store)
    flip(store, "checkpoint-900/model.bin", 7)
    archive = archive_on(store)
    assert {finding.key for finding in archive.verify("run", 900, deep=True).findings} == {"/checkpoint-900/model.bin"}
    with pytest.raises(IntegrityError):
        archive.restore("run", 900, to=str(tmp_path / "out"), exact_folder=True)


def test_an_object_that_is_gone_is_a_finding(store: MemoryStore) -> None:
    run_import(store)
    store.delete("checkpoint-900/model.bin")
    assert archive_on(store).verify("run", 900).findings


def test_what_a_name_can_not_be_is_said_before_anything_is_read() -> None:
    store = memory_store()
    connected(store)
    put(store, "checkpoint-1/a\nb", b"x")
    with pytest.raises(InvalidInputError, match="a\\\\nb"):
        find_candidates(store, "checkpoint-{step}")


@pytest.mark.parametrize(
    ("pattern", "error"),
    [("checkpoint", InvalidInputError), ("a{step}/b{step}", InvalidInputError), ("epoch-{step}", NotFoundError)],
)
def test_a_pattern_that_finds_nothing_says_so(store: MemoryStore, pattern: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        find_candidates(store, pattern)


def test_two_folders_of_one_step_are_refused(store: MemoryStore) -> None:
    put(store, "checkpoint-0100/model.bin", b"x")
    with pytest.raises(InvalidInputError, match="both step 100"):
        find_candidates(store, "checkpoint-{step}")


@pytest.mark.parametrize(
    ("archive", "url", "base"),
    [
        ("s3://bucket/archive", "s3://bucket/old/llama", "old/llama/"),
        ("s3://bucket/archive", "s3://bucket", ""),
        ("file:///mnt/a", "file:///mnt/a/old", "old/"),
        ("file:///mnt/a", "file:///mnt/a", ""),
        ("file:///mnt/a b#", "file:///mnt/a b#/o%20ld", "o%20ld/"),
        ("s3://bucket", "s3://bucket/old", "old/"),
        ("s3://bucket/archive", "s3://other/old", None),
        ("file:///mnt/a", "file:///mnt/ab", None),
        ("s3://bucket/archive", "file:///mnt/a", None),
    ],
)
def test_only_what_is_in_the_archive_s_own_bucket_can_stay_in_place(archive: str, url: str, base: str | None) -> None:
    if base is None:
        with pytest.raises(InvalidInputError, match="not in the bucket"):
            base_of(archive, url)
    else:
        assert base_of(archive, url) == base


def test_a_push_goes_on_in_the_same_attempt(store: MemoryStore, tmp_path: Path) -> None:
    run_import(store)
    folder = write_tree(tmp_path / "in", FILES)
    archive_on(store).push(str(folder), run="run", step=1000)
    assert archive_on(store).find("run", "latest") == Place("run", 0, 1000)


def test_a_receipt_says_where_the_bytes_lie_and_can_not_lead_out_of_the_bucket(store: MemoryStore) -> None:
    run_import(store)
    key = layout.receipt("run", 0, 100, 0)
    data = store.read(key, limit_bytes=1 << 20).data
    receipt = Receipt.decode(data, key)
    assert {item.key for item in receipt.share.objects} == {f"/checkpoint-100/{path}" for path in (*FILES, "step")} - {
        "/checkpoint-100/empty"
    }
    assert receipt.encode() == data
    value = strictjson.decode(data, key)
    objects = value["objects"]
    assert isinstance(objects, list)
    for wrong in ("../../etc/passwd", "/etc/passwd", "a//b", "", "a/\0", 7, None):
        changed = {**value, "objects": [{**objects[0], "key": wrong}, *objects[1:]]}
        if wrong is None:
            Receipt.decode(record.with_checksum(changed), key)  # as absent
            continue
        with pytest.raises(IntegrityError):
            Receipt.decode(record.with_checksum(changed), key)
    without = {name: member for name, member in objects[0].items() if name != "sha256"}
    with pytest.raises(InvalidInputError, match="newer"):
        Receipt.decode(record.with_checksum({**value, "objects": [without, *objects[1:]]}), key)


@pytest.mark.parametrize("folder", ["data/run/00000000/", "prefix/data/run/00000000/"])
def test_what_an_archive_has_as_its_own_can_not_be_adopted(store: MemoryStore, folder: str) -> None:
    put(store, f"{folder}000000000100/000000/x", b"data")
    if folder.startswith("prefix"):
        put(store, "prefix/archive.json", b"{}")
    candidates = find_candidates(store, f"{folder}{{step}}")
    with pytest.raises(InvalidInputError, match="its own"):
        check_foreign(store, "", candidates)


def test_a_folder_that_is_only_called_data_can_be_adopted(store: MemoryStore) -> None:
    put(store, "old/data/checkpoint-7/x", b"data")
    check_foreign(store, "", find_candidates(store, "old/data/checkpoint-{step}"))


def test_a_folder_with_an_archive_in_it_can_not_be_adopted(store: MemoryStore) -> None:
    put(store, "site-1/archive.json", b"{}")
    with pytest.raises(InvalidInputError, match=r"holds an archive\.json"):
        check_foreign(store, "", find_candidates(store, "site-{step}"))


def test_what_differs_only_in_case_is_said_before_anything_is_read(store: MemoryStore) -> None:
    put(store, "checkpoint-100/MODEL.bin", b"x")
    with pytest.raises(InvalidInputError, match="differ only in case"):
        find_candidates(store, "checkpoint-{step}")


def test_an_empty_folder_of_the_same_step_does_not_matter(store: MemoryStore) -> None:
    for step in (7, 8):
        put(store, f"epoch-{step}/model", b"x")
    put(store, "epoch-08/model", b"y")
    with pytest.raises(InvalidInputError, match="both step 8"):
        find_candidates(store, "epoch-{step}")


def test_what_changes_between_the_listing_and_the_reading_is_a_conflict(store: MemoryStore) -> None:
    candidates = find_candidates(store, "checkpoint-{step}")
    put(store, "checkpoint-900/model.bin", b"WEIGHTS!" * 400)
    work = adopt(local_machine(), connected(store), store, "", "run", candidates)
    assert next(work).step == 100
    with pytest.raises(ConflictError):
        next(work)
    assert [place.step for place in catalog.places(store, "run")] == [100]


def test_what_an_unfinished_push_left_is_not_mixed_with_it(store: MemoryStore) -> None:
    put(store, layout.data_object("run", 0, 100, 0, "0" * 64), b"left over")
    with pytest.raises(ConflictError, match="never finished"):
        run_import(store)


@pytest.mark.parametrize("name", ["link", "a\\b\n"])
def test_a_folder_that_shows_not_all_it_holds_is_refused(tmp_path: Path, name: str) -> None:
    """The hub's snapshots are full of links."""
    archive = Archive.create(f"file://{tmp_path}/the archive")
    folder = write_tree(tmp_path / "the archive" / "old ones" / "checkpoint-1", {"model": b"weights", "in/side": b"x"})
    if name == "link":
        (folder / "in" / name).symlink_to("../model")
    else:
        (folder / "in" / name).write_bytes(b"x")
    with pytest.raises(InvalidInputError):
        list(archive.adopt(f"file://{tmp_path}/the%20archive/old%20ones", "run"))
    (folder / "in" / name).unlink()
    (adopted,) = archive.adopt(f"file://{tmp_path}/the%20archive/old%20ones", "run")
    assert (adopted.step, adopted.files) == (1, 2)
    assert not archive.verify("run", deep=True).findings
    archive.restore("run", 1, to=str(tmp_path / "out"), exact_folder=True)
    assert read_tree(tmp_path / "out") == {"model": b"weights", "in/side": b"x"}
    with pytest.raises(NotFoundError):
        archive.adopt(f"file://{tmp_path}/the%20archive/nothing", "run")


def test_retention_says_and_does_nothing_about_it(store: MemoryStore) -> None:
    run_import(store)
    connection = connected(store)
    bucket = connection.bucket
    assert bucket is not None
    basis = basis_of(
        connection, load('version = 1\nkeep_newest = 1\ndefault = "all"\n[classes.all]\nkeep_for = "1d"\n', "p")
    )
    survey = survey_run(local_machine(), connection, basis, "run")
    assert plan_run(basis, survey.run).changes == ()
    assert not read_fates(store, "run").of
    bucket.write_tags("/checkpoint-100/model.bin", {"mine": "1"})
    assert bucket.read_tags("checkpoint-100/model.bin") == {"mine": "1"}


def test_a_hold_is_of_the_objects_themselves() -> None:
    store = memory_store()
    bucket = MemoryBucket(store, object_lock=True, versioned=True)
    put(store, "checkpoint-1/model", b"weights")
    connection = connected(store, bucket=bucket)
    list(adopt(local_machine(), connection, store, "", "run", find_candidates(store, "checkpoint-{step}")))
    report = hold(local_machine(), connection, "run", Place("run", 0, 1), "C-1", "why", "somebody")
    assert (report.objects, report.gone) == (1, ())
    assert bucket.read_lock("checkpoint-1/model").legal_hold


def test_what_was_adopted_is_not_ours_to_drop(store: MemoryStore, tmp_path: Path) -> None:
    run_import(store)
    archive = archive_on(store)
    for step in (1000, 1001, 1002):  # the newest ones are refused for another reason
        archive.push(str(write_tree(tmp_path / str(step), FILES)), run="run", step=step)
    with pytest.raises(ConflictError, match="holds no data of run step 100"):
        archive.retention.drop(preset("default"), "run", 100, 100, reason="no use")
    assert {info.state for info in archive.checkpoints("run")} == {"kept"}

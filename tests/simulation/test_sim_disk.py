"""The simulated disk: what a power loss may take, and must not take; and every fault of every call."""

import errno
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Entry, Kind, LockMode
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.faults import CANDIDATES, Crash, Fault, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.platter import ERRNO
from ckpt_archive.testing.simulation.search import every_crash_point
from ckpt_archive.testing.simulation.world import World

OLD, NEW = b"o" * 100, b"n" * 150
LOSSES = 200


def new_disk() -> SimDisk:
    world = World(1)
    disk = SimDisk(world, SimClock(world))
    durable.make_directories(disk, "/a")
    durable.make_directories(disk, "/b")
    return disk


def put(disk: SimDisk, path: str, data: bytes, *, sync: bool) -> None:
    with disk.create(path) as file:
        file.write_at(data, 0)
        if sync:
            file.sync()


def survivors(prepare: Callable[[SimDisk], None], *paths: str) -> Counter[tuple[bytes | None, ...]]:
    """What stands under the paths after each of many power losses."""
    found: Counter[tuple[bytes | None, ...]] = Counter()
    for seed in range(LOSSES):
        disk = new_disk()
        prepare(disk)
        disk.power_loss(random.Random(seed))
        found[tuple(disk.peek(path) for path in paths)] += 1
        used = {inode.number: len(inode.data) for _, inode in disk.tree()}
        assert disk.used_bytes == sum(used.values())
    return found


# --- power loss ------------------------------------------------------------------------------------------------------------


def test_synced_content_under_a_synced_name_always_survives() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", NEW, sync=True)
        disk.sync_directory("/a")

    assert set(survivors(prepare, "/a/file")) == {(NEW,)}


def test_a_synced_file_may_lose_its_name_and_nothing_else() -> None:
    assert set(survivors(lambda disk: put(disk, "/a/file", NEW, sync=True), "/a/file")) == {(NEW,), (None,)}


def test_a_synced_name_may_lose_its_content_in_every_way() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", NEW, sync=False)
        disk.sync_directory("/a")

    contents = [content for (content,) in survivors(prepare, "/a/file")]
    assert None not in contents
    assert {b"", NEW, bytes(len(NEW))} <= set(contents)
    torn = [content for content in contents if content and 0 < content.count(b"n") < len(NEW)]
    assert any(len(content) == len(NEW) for content in torn)
    assert any(len(content) < len(NEW) for content in torn)


def test_an_overwrite_that_was_not_synced_leaves_old_new_or_a_patchwork() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", OLD, sync=True)
        disk.sync_directory("/a")
        with disk.reopen_beneath("/a", "file") as file:
            file.write_at(NEW, 0)

    contents = {content for (content,) in survivors(prepare, "/a/file") if content is not None}
    assert {OLD, NEW} <= contents
    assert any(content.count(b"o") and content.count(b"n") for content in contents)


def test_a_rename_that_was_not_synced_leaves_either_name_both_or_none() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/old", NEW, sync=True)
        disk.sync_directory("/a")
        disk.rename("/a/old", "/a/new")

    assert set(survivors(prepare, "/a/old", "/a/new")) == {(NEW, None), (None, NEW), (NEW, NEW), (None, None)}


def test_a_directory_never_comes_back_under_two_names() -> None:
    def prepare(disk: SimDisk) -> None:
        durable.make_directories(disk, "/a/old")
        put(disk, "/a/old/file", NEW, sync=True)
        disk.sync_directory("/a/old")
        disk.rename("/a/old", "/b/new")

    assert set(survivors(prepare, "/a/old/file", "/b/new/file")) == {(NEW, None), (None, NEW), (None, None)}


def test_a_rename_whose_new_name_is_synced_survives_there() -> None:
    def prepare(disk: SimDisk) -> None:
        durable.make_directories(disk, "/a/old")
        put(disk, "/a/old/file", NEW, sync=True)
        disk.sync_directory("/a/old")
        disk.rename("/a/old", "/b/new")
        disk.sync_directory("/b")

    assert set(survivors(prepare, "/a/old/file", "/b/new/file")) == {(None, NEW)}


def test_a_replacement_that_was_not_synced_leaves_the_old_or_the_new_one() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", OLD, sync=True)
        disk.sync_directory("/a")
        put(disk, "/a/.new", NEW, sync=True)
        disk.replace("/a/.new", "/a/file")

    assert set(survivors(prepare, "/a/file")) == {(OLD,), (NEW,)}


def test_a_removal_that_was_not_synced_may_not_have_been() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", OLD, sync=True)
        disk.sync_directory("/a")
        disk.remove("/a/file")

    assert set(survivors(prepare, "/a/file")) == {(OLD,), (None,)}


def test_a_name_that_came_and_went_between_two_syncs_may_come_back() -> None:
    def prepare(disk: SimDisk) -> None:
        put(disk, "/a/file", OLD, sync=True)
        disk.remove("/a/file")

    assert set(survivors(prepare, "/a/file")) == {(OLD,), (None,)}


def test_a_folder_that_was_not_synced_takes_all_it_holds_with_it() -> None:
    def prepare(disk: SimDisk) -> None:
        disk.make_directory("/a/folder")
        put(disk, "/a/folder/file", NEW, sync=True)
        disk.sync_directory("/a/folder")

    assert set(survivors(prepare, "/a/folder/file")) == {(NEW,), (None,)}


def test_what_survived_one_power_loss_survives_the_next() -> None:
    for seed in range(LOSSES):
        disk = new_disk()
        put(disk, "/a/file", NEW, sync=False)
        disk.power_loss(random.Random(seed))
        first = disk.peek("/a/file")
        disk.power_loss(random.Random(seed + 1))
        assert disk.peek("/a/file") == first


def test_content_whose_fsync_failed_is_never_durable_whatever_a_second_one_says() -> None:
    def prepare(disk: SimDisk) -> None:
        disk.world.inject("disk.sync", Fault.SYNC_FAILED)
        with disk.create("/a/file") as file:
            file.write_at(NEW, 0)
            with pytest.raises(OSError, match="Input/output"):
                file.sync()
            file.sync()
        disk.sync_directory("/a")

    assert NEW not in {content for (content,) in survivors(prepare, "/a/file")}


def test_write_once_is_whole_or_absent_at_every_crash_point_of_every_kind() -> None:
    """And what it returned stays, whatever is lost after it."""
    outcomes: Counter[bytes | None] = Counter()

    def life(world: World) -> None:
        node = Node(world, "n")
        durable.make_directories(node.disk, "/a")
        returned: list[bytes] = []
        node.spawn("p", lambda: returned.append(durable.write_once(node.disk, "/a/file", NEW, nonce=world.nonce())))
        world.run()
        world.lose_power(node)
        found = node.disk.peek("/a/file")
        outcomes[found] += 1
        assert found in ([NEW] if returned else [None, NEW])

    for seed in range(20):
        for what in Crash:
            every_crash_point(life, seed, Options(), what)
    assert set(outcomes) == {None, NEW}


# --- faults ----------------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[SimDisk], object]] = {
    "disk.stat": lambda disk: disk.stat("/a/file"),
    "disk.list": lambda disk: disk.list("/a"),
    "disk.open": lambda disk: disk.open("/a/file"),
    "disk.read": lambda disk: disk.open("/a/file").read_into(memoryview(bytearray(10)), 0),
    "disk.create": lambda disk: disk.create("/a/new"),
    "disk.write": lambda disk: disk.reopen_beneath("/a", "file").write_at(NEW, 0),
    "disk.reserve": lambda disk: disk.reopen_beneath("/a", "file").reserve(1000),
    "disk.close": lambda disk: disk.reopen_beneath("/a", "file").close(),
    "disk.sync": lambda disk: disk.sync_file("/a/file"),
    "disk.make_directory": lambda disk: disk.make_directory("/a/new"),
    "disk.make_symlink": lambda disk: disk.make_symlink("/a/new", "file"),
    "disk.read_symlink": lambda disk: disk.read_symlink_beneath("/c", "link"),
    "disk.set_modified": lambda disk: disk.reopen_beneath("/a", "file").set_modified(1),
    "disk.sync_directory": lambda disk: disk.sync_directory("/a"),
    "disk.rename": lambda disk: disk.rename("/a/file", "/a/new"),
    "disk.replace": lambda disk: disk.replace("/a/file", "/a/new"),
    "disk.link": lambda disk: disk.link("/a/file", "/a/new"),
    "disk.remove": lambda disk: disk.remove("/a/file"),
    "disk.remove_directory": lambda disk: disk.remove_directory("/b"),
    "disk.lock": lambda disk: disk.try_lock("/a/lock", LockMode.SHARED),
    "disk.space": lambda disk: disk.space("/a"),
    "disk.mount_kind": lambda disk: disk.mount_kind("/a"),
}
SILENT = (Fault.ROT, Fault.TRUNCATED)
CELLS = [(kind, fault) for kind in CALLS for fault in CANDIDATES[kind] if fault not in SILENT]


@pytest.mark.parametrize(("kind", "fault"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_call_that_fails_says_so_and_names_stay_as_they_were(kind: str, fault: Fault) -> None:
    disk = new_disk()
    put(disk, "/a/file", OLD, sync=True)
    durable.make_directories(disk, "/c")
    disk.make_symlink("/c/link", "file")
    before = [path for path, _ in disk.tree()]
    disk.world.inject(kind, fault)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        CALLS[kind](disk)
    assert caught.value.errno == ERRNO[fault]
    assert [path for path, _ in disk.tree()] == before
    CALLS[kind](disk)


def test_every_fault_of_the_disk_is_in_that_table() -> None:
    assert set(CALLS) == {kind for kind in CANDIDATES if kind.startswith("disk.")}


def test_a_file_that_is_cut_has_lost_half_of_it_for_good_and_no_time_tells() -> None:
    disk = new_disk()
    put(disk, "/a/file", OLD, sync=True)
    before, used = disk.stat("/a/file"), disk.used_bytes
    disk.world.inject("disk.read", Fault.TRUNCATED)
    left = disk.open("/a/file").read_into(memoryview(bytearray(100)), 0)
    assert left < len(OLD) / 2
    assert disk.peek("/a/file") == OLD[:left]
    assert disk.stat("/a/file") == replace(before, size_bytes=left)
    assert disk.used_bytes == used - (len(OLD) - left)


def test_rot_flips_one_bit_of_the_file_for_good_and_no_time() -> None:
    disk = new_disk()
    put(disk, "/a/file", OLD, sync=True)
    before = disk.stat("/a/file")
    disk.world.inject("disk.read", Fault.ROT)
    for _ in range(2):
        found = durable.read_small(disk, "/a/file")
        assert sum((x ^ y).bit_count() for x, y in zip(found, OLD, strict=True)) == 1
    assert disk.stat("/a/file") == before


def test_a_full_disk_takes_what_fits_and_has_room_again_after_a_removal() -> None:
    disk = new_disk()
    disk.total_bytes = 120
    put(disk, "/a/first", OLD, sync=True)
    file = disk.create("/a/second")
    with pytest.raises(OSError, match="No space") as caught:
        file.write_at(NEW, 0)
    assert caught.value.errno == errno.ENOSPC
    assert disk.peek("/a/second") == NEW[:20]
    with pytest.raises(OSError, match="No space"):
        file.reserve(21)
    file.write_at(b"x" * 20, 0)
    assert disk.space("/a").free_bytes == 0
    disk.remove("/a/first")
    assert disk.space("/a").free_bytes == 100
    file.reserve(120)


def test_links_are_followed_on_the_way_and_never_beneath_a_root() -> None:
    disk = new_disk()
    put(disk, "/b/secret", OLD, sync=True)
    disk.plant_symlink("/a/link", "/b")
    disk.plant_symlink("/a/relative", "../b/secret")
    disk.plant_symlink("/a/circle", "circle")
    assert disk.list("/a/link") == [Entry("secret", Kind.FILE)]
    assert durable.read_small(disk, "/a/link/secret") == OLD
    assert disk.stat("/a/link").kind is Kind.SYMLINK
    loops: list[Callable[[], object]] = [
        lambda: disk.open("/a/relative"),
        lambda: disk.stat("/a/circle/file"),
        lambda: disk.open_beneath("/a", "link/secret"),
        lambda: disk.reopen_beneath("/a", "relative"),
        lambda: disk.create_beneath("/a", "link/new"),
    ]
    for verb in loops:
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            verb()
    assert [path for path, _ in disk.tree("/b")] == ["/b/secret"]

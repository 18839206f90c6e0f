"""A store in a folder of a disk that loses power: at every I/O, with any part of what was not made durable."""

from collections.abc import Callable

import pytest

from ckpt_archive.disk import durable
from ckpt_archive.errors import AlreadyExistsError, InvalidInputError
from ckpt_archive.store.body import Body
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.protocol import PartInfo, list_all
from ckpt_archive.testing.conformance import StoreConformance
from ckpt_archive.testing.simulation.faults import Crash, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.search import every_crash_point
from ckpt_archive.testing.simulation.world import World

KEY = "data/run/0001/object"
PIECES = {number: bytes([number]) * 700 for number in (1, 2, 3)}
CONTENT = b"".join(PIECES.values())


class TestFileStore(StoreConformance):
    @pytest.fixture
    def store(self) -> FileStore:
        return opened(Node(World(1), "node"))


def opened(node: Node) -> FileStore:
    machine = node.machine()
    store = FileStore(machine.fs, "/archive", clock=machine.clock, nonce=machine.nonce)
    store.prepare()
    return store


def create(store: FileStore) -> None:
    """Whoever finds the key taken relies on what is there."""
    try:
        store.create(KEY, Body.of(CONTENT))
    except AlreadyExistsError:
        return


def upload(store: FileStore) -> None:
    """A session as `transfer` runs it: what is listed goes on, and what is left over is given up."""
    if not list_all(store, KEY):
        ids = [found.upload_id for found in store.list_uploads(KEY)] or [store.start_upload(KEY)]
        held = {part.number: part for part in store.list_parts(KEY, ids[0])}
        parts = tuple(held.get(number) or send(store, ids[0], number) for number in PIECES)
        try:
            store.complete_upload(KEY, ids[0], parts)
        except InvalidInputError:
            # A part that was damaged by a power loss: it is listed no more.
            return upload(store)
    for left in store.list_uploads(KEY):
        store.abort_upload(KEY, left.upload_id)
    return None


def send(store: FileStore, upload_id: str, number: int) -> PartInfo:
    return store.upload_part(KEY, upload_id, number, Body.of(PIECES[number]))


def found(node: Node) -> bytes | None:
    """Read past the store, so that looking makes nothing durable."""
    path = f"/archive/{KEY}"
    return durable.read_small(node.disk, path) if durable.exists(node.disk, path) else None


def life_of(put: Callable[[FileStore], None]) -> Callable[[World], None]:
    def life(world: World) -> None:
        node = Node(world, "node")
        store = opened(node)
        acknowledged: list[str] = []

        def main() -> None:
            put(store)
            acknowledged.append(KEY)

        node.spawn("writer", main)
        world.run()
        assert found(node) in (None, CONTENT), "nothing partial is visible"
        if acknowledged:
            node.lose_power(world.chance)
            assert found(node) == CONTENT, "what was acknowledged is there"
            assert not store.list_uploads("")
        # The next process: it may rely on what the first one left, so that has to last.
        put(store)
        node.lose_power(world.chance)
        assert found(node) == CONTENT, "what the next process acknowledged is there"
        # An upload whose giving up was not yet durable may come back: whoever looks next gives it up again.
        put(store)
        assert not store.list_uploads("")

    return life


@pytest.mark.parametrize("what", Crash)
@pytest.mark.parametrize("put", [create, upload])
def test_what_was_acknowledged_outlives_a_crash_at_any_io(put: Callable[[FileStore], None], what: Crash) -> None:
    for seed in range(4):
        tally = every_crash_point(life_of(put), seed, Options(), what)
        assert tally.lives > 20

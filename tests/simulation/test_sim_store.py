"""The simulated store: every fault of every call, and whether its effect came to pass."""

from collections.abc import Callable

import pytest

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    CkptArchiveError,
    ConflictError,
    DeniedError,
    IntegrityError,
    ThrottledError,
    UnavailableError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body
from ckpt_archive.testing.simulation.faults import CANDIDATES, EFFECTS, Fault, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Watcher
from ckpt_archive.testing.simulation.store import SimStore
from ckpt_archive.testing.simulation.world import World

DATA = b"data" * 25
BODY = Body.of(DATA)


class Case:
    """A store with an object and two uploads, one of them complete but for the completion."""

    def __init__(self, options: Options | None = None) -> None:
        self.world = World(1, options or Options())
        self.store = SimStore(self.world)
        self.store.create("key", BODY)
        self.info = self.store.head("key")
        self.upload = self.store.start_upload("joined")
        self.part = self.store.upload_part("joined", self.upload, 1, BODY)
        self.received = bytearray()

    def fetch(self) -> bytes:
        self.received.clear()
        self.store.fetch("key", offset=0, length=len(DATA), etag=self.info.etag, sink=self.received.extend)
        return bytes(self.received)

    def state(self) -> tuple[object, ...]:
        bucket = self.store.bucket
        parts = {upload_id: bucket.parts(upload.key, upload_id) for upload_id, upload in bucket.uploads.items()}
        return bucket.keys(), parts


CALLS: dict[str, Callable[[Case], object]] = {
    "store.create": lambda case: case.store.create("new", BODY),
    "store.read": lambda case: case.store.read("key", limit_bytes=1000),
    "store.fetch": lambda case: case.fetch(),
    "store.head": lambda case: case.store.head("key"),
    "store.list": lambda case: case.store.list(""),
    "store.delete": lambda case: case.store.delete("key"),
    "store.start_upload": lambda case: case.store.start_upload("other"),
    "store.upload_part": lambda case: case.store.upload_part("joined", case.upload, 2, BODY),
    "store.complete_upload": lambda case: case.store.complete_upload("joined", case.upload, (case.part,)),
    "store.abort_upload": lambda case: case.store.abort_upload("joined", case.upload),
    "store.list_uploads": lambda case: case.store.list_uploads(""),
    "store.list_parts": lambda case: case.store.list_parts("joined", case.upload),
}
ERRORS: dict[Fault, type[CkptArchiveError]] = {
    Fault.THROTTLED: ThrottledError,
    Fault.STORM: ThrottledError,
    Fault.DENIED: DeniedError,
    Fault.UPLOAD_GONE: UploadGoneError,
    Fault.FLIP_SENT: ChecksumRefusedError,
    Fault.TAKEN: AlreadyExistsError,
    Fault.REPLACED: ConflictError,
}
LOUD = [(k, f) for k in CALLS for f in CANDIDATES[k] if f not in (Fault.FLIP_READ, Fault.ROT, Fault.TRUNCATED)]


def test_every_call_of_the_store_is_in_these_tables() -> None:
    assert set(CALLS) == {kind for kind in CANDIDATES if kind.startswith("store.")}


@pytest.mark.parametrize(("kind", "fault"), LOUD, ids=lambda value: getattr(value, "name", value))
def test_a_call_that_fails_says_so_and_has_its_effect_only_where_the_fault_says(kind: str, fault: Fault) -> None:
    untouched, done, case = Case(), Case(), Case()
    CALLS[kind](done)
    case.world.inject(kind, fault)
    with pytest.raises(ERRORS.get(fault, UnavailableError)):
        CALLS[kind](case)
    if fault is Fault.UPLOAD_GONE:
        assert case.state() == (["key"], {})
        return
    at_once = (Fault.ANSWER_LOST, Fault.TAKEN)
    assert case.state() == (done if fault in at_once else untouched).state()
    case.world.sleep(3600)
    assert case.state() == (done if fault in (*at_once, Fault.LATE) else untouched).state()
    assert (done.state() == untouched.state()) == (kind not in EFFECTS)


@pytest.mark.parametrize("kind", ["store.read", "store.fetch"])
@pytest.mark.parametrize("fault", [Fault.FLIP_READ, Fault.ROT])
def test_a_flipped_bit_is_read_once_and_rot_for_ever(kind: str, fault: Fault) -> None:
    case = Case()
    case.world.inject(kind, fault)

    def wrong_bits() -> int:
        found = case.fetch() if kind == "store.fetch" else case.store.read("key", limit_bytes=1000).data
        return sum((x ^ y).bit_count() for x, y in zip(found, DATA, strict=True))

    assert [wrong_bits(), wrong_bits()] == ([1, 0] if fault is Fault.FLIP_READ else [1, 1])
    assert case.store.bucket.rotted == ({"key"} if fault is Fault.ROT else set())
    assert case.store.head("key") == case.info


@pytest.mark.parametrize("kind", ["store.read", "store.fetch"])
def test_an_object_that_is_cut_has_lost_its_end_for_good(kind: str) -> None:
    case = Case()
    case.world.inject(kind, Fault.TRUNCATED)
    if kind == "store.fetch":
        with pytest.raises(IntegrityError):
            case.fetch()
    left = case.store.read("key", limit_bytes=1000).data
    assert len(left) < len(DATA) / 2
    assert left == DATA[: len(left)]
    assert case.store.head("key").size_bytes == len(left)
    assert case.store.bucket.rotted == {"key"}


def test_an_object_that_is_put_again_is_the_same_under_another_etag() -> None:
    case = Case()
    case.world.inject("store.fetch", Fault.REPLACED)
    with pytest.raises(ConflictError):
        case.fetch()
    case.info = case.store.head("key")
    assert case.fetch() == DATA


def test_a_body_that_breaks_off_has_given_a_true_beginning() -> None:
    lengths = set()
    case = Case()
    case.world.inject("store.fetch", Fault.CUT_BODY, times=None)
    for _ in range(50):
        with pytest.raises(UnavailableError):
            case.fetch()
        assert DATA.startswith(bytes(case.received))
        lengths.add(len(case.received))
    assert len(lengths) > 10


def test_a_create_tried_again_after_its_answer_was_lost_meets_itself() -> None:
    case = Case()
    case.world.inject("store.create", Fault.ANSWER_LOST)
    with pytest.raises(UnavailableError):
        case.store.create("new", BODY)
    with pytest.raises(AlreadyExistsError):
        case.store.create("new", BODY)


def test_a_late_create_may_win_against_a_later_one_and_never_overwrites() -> None:
    case = Case()
    case.world.inject("store.create", Fault.LATE)
    with pytest.raises(UnavailableError):
        case.store.create("new", BODY)
    case.store.create("new", Body.of(b"second"))
    case.world.sleep(3600)
    assert case.store.read("new", limit_bytes=1000).data == b"second"


def test_bytes_that_changed_on_the_way_are_stored_where_nobody_compares_them() -> None:
    case = Case(Options(checksums_enforced=False))
    case.world.inject("store.create", Fault.FLIP_SENT)
    case.store.create("new", BODY)
    found = case.store.read("new", limit_bytes=1000).data
    assert sum((x ^ y).bit_count() for x, y in zip(found, DATA, strict=True)) == 1
    case.store.create("digested", Body(BODY.regions, crc32c(b"other")))


def test_a_completion_overwrites_where_the_store_does_not_ask_for_the_key() -> None:
    case = Case(Options(conditional_complete=False))
    case.store.create("joined", Body.of(b"before"))
    case.store.complete_upload("joined", case.upload, (case.part,))
    assert case.store.read("joined", limit_bytes=1000).data == DATA
    assert case.store.bucket.keys() == ["joined", "key"]


@pytest.mark.parametrize("fault", [Fault.STORM, Fault.OUTAGE, Fault.CUT_OFF, Fault.DENIED])
def test_trouble_lasts_and_passes_and_concerns_whom_it_should(fault: Fault) -> None:
    with World(5) as world:
        store = SimStore(world)
        nodes = [Node(world, "near"), Node(world, "far")]
        failures: dict[str, int] = {}
        world.inject("store.list", fault)

        def ask(node: Node) -> None:
            # The first to ask, at once, is "near".
            node.clock.sleep(0 if node.name == "near" else 1)
            failures[node.name] = 0
            for _ in range(30):
                try:
                    store.list("")
                except UnavailableError:
                    failures[node.name] += 1

        for node in nodes:
            node.spawn("asking", lambda node=node: ask(node))  # type: ignore[misc]
        world.run()
        assert failures["near"] > 1
        assert (failures["far"] > 1) == (fault in (Fault.STORM, Fault.OUTAGE))
        world.sleep(7200)
        store.list("")


def test_trouble_can_be_made() -> None:
    case = Case()
    case.store.trouble(Fault.DENIED, 60)
    with pytest.raises(DeniedError):
        case.store.head("key")
    case.world.sleep(61)
    case.store.head("key")


def test_trouble_is_over_when_it_is_calm() -> None:
    with World(5) as world:
        store = SimStore(world)
        world.inject("store.list", Fault.OUTAGE)
        with pytest.raises(UnavailableError):
            store.list("")
        world.calm()
        store.list("")


def test_watchers_see_what_becomes_visible_however_it_does() -> None:
    case = Case()
    seen: list[tuple[str, bytes | None]] = []

    class Oracle(Watcher):
        def stored(self, key: str, data: bytes) -> None:
            seen.append((key, data))

        def deleted(self, key: str) -> None:
            seen.append((key, None))

    case.world.watch(Oracle())
    case.store.create("plain", BODY)
    case.store.complete_upload("joined", case.upload, (case.part,))
    case.store.delete("plain")
    case.store.delete("plain")
    case.world.inject("store.create", Fault.LATE)
    with pytest.raises(UnavailableError):
        case.store.create("late", BODY)
    case.world.sleep(3600)
    assert seen == [("plain", DATA), ("joined", DATA), ("plain", None), ("late", DATA)]


def test_a_listing_tells_the_store_s_time_and_not_the_node_s() -> None:
    with World(3, Options(clock_skew_seconds=7200)) as world:
        store = SimStore(world)
        node = Node(world, "n")
        assert abs((store.list("").store_time - node.clock.now()).total_seconds()) > 1
        before = store.list("").store_time
        world.sleep(100)
        assert (store.list("").store_time - before).total_seconds() == 100

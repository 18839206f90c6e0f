"""An object store that answers late, wrongly, half, twice or not at all, as the seed wants."""

from collections.abc import Callable
from typing import TypeVar

from ckpt_archive import errors
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, StoredBytes, StoreLimits, UploadInfo
from ckpt_archive.testing.simulation.bucket import Bucket, StoredObject, check_key, flipped
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS
from ckpt_archive.testing.simulation.world import World

T = TypeVar("T")

SMALL_LIMITS = StoreLimits(min_part_size_bytes=64)
"""So that a few hundred bytes make a multipart upload."""

_PIECE_BYTES = 64 << 10
_LONGEST_TROUBLE_SECONDS = 1800.0
# A client gives up after about a minute; what it sent may be anywhere on the way until then, and in queues for longer.
_LATEST_SECONDS = 300.0
_STORM_REFUSES = 0.8
_WRONG_BITS = frozenset((Fault.FLIP_SENT, Fault.FLIP_READ, Fault.ROT, Fault.TRUNCATED))
_LASTING = frozenset((Fault.STORM, Fault.OUTAGE, Fault.CUT_OFF, Fault.DENIED))


class SimStore:
    """See `store.protocol.Store`. One for all nodes of a world; it knows who asks.

    Args:
        world: Every call passes its `step`.
        limits: Sizes and counts it accepts.
        url: What it calls itself.
        spared: Beginnings of keys whose objects neither rot nor flip a bit on the way.
        text: Endings of keys whose objects are text: a bit that flips in them is the highest one of a byte, and so it shows.

    Attributes:
        bucket: What it holds: for oracles, which look at it directly.
    """

    def __init__(
        self,
        world: World,
        *,
        limits: StoreLimits = SMALL_LIMITS,
        url: str = "sim://archive",
        spared: tuple[str, ...] = (),
        text: tuple[str, ...] = (),
    ) -> None:
        self._world = world
        self._text = text
        self._spared = spared
        self._url = url
        self._clock = SimClock(world)
        self._sent_wrong: set[str] = set()
        self._troubles: list[tuple[int, Fault, str | None]] = []
        self.bucket = Bucket(
            limits,
            checksums_enforced=world.options.checksums_enforced,
            conditional_complete=world.options.conditional_complete,
        )

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._url

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self.bucket.limits

    # --- objects -------------------------------------------------------------------------------------------------------

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        check_key(key)
        data = _received(body)
        fault = self._arrive("store.create", key)
        if fault is Fault.FLIP_SENT:
            data = self._flipped(key, data)

        def effect() -> ObjectInfo:
            info = self.bucket.create(key, data, body.crc32c, self._clock.now())
            if fault is Fault.FLIP_SENT:
                self.bucket.rotted.add(key)
            self._visible(key, data)
            return info

        return self._change("store.create", key, fault, effect)

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        fault = self._arrive("store.read", key)
        found = self._found(key, fault)
        if found.info.size_bytes > limit_bytes:
            raise errors.IntegrityError(f"{key} has more than {limit_bytes} bytes", hint="Find out who wrote it.")
        if fault is Fault.CUT_BODY:
            raise _unavailable(fault, key)
        return StoredBytes(found.info, self._flipped(key, found.data) if fault is Fault.FLIP_READ else found.data)

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        fault = self._arrive("store.fetch", key)
        found = self._found(key, fault)
        if etag is not None and found.info.etag != etag:
            raise errors.ConflictError(f"{key} was replaced while it was read", hint="Find out who did.")
        if offset < 0 or length < 0 or offset + length > found.info.size_bytes:
            raise errors.IntegrityError(f"{key} is shorter than {offset + length} bytes", hint="Verify it.")
        data = found.data[offset : offset + length]
        if fault is Fault.FLIP_READ:
            data = self._flipped(key, data)
        if fault is Fault.CUT_BODY:
            data = data[: self._world.chance.randrange(length + 1)]
        view = memoryview(data)
        for start in range(0, len(view), _PIECE_BYTES):
            sink(view[start : start + _PIECE_BYTES])
        if fault is Fault.CUT_BODY:
            raise _unavailable(fault, key)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        self._arrive("store.head", key)
        return self.bucket.get(key).info

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`."""
        self._arrive("store.list", prefix)
        after = start_after if token is None else token
        return self.bucket.list(prefix, delimiter, after, limit, self._clock.now())

    def delete(self, key: str) -> None:
        """See `Store.delete`."""

        def effect() -> None:
            if self.bucket.delete(key):
                self._world.observe(lambda: self._world.watcher.deleted(key))

        self._change("store.delete", key, self._arrive("store.delete", key), effect)

    # --- uploads -------------------------------------------------------------------------------------------------------

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        check_key(key)
        fault = self._arrive("store.start_upload", key)
        return self._change("store.start_upload", key, fault, lambda: self.bucket.start(key, self._clock.now()))

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        self.bucket.check_part_number(number, key)
        data = _received(body)
        fault = self._arrive("store.upload_part", key, upload_id)
        if fault is Fault.FLIP_SENT:
            data = self._flipped(key, data)
            self._sent_wrong.add(key)
        return self._change(
            "store.upload_part",
            key,
            fault,
            lambda: self.bucket.put_part(key, upload_id, number, data, body.crc32c),
        )

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""

        def effect() -> None:
            data = self.bucket.complete(key, upload_id, parts, self._clock.now())
            self._visible(key, data)

        fault = self._arrive("store.complete_upload", key, upload_id)
        self._change("store.complete_upload", key, fault, effect)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""

        def effect() -> None:
            self.bucket.uploads.pop(upload_id, None)

        self._change("store.abort_upload", key, self._arrive("store.abort_upload", key), effect)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        self._arrive("store.list_uploads", prefix)
        return self.bucket.under_way(prefix)

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        self._arrive("store.list_parts", key, upload_id)
        return self.bucket.parts(key, upload_id)

    def trouble(self, fault: Fault, seconds: float, node: str | None = None) -> None:
        """Let one of the lasting faults begin.

        Args:
            fault: `STORM`, `OUTAGE`, `CUT_OFF` or `DENIED`.
            seconds: How long.
            node: The name of the only node it concerns; None: all.
        """
        assert fault in _LASTING, f"{fault} does not last"
        self._troubles.append((self._world.now_us + round(seconds * MICROSECONDS), fault, node))

    @property
    def is_troubled(self) -> bool:
        """Whether one of the lasting faults has not ended."""
        return any(ends_us > self._world.now_us for ends_us, _, _ in self._troubles)

    # --- what goes wrong -----------------------------------------------------------------------------------------------

    def _arrive(self, kind: str, key: str, upload_id: str = "") -> Fault | None:
        """A request has arrived, or was refused on the way: what is left to go wrong with it."""
        fault = self._world.step(kind, key)
        if self._troubles:
            self._suffer(key)
        if fault is None or (fault in _WRONG_BITS and key.startswith(self._spared)):
            return None
        if fault in _LASTING:
            node = self._node() if fault in (Fault.CUT_OFF, Fault.DENIED) else None
            seconds = _LONGEST_TROUBLE_SECONDS ** self._world.chance.random()
            self.trouble(fault, seconds, node)
            raise _unavailable(fault, key)
        if fault in (Fault.UNAVAILABLE, Fault.THROTTLED, Fault.CONTENDED):
            raise _unavailable(fault, key)
        if fault is Fault.CUT_BODY and kind in ("store.create", "store.upload_part"):
            raise _unavailable(fault, key)
        if fault is Fault.UPLOAD_GONE:
            self.bucket.uploads.pop(upload_id, None)
        return fault

    def _suffer(self, key: str) -> None:
        now_us = self._world.now_us
        if self._world.is_calm:
            self._troubles.clear()
        self._troubles = [trouble for trouble in self._troubles if trouble[0] > now_us]
        for _, fault, node in self._troubles:
            if node is not None and node != self._node():
                continue
            if fault is not Fault.STORM or self._world.chance.random() < _STORM_REFUSES:
                raise _unavailable(fault, key)

    def _change(self, kind: str, key: str, fault: Fault | None, effect: Callable[[], T]) -> T:
        """Let a request have its effect now, later, or without an answer."""
        if fault is Fault.LATE:

            def land() -> None:
                self._world.note(None, "lands late", f"{kind} {key}")
                _unseen(effect)
                self._world.done(kind, key)

            self._world.later(_LATEST_SECONDS * self._world.chance.random(), land)
            raise _unavailable(fault, key)
        if fault is Fault.ANSWER_LOST:
            _unseen(effect)
            self._world.done(kind, key)
            raise _unavailable(fault, key)
        result = effect()
        self._world.done(kind, key)
        if fault is Fault.TAKEN:
            raise errors.AlreadyExistsError(f"{key}: {fault.value}", hint="Read it and compare.")
        return result

    def _found(self, key: str, fault: Fault | None) -> StoredObject:
        found = self.bucket.get(key)
        if fault is Fault.ROT and found.data:
            self.bucket.flip(key, self._bit(key, found.data))
        if fault is Fault.TRUNCATED and found.data:
            self.bucket.cut(key, self._world.chance.randrange((len(found.data) + 1) // 2))
        if fault is Fault.REPLACED:
            self.bucket.put_again(key)
        return found

    def _flipped(self, key: str, data: bytes) -> bytes:
        """With one bit wrong; but of one object never twice, for in a few bytes the second would soon undo the first."""
        if not data or key in self.bucket.rotted or key in self._sent_wrong:
            return data
        return flipped(data, self._bit(key, data))

    def _bit(self, key: str, data: bytes) -> int:
        bit = self._world.chance.randrange(len(data) * 8)
        return bit | 7 if key.endswith(self._text) else bit

    def _visible(self, key: str, data: bytes) -> None:
        self._world.observe(lambda: self._world.watcher.stored(key, data))

    def _node(self) -> str | None:
        fiber = self._world.current
        return fiber.process.node.name if fiber is not None else None


def _received(body: Body) -> bytes:
    """The bytes of a body, as its sources are when they are sent."""
    data = bytearray(body.size_bytes)
    if data:
        body.read_into(memoryview(data), 0)
    return bytes(data)


def _unseen(effect: Callable[[], object]) -> None:
    """An effect whose answer, good or bad, reaches nobody."""
    try:
        effect()
    except errors.CkptArchiveError:
        return


def _unavailable(fault: Fault, key: str) -> errors.UnavailableError:
    kind = {
        Fault.THROTTLED: errors.ThrottledError,
        Fault.STORM: errors.ThrottledError,
        Fault.DENIED: errors.DeniedError,
    }.get(fault, errors.UnavailableError)
    return kind(f"{key}: {fault.value}", hint="This is a simulated fault.")

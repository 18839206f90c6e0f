"""Real death: a process that ends itself with SIGKILL at a chosen request to the store, or a chosen call of the disk.

Put `KillAt` between the `RetryingStore` and the real store, so that it sees every try. What was on the wire when the process
died is known exactly, because it is written down just before: so a test can say how much may have to be sent again.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import UnavailableError
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.protocol import ObjectInfo, PartInfo, Sink, Store
from ckpt_archive.strictjson import Json, decode, encode
from ckpt_archive.testing.hooked import HookedStore

T = TypeVar("T")

_PATIENCE_SECONDS = 60.0


class When(Enum):
    """Which side of a call; MIDDLE is when half of the body it carries was read or received."""

    BEFORE = "before"
    MIDDLE = "middle"
    AFTER = "after"


class Act(Enum):
    """What is done at a point: end the process with SIGKILL, wait for a word from outside, or lose the store's answer."""

    DIE = "die"
    WAIT = "wait"
    LOSE = "lose"


@dataclass(frozen=True, slots=True)
class Point:
    """A moment in the life of a process.

    Attributes:
        when: Before, in the middle of, or after a call.
        verb: A verb of `Store` or of `FileSystem`.
        key: A text in the key or path that the call is about.
        number: Which of those calls, from 1.
        parts: How many parts must have been answered by then; the call waits for them.
        act: What is done there.
    """

    when: When
    verb: str
    key: str = ""
    number: int = 1
    parts: int = 0
    act: Act = Act.DIE

    def __str__(self) -> str:
        about = f" {self.key}" if self.key else ""
        nth = f" #{self.number}" if self.number > 1 else ""
        return f"{self.when.value} {self.verb}{about}{nth}"

    def to_json(self) -> dict[str, Json]:
        """For the command line of another process."""
        return {
            "when": self.when.value,
            "verb": self.verb,
            "key": self.key,
            "number": self.number,
            "parts": self.parts,
            "act": self.act.value,
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Json]) -> "Point":
        """From the command line of this process."""
        return cls(
            When(members["when"]),
            members["verb"],
            members["key"],
            members["number"],
            members["parts"],
            Act(members["act"]),
        )


Part = tuple[str, int]
"""The key of an object; with the number of a part that is sent (1 if it is sent whole), or the offset of a range fetched."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a process sent, or fetched.

    Attributes:
        begun: Size of every part that it began with.
        answered: Which of them are known to be complete.
    """

    begun: dict[Part, int] = field(default_factory=dict)
    answered: set[Part] = field(default_factory=set)

    @property
    def in_flight_bytes(self) -> int:
        """Of parts that were begun and not acknowledged."""
        return sum(size for part, size in self.begun.items() if part not in self.answered)

    @property
    def answered_bytes(self) -> int:
        """Of parts that were acknowledged."""
        return sum(self.begun[part] for part in self.answered)

    def encode(self) -> bytes:
        """As a record."""
        begun: list[Json] = [[key, number, size] for (key, number), size in sorted(self.begun.items())]
        answered: list[Json] = [[key, number] for key, number in sorted(self.answered)]
        return encode({"begun": begun, "answered": answered})

    @classmethod
    def decode(cls, data: bytes) -> "Traffic":
        """From a record of a process of ours."""
        found: dict[str, list[list[int | str]]] = decode(data, "the traffic of a process")
        return cls(
            {(str(key), int(number)): int(size) for key, number, size in found["begun"]},
            {(str(key), int(number)) for key, number in found["answered"]},
        )


class Moments:
    """Finds out when a process has come to one of its points, and does what is to be done there.

    Args:
        points: The moments; each comes once.
        traffic_path: Where the traffic is written down before the process dies.

    Attributes:
        traffic: What was sent or fetched so far.
    """

    def __init__(self, points: Sequence[Point], traffic_path: str) -> None:
        self._points = points
        self._traffic_path = traffic_path
        self.traffic = Traffic()
        self._seen = dict.fromkeys(points, 0)
        self._changed = threading.Condition()

    def about(self, verb: str, key: str) -> "Calling":
        """A call begins."""
        armed = []
        with self._changed:
            for point in self._points:
                if point.verb == verb and point.key in key:
                    self._seen[point] += 1
                    if self._seen[point] == point.number:
                        armed.append(point)
        return Calling(self, armed)

    def began(self, part: Part, size_bytes: int) -> None:
        """A part is about to be sent."""
        with self._changed:
            self.traffic.begun[part] = size_bytes

    def answered(self, part: Part) -> None:
        """A part was acknowledged."""
        with self._changed:
            self.traffic.answered.add(part)
            self._changed.notify_all()

    def leave_traces(self) -> None:
        """Write the traffic down."""
        with self._changed, open(self._traffic_path, "wb") as file:
            file.write(self.traffic.encode())

    def die(self) -> None:
        """End this process as a power switch would: nothing is flushed, closed or released by us."""
        self.leave_traces()
        os.kill(os.getpid(), signal.SIGKILL)

    def reached(self, point: Point) -> None:
        """The moment has come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.traffic.answered) >= point.parts, _PATIENCE_SECONDS):
                raise AssertionError(f"{point}: only {len(self.traffic.answered)} parts were answered")
        match point.act:
            case Act.DIE:
                self.die()
            case Act.WAIT:
                _wait_for_a_word(point)
            case Act.LOSE:
                raise UnavailableError("the answer was lost", hint="It is unknown whether it landed.")


class Calling:
    """One call and the points that lie in it."""

    def __init__(self, moments: Moments, armed: list[Point]) -> None:
        self._moments = moments
        self._armed = armed

    def at(self, when: When) -> None:
        """The call has come to here."""
        for point in [point for point in self._armed if point.when is when]:
            self._armed.remove(point)
            self._moments.reached(point)

    def body(self, body: Body) -> Body:
        """The body, watched."""
        if not any(point.when is When.MIDDLE for point in self._armed):
            return body
        return Body((Region(_Halfway(body, self), 0, body.size_bytes),), body.crc32c)

    def sink(self, sink: Sink, length: int) -> Sink:
        """The sink, watched."""
        received = 0

        def take(data: memoryview) -> None:
            nonlocal received
            sink(data)
            received += len(data)
            if received * 2 >= length:
                self.at(When.MIDDLE)

        return take


class _Halfway:
    """A body that tells when its second half is about to be read: the first was handed to the network by then."""

    def __init__(self, body: Body, calling: Calling) -> None:
        self._body = body
        self._calling = calling

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """See `Source.read_into`."""
        if offset * 2 >= self._body.size_bytes:
            self._calling.at(When.MIDDLE)
        return self._body.read_into(buffer, offset)


class KillAt(HookedStore):
    """Passes every verb on to `inner`, and acts at the points.

    Args:
        inner: The real store.
        moments: Where what is done.
    """

    def __init__(self, inner: Store, moments: Moments) -> None:
        super().__init__(inner)
        self._moments = moments

    def _do(self, verb: str, key: str, call: Callable[[], T]) -> T:
        calling = self._moments.about(verb, key)
        calling.at(When.BEFORE)
        answer = call()
        calling.at(When.AFTER)
        return answer

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        if not key.startswith("data/"):
            return super().create(key, body)
        return self._sending("create", (key, 1), body, lambda watched: self._inner.create(key, watched))

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""

        def call(watched: Body) -> PartInfo:
            return self._inner.upload_part(key, upload_id, number, watched)

        return self._sending("upload_part", (key, number), body, call)

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        calling = self._moments.about("fetch", key)
        calling.at(When.BEFORE)
        self._moments.began((key, offset), length)
        self._inner.fetch(key, offset=offset, length=length, etag=etag, sink=calling.sink(sink, length))
        self._moments.answered((key, offset))
        calling.at(When.AFTER)

    def _sending(self, verb: str, part: Part, body: Body, call: Callable[[Body], T]) -> T:
        calling = self._moments.about(verb, part[0])
        calling.at(When.BEFORE)
        self._moments.began(part, body.size_bytes)
        answer = call(calling.body(body))
        self._moments.answered(part)
        calling.at(When.AFTER)
        return answer


class KillAtDisk(PosixFileSystem):
    """The real disk of a process that acts at the points; only the verbs by which something becomes true are watched.

    Args:
        moments: Where what is done.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    def rename(self, old: str, new: str) -> None:
        """See `FileSystem.rename`."""
        self._do("rename", new, lambda: super(KillAtDisk, self).rename(old, new))

    def link(self, old: str, new: str) -> None:
        """See `FileSystem.link`."""
        self._do("link", new, lambda: super(KillAtDisk, self).link(old, new))

    def remove_directory(self, path: str) -> None:
        """See `FileSystem.remove_directory`."""
        self._do("remove_directory", path, lambda: super(KillAtDisk, self).remove_directory(path))

    def _do(self, verb: str, path: str, call: Callable[[], None]) -> None:
        calling = self._moments.about(verb, path)
        calling.at(When.BEFORE)
        call()
        calling.at(When.AFTER)


def _wait_for_a_word(point: Point) -> None:
    """Say on standard output that the moment has come, and go on when a line comes in, or when nobody is there any more."""
    os.write(1, f"reached {point}\n".encode())
    with suppress(OSError):
        os.read(0, 1)

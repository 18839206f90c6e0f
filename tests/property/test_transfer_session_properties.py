"""One object session against a store that does anything a store may do, in any order."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.errors import IntegrityError, UnavailableError
from ckpt_archive.share import DataObject
from ckpt_archive.store.protocol import PartInfo
from ckpt_archive.transfer import messages as m
from ckpt_archive.transfer.session import MAX_BEGINNINGS, ObjectSession, State

Parts = dict[int, PartInfo]


@dataclass
class World:
    """What the store holds of one key, and how likely it misbehaves."""

    item: DataObject
    chance: random.Random
    faults: float
    size: int | None = None
    uploads: dict[str, Parts] = field(default_factory=dict)
    names: int = 0
    completed: list[tuple[m.Complete, Parts]] = field(default_factory=list)

    def fails(self) -> bool:
        return self.chance.random() < self.faults

    def interfere(self) -> None:
        """Somebody else completes the same object, or an upload expires."""
        if self.uploads and self.fails():
            del self.uploads[self.chance.choice(sorted(self.uploads))]
        if self.fails() and self.chance.random() < 0.2:
            self.size = self.item.size_bytes

    def new_upload(self) -> str:
        self.names += 1
        name = f"upload-{self.names}"
        self.uploads[name] = {}
        return name

    def answer(self, action: m.Action) -> m.Observation:
        match action:
            case m.CreateWhole():
                if self.size is not None:
                    return m.AlreadyThere()
                self.size = self.item.size_bytes
                return m.AlreadyThere() if self.fails() else m.Created(self.size)
            case m.ListUploads():
                return m.UploadsListed(tuple(self.uploads))
            case m.StartUpload():
                name = self.new_upload() if not self.fails() else ""
                return m.Started(name) if name and not self.fails() else m.StartUnknown(UnavailableError("no answer"))
            case m.Head():
                return m.Headed(self.size)
            case m.Abort(upload_id):
                assert self.size is not None, "an upload was aborted before the object was there"
                self.uploads.pop(upload_id, None)
                return m.Aborted(upload_id)
            case m.Done():
                raise AssertionError
            case m.ListParts(upload_id) | m.SendPart(upload_id, _) | m.Complete(upload_id, _):
                return self.answer_about_upload(action, upload_id)

    def answer_about_upload(self, action: m.Action, upload_id: str) -> m.Observation:
        held = self.uploads.get(upload_id)
        if held is None:
            return m.UploadGone(upload_id)
        if isinstance(action, m.SendPart):
            part = PartInfo(action.number, self.item.part_range(action.number)[1], f"etag-{upload_id}-{action.number}")
            held[action.number] = part
            return m.PartSent(upload_id, part)
        if isinstance(action, m.ListParts):
            return m.PartsListed(upload_id, tuple(held[number] for number in sorted(held)))
        assert isinstance(action, m.Complete)
        if self.fails():
            return m.CompletionUnknown(UnavailableError("nothing happened"))
        self.completed.append((action, dict(held)))
        del self.uploads[upload_id]
        taken, self.size = self.size is not None, self.item.size_bytes
        if self.fails():
            return m.CompletionUnknown(UnavailableError("it landed, the answer was lost"))
        return m.AlreadyThere() if taken else m.Completed()


def run(world: World) -> ObjectSession:
    session = ObjectSession(world.item, "data/key")
    actions = list(session.feed(m.Listed(world.size)))
    actions += session.feed(m.UploadsListed(tuple(world.uploads)))
    done = 0
    for _ in range(2_000):
        if not actions:
            break
        action = actions.pop(world.chance.randrange(len(actions)))
        if isinstance(action, m.Done):
            done += 1
            continue
        if session.wants(action) or world.chance.random() < 0.5:
            world.interfere()
            actions += session.feed(world.answer(action))
    assert not actions
    assert done == 1
    return session


def item_of(parts: int, last: int = 3) -> DataObject:
    return DataObject("ab" * 32, (parts - 1) * 10 + last, 10, tuple(range(parts)))


@given(st.integers(1, 6), st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.3]), st.integers(0, 3))
def test_whatever_the_store_does_the_object_ends_up_there_from_parts_that_were_sent(
    parts: int, seed: int, faults: float, earlier: int
) -> None:
    world = World(item_of(parts), random.Random(seed), faults)
    for _ in range(earlier if parts > 1 else 0):
        name = world.new_upload()
        for number in range(1, parts + 1):
            if world.chance.random() < 0.5:
                size = world.item.part_range(number)[1] if world.chance.random() < 0.9 else 7
                world.uploads[name][number] = PartInfo(number, size, f"old-{name}-{number}")
    try:
        session = run(world)
    except UnavailableError:
        assert faults > 0
        return
    assert session.state is State.DONE
    assert world.size == world.item.size_bytes
    assert not world.uploads
    for complete, held in world.completed:
        assert [part.number for part in complete.parts] == list(range(1, parts + 1))
        assert all(held[part.number] == part for part in complete.parts)
        assert [part.size_bytes for part in complete.parts] == [
            world.item.part_range(number)[1] for number in range(1, parts + 1)
        ]


@given(st.integers(2, 200), st.integers(1, 60), st.integers(1, 60), st.sets(st.integers(1, 200)))
def test_parts_of_an_upload_made_with_another_part_size_are_never_believed(
    size: int, ours: int, theirs: int, sent: set[int]
) -> None:
    """A killed process may have used other settings; its last part can have the size of one of ours by chance."""
    if ours >= size or theirs >= size or ours == theirs:
        return
    item = DataObject("ab" * 32, size, ours, tuple(range(-(-size // ours))))
    other = DataObject("ab" * 32, size, theirs, tuple(range(-(-size // theirs))))
    listed = tuple(
        PartInfo(number, other.part_range(number)[1], "etag")
        for number in sorted(sent)
        if number <= len(other.part_crc32c)
    )
    session = ObjectSession(item, "data/key")
    session.feed(m.Listed(None))
    session.feed(m.UploadsListed(("old",)))
    session.feed(m.PartsListed("old", listed))
    assert session.resumed == ()


def test_an_object_of_another_size_under_the_key_is_an_integrity_error() -> None:
    session = ObjectSession(item_of(2), "data/key")
    with pytest.raises(IntegrityError, match=r"data/key has 99 bytes .* has 13"):
        session.feed(m.Listed(99))


def test_an_observation_that_nobody_asked_for_is_a_bug_and_says_so() -> None:
    with pytest.raises(RuntimeError, match="can not take"):
        ObjectSession(item_of(2), "data/key").feed(m.Completed())


def test_a_store_that_forgets_every_upload_is_given_up_after_some_tries() -> None:
    session = ObjectSession(item_of(2), "data/key")
    session.feed(m.Listed(None))
    session.feed(m.UploadsListed(()))
    for number in range(MAX_BEGINNINGS):
        session.feed(m.Started(f"u{number}"))
        session.feed(m.UploadGone(f"u{number}"))
        if number < MAX_BEGINNINGS - 1:
            session.feed(m.Headed(None))
    with pytest.raises(UnavailableError, match="could not be completed"):
        session.feed(m.Headed(None))

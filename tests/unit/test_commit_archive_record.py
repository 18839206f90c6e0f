"""The archive's own record: made once, whatever happens while it is made."""

from datetime import timedelta

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import ArchiveRecord, create_archive, open_archive
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.checkpoints import NOON
from ckpt_archive.testing.hooked import HookedStore, Request


def test_an_archive_is_created_and_opened() -> None:
    store = MemoryStore()
    made = create_archive(store, "first", NOON)
    assert made == ArchiveRecord("first", NOON)
    assert open_archive(store) == made


def test_creating_it_again_returns_what_stands() -> None:
    store = MemoryStore()
    create_archive(store, "first", NOON)
    assert create_archive(store, "second", NOON + timedelta(days=1)) == ArchiveRecord("first", NOON)


def test_two_creators_at_once_get_one_archive() -> None:
    store = MemoryStore()
    other: list[ArchiveRecord] = []

    def before(request: Request) -> None:
        if request.verb == "create":
            other.append(create_archive(store, "other", NOON))

    assert create_archive(HookedStore(store, before=before), "ours", NOON) == other[0] == ArchiveRecord("other", NOON)


def test_record_landed_and_answer_was_lost() -> None:
    store = MemoryStore()

    def after(request: Request) -> None:
        raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        create_archive(HookedStore(store, after=after), "first", NOON)
    assert create_archive(store, "second", NOON).archive_id == "first"


def test_opening_what_is_no_archive_says_how_to_make_one() -> None:
    with pytest.raises(NotFoundError) as caught:
        open_archive(MemoryStore("memory://here"))
    assert caught.value.hint == "Create it with: ckpt-archive init memory://here"


def test_unknown_members_survive() -> None:
    data = record.with_checksum({**strictjson.decode(ArchiveRecord("a", NOON).encode(), "it"), "newer": {"x": [1]}})
    assert ArchiveRecord.decode(data, "it").encode() == data


def test_a_record_that_requires_more_than_this_release_knows_asks_for_an_upgrade() -> None:
    members = {**strictjson.decode(ArchiveRecord("a", NOON).encode(), "it"), "requires": ["tiles"]}
    with pytest.raises(InvalidInputError, match="Upgrade"):
        ArchiveRecord.decode(record.with_checksum(members), "it")


@pytest.mark.parametrize("change", [{"archive": ""}, {"archive": 3}, {"created_at": "yesterday"}, {"format": "x"}])
def test_a_damaged_record_is_an_integrity_error_that_names_the_key(change: dict[str, object]) -> None:
    members = {**strictjson.decode(ArchiveRecord("a", NOON).encode(), "it"), **change}
    store = MemoryStore()
    store.create(layout.ARCHIVE, Body.of(record.with_checksum(members)))
    with pytest.raises(IntegrityError, match=r"archive\.json"):
        open_archive(store)

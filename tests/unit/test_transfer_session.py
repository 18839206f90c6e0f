"""What a session believes of an upload that it finds."""

import hashlib

import pytest

from ckpt_archive.share import DataObject
from ckpt_archive.store.protocol import PartInfo
from ckpt_archive.transfer import messages as m
from ckpt_archive.transfer.session import ObjectSession

ITEM = DataObject(hashlib.sha256(b"").hexdigest(), 17, 5, (1, 2, 3, 4))  # parts of 5, 5, 5 and 2 bytes


def part(number: int, size_bytes: int | None = None) -> PartInfo:
    return PartInfo(number, size_bytes or ITEM.part_range(number)[1], f"etag-{number}")


def sent_after(listed: tuple[PartInfo, ...], proved: frozenset[int] = frozenset()) -> set[int]:
    session = ObjectSession(ITEM, "key")
    session.feed(m.Listed(None))
    session.feed(m.UploadsListed(("old",)))
    return {
        action.number for action in session.feed(m.PartsListed("old", listed, proved)) if isinstance(action, m.SendPart)
    }


@pytest.mark.parametrize(
    ("numbers", "doubtful"),
    [((1,), ()), ((2, 3), ()), ((1, 4), ()), ((3,), (3,)), ((4,), (4,)), ((2, 4), (2, 4)), ((), ())],
)
def test_a_part_alone_may_be_the_last_one_of_another_plan(numbers: tuple[int, ...], doubtful: tuple[int, ...]) -> None:
    listed = tuple(part(number) for number in numbers)
    assert tuple(item.number for item in ObjectSession(ITEM, "key").doubtful(listed)) == doubtful


def test_parts_of_another_plan_are_not_even_doubted() -> None:
    assert ObjectSession(ITEM, "key").doubtful((part(3, 4),)) == ()


def test_a_part_alone_is_sent_again_unless_its_bytes_were_compared() -> None:
    assert sent_after((part(3),)) == {1, 2, 3, 4}
    assert sent_after((part(3),), frozenset({3})) == {1, 2, 4}
    assert sent_after((part(2), part(4)), frozenset({4})) == {1, 2, 3}


def test_of_parts_that_are_believed_nothing_needs_to_be_compared() -> None:
    assert sent_after((part(1),)) == {2, 3, 4}
    assert sent_after((part(2), part(3))) == {1, 4}


def test_of_a_store_that_does_not_check_no_part_is_believed_unless_its_bytes_were_compared() -> None:
    session = ObjectSession(ITEM, "key", parts_checked=False)
    listed = (part(1), part(2), part(3))
    assert session.doubtful(listed) == listed
    session.feed(m.Listed(None))
    session.feed(m.UploadsListed(("old",)))
    actions = session.feed(m.PartsListed("old", listed, frozenset({2})))
    assert {action.number for action in actions if isinstance(action, m.SendPart)} == {1, 3, 4}

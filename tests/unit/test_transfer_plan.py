import pytest

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.transfer.plan import Member, ObjectPlan, plan_objects
from ckpt_archive.transfer.settings import TransferSettings

MIB = 1 << 20


def test_small_files_share_one_object_and_large_ones_have_their_own() -> None:
    files = [("b/large", 20 * MIB), ("c", 3), ("a", 5), ("empty", 0)]
    assert plan_objects(files, TransferSettings(), StoreLimits()) == (
        ObjectPlan((Member("a", 5, 0), Member("c", 3, 5)), 8, 64 * MIB),
        ObjectPlan((Member("b/large", 20 * MIB, 0),), 20 * MIB, 64 * MIB),
    )


def test_the_part_size_grows_by_whole_mebibytes_where_the_number_of_parts_would_not_do() -> None:
    size = 10_000 * 64 * MIB + 1
    (plan,) = plan_objects([("huge", size)], TransferSettings(), StoreLimits())
    assert plan.part_size_bytes == 65 * MIB


def test_a_file_larger_than_the_store_can_take_is_named() -> None:
    limits = StoreLimits(min_part_size_bytes=1, max_part_size_bytes=10, max_parts=3)
    settings = TransferSettings(part_size_bytes=4, pack_below_bytes=0)
    assert plan_objects([("fits", 30)], settings, limits)[0].part_size_bytes == 10
    with pytest.raises(InvalidInputError, match="'too-large' has 31 bytes"):
        plan_objects([("too-large", 31)], settings, limits)


def test_a_path_that_occurs_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="occurs twice"):
        plan_objects([("a", 1), ("a", 2)], TransferSettings(), StoreLimits())


@pytest.mark.parametrize(
    "change", [{"part_size_bytes": 0}, {"parts_in_flight": 0}, {"buffer_size_bytes": 0}, {"pack_below_bytes": -1},
               {"bandwidth_bytes_per_second": 0}]
)  # fmt: skip
def test_settings_that_could_not_work_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        TransferSettings(**change)

from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.transfer.plan import plan_objects
from ckpt_archive.transfer.settings import TransferSettings

paths = st.text("abc/", min_size=1, max_size=6)
trees = st.dictionaries(paths, st.integers(0, 400), max_size=12)
settings = st.builds(TransferSettings, part_size_bytes=st.integers(1, 64), pack_below_bytes=st.integers(0, 100))
limits = st.builds(
    StoreLimits,
    min_part_size_bytes=st.integers(1, 8),
    max_part_size_bytes=st.just(1 << 20),
    max_parts=st.integers(1, 20),
)


@given(trees, settings, limits)
def test_every_byte_lies_in_exactly_one_object_and_all_parts_fit_the_store(
    tree: dict[str, int], chosen: TransferSettings, store: StoreLimits
) -> None:
    plans = plan_objects(list(tree.items()), chosen, store)
    members = [member for plan in plans for member in plan.members]
    assert {member.path: member.size_bytes for member in members} == {p: s for p, s in tree.items() if s}
    assert len(members) == len({member.path for member in members})
    for plan in plans:
        offset = 0
        for member in plan.members:
            assert member.offset == offset
            offset += member.size_bytes
        assert offset == plan.size_bytes > 0
        assert -(-plan.size_bytes // plan.part_size_bytes) <= store.max_parts
        assert store.min_part_size_bytes <= plan.part_size_bytes <= store.max_part_size_bytes
    assert sum(len(plan.members) > 1 for plan in plans) <= 1


@given(trees, settings, limits, st.randoms())
def test_the_plan_depends_on_the_set_of_files_alone(tree, chosen, store, random) -> None:  # type: ignore[no-untyped-def]
    files = list(tree.items())
    plans = plan_objects(files, chosen, store)
    random.shuffle(files)
    assert plan_objects(files, chosen, store) == plans
    assert list(plans) == sorted(plans, key=lambda plan: plan.members[0].path)

"""One bit of anything that is stored may flip: the right bytes, an error, a finding, or an older one and a warning."""

from pathlib import Path

from ckpt_archive.testing.fuzz import flips
from ckpt_archive.testing.fuzz.everything import work_folder
from ckpt_archive.testing.fuzz.scene import Scene

KINDS = {
    "archive.json", "attempts", "data", "decisions", "events", "pending", "manifests", "receipts", "agent.status.json",
    "archived.json", "digests.json", "gap.json", "gaps",
    "launches/attempt.json", "launches/json", "launches/resume.json", "promote.json", "reason.json", "receipt.json",
    "seal.json", "staged file",
}  # fmt: skip


def test_no_flipped_bit_loads_silently_as_other_bytes() -> None:
    with work_folder() as folder:
        result = flips.run(folder, 900)
    assert result.findings == []
    assert sum(result.flips.values()) == 900


def test_every_kind_of_stored_object_is_among_what_is_flipped(tmp_path: Path) -> None:
    found = flips.all_flips(Scene(tmp_path / "scene"))
    assert {flip.kind for flip in found} == KINDS
    assert len(found) == len(set(found)) == flips.LIST_LENGTH
    assert {flip.kind for flip in found[:2_000]} == KINDS


def test_a_reader_that_takes_what_it_gets_is_found_out(tmp_path: Path) -> None:
    bench = flips.Bench(Scene(tmp_path / "scene"))
    key = next(key for key in bench.scene.shelf.sizes() if key.startswith("data/run-a/"))
    bench.readers["restore latest"] = lambda: bench.scene.shelf.read(key, limit_bytes=1 << 20).data
    bench.expected["restore latest"] = bench.readers["restore latest"]()
    turn = list(bench.readers).index("restore latest") * 4
    try:
        bench.try_one(flips.Flip(staged=False, name=key, bit=77), turn)
    except flips.Wrong as error:
        assert "without a word" in str(error)  # noqa: PT017 - `pytest.raises` would rewrite the assertion of another module
    else:
        raise AssertionError("nobody noticed")

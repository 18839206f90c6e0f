"""What the documentation shows of policy files is what the release reads."""

import re
from pathlib import Path

import pytest

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.policy.file import PRESETS, load
from ckpt_archive.retention.policy.storage_classes import STORAGE_CLASSES

PAGE = (Path(__file__).parents[2] / "docs" / "retention.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```toml\n(version|\[classes)(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=range(len(FILES)))
def test_files_of_the_page_are_valid(file: tuple[str, str]) -> None:
    policy = load("".join(file), "page")
    assert policy.classes


def test_there_are_such_files_and_all_presets_and_storage_classes_are_told_of() -> None:
    assert len(FILES) >= 3
    assert all(f"| `{name}` |" in PAGE for name in (*PRESETS, *STORAGE_CLASSES))


def test_the_mistakes_of_the_page_are_told_so() -> None:
    found = re.search(r"^```text\nerror: (retention.toml has 2 mistakes\n.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    text = '\n\n[classes.daily]\nkeep_for = "48h"\n\ntransitions = [\n  { after = "30d", to = "GLACIER-IR" },\n]\n'
    with pytest.raises(InvalidInputError) as caught:
        load(text, "retention.toml")
    assert str(caught.value) == found[1]


def test_the_worm_policy_locks_for_as_long_as_it_keeps() -> None:
    worm = load(next("".join(file) for file in FILES if "17a-4" in "".join(file)), "page")
    record = worm.named("record")
    assert record is not None
    assert record.lock is not None
    assert (record.lock.mode, record.lock.days) == ("COMPLIANCE", record.keep_days)
    assert worm.default == "record"

"""What nobody of ours wrote is refused in our own words, soon, with little memory, and leaves nothing outside its folder."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.testing.fuzz import malformed
from ckpt_archive.testing.fuzz.everything import all_kinds
from ckpt_archive.testing.fuzz.kinds import Kind, Wrong

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.fixture(scope="module")
def kinds() -> Iterator[dict[str, Kind]]:
    with all_kinds() as found:
        yield {kind.name: kind for kind in found}


def input_of(case: dict[str, Any]) -> Any:
    return base64.b64decode(case["base64"]) if "base64" in case else case["input"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(kinds: dict[str, Kind], path: Path) -> None:
    case = json.loads(path.read_text())
    finding = malformed.take(kinds[case["kind"]], 0, input_of(case), malformed.Tally())
    assert finding is None, f"{case['was']}: {finding}"


def test_malformed_input_of_every_kind_ends_well(kinds: dict[str, Kind]) -> None:
    result = malformed.run(list(kinds.values()), 20_000)
    assert [str(finding) for finding in result.findings] == []
    assert result.tallies.keys() == kinds.keys()


def test_a_traceback_is_found_told_and_made_small() -> None:
    def take(text: str) -> bool:
        if "x" in text:
            raise KeyError(text)
        return True

    kind = Kind("planted", lambda chance: "ab" * 9 + chance.choice("xy") + "cd" * 9, take, 1)
    result = malformed.run([kind], 50)
    assert result.findings
    assert {(finding.kind, finding.input) for finding in result.findings[:5]} == {("planted", "x")}
    assert "--start" in str(result.findings[0])


def test_a_wrong_value_is_a_finding_and_an_error_of_ours_elsewhere_too() -> None:
    def take(_: str) -> bool:
        raise Wrong("planted")

    assert len(malformed.run([Kind("planted", lambda _: "a", take, 1)], 3).findings) == 3

"""`docs/servers.md` names every deviation that the conformance suites know, under the right server."""

from pathlib import Path

import pytest

from ckpt_archive.testing.bucket_conformance import KNOWN_BUCKET_DEVIATIONS
from ckpt_archive.testing.conformance import KNOWN_DEVIATIONS

SECTIONS = {"seaweedfs": "SeaweedFS", "moto": "moto"}


@pytest.mark.parametrize(("server", "check"), [*KNOWN_DEVIATIONS, *KNOWN_BUCKET_DEVIATIONS])
def test_each_known_deviation_is_in_the_table_of_its_server(server: str, check: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {SECTIONS[server]}\n")[1].split("\n## ")[0]
    assert f"`{check}`" in section

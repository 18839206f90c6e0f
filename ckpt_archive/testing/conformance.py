"""What every `Store` must do: one suite that the real ones, those in memory and the simulated one run.

Derive a test class from `StoreConformance` and give it a fixture `store`: one that holds nothing yet, for each test.
Override `executor` where calls may not come from several threads, and `server` where the server behind the store is known
to deviate: `KNOWN_DEVIATIONS` says in words what it does instead. A deviation is probed like everything else, and one that
has vanished fails the test, so that the table never says more than is true.
"""

import pytest

# Before they are imported: so that a failing check shows what it compared.
pytest.register_assert_rewrite("ckpt_archive.testing.conformance_objects", "ckpt_archive.testing.conformance_uploads")

from ckpt_archive.testing.conformance_base import KNOWN_DEVIATIONS  # noqa: E402
from ckpt_archive.testing.conformance_objects import (  # noqa: E402
    CreateConformance,
    ListConformance,
    ReadConformance,
)
from ckpt_archive.testing.conformance_uploads import UploadConformance  # noqa: E402

__all__ = ["KNOWN_DEVIATIONS", "StoreConformance"]


class StoreConformance(CreateConformance, ReadConformance, ListConformance, UploadConformance):
    """All of it."""

"""What every `Bucket` must do: suites that the real ones and the one in memory run.

Derive a test class from `BucketConformance`, and for buckets with Object Lock one from `LockedBucketConformance`; give it a
fixture `site`, new for each test, and override `server` where the server behind it is known to deviate:
`KNOWN_BUCKET_DEVIATIONS` says in words what it does instead. A deviation is probed like everything else, and one that has
vanished fails the test.
"""

import pytest

# Before they are imported: so that a failing check shows what it compared.
pytest.register_assert_rewrite(
    "ckpt_archive.testing.bucket_conformance_objects", "ckpt_archive.testing.bucket_conformance_locks"
)

from ckpt_archive.testing.bucket_conformance_base import (  # noqa: E402
    KNOWN_BUCKET_DEVIATIONS,
    Site,
    memory_site,
    s3_site,
)
from ckpt_archive.testing.bucket_conformance_locks import LockConformance  # noqa: E402
from ckpt_archive.testing.bucket_conformance_objects import (  # noqa: E402
    RuleConformance,
    TagConformance,
    TemperatureConformance,
    VersionConformance,
)

__all__ = ["KNOWN_BUCKET_DEVIATIONS", "BucketConformance", "LockedBucketConformance", "Site", "memory_site", "s3_site"]


class BucketConformance(TagConformance, RuleConformance, TemperatureConformance, VersionConformance):
    """Of a bucket without versions and locks."""


class LockedBucketConformance(TagConformance, RuleConformance, LockConformance):
    """Of a bucket with versions and Object Lock."""

"""What the storage classes of S3 demand of a policy: how they follow each other, and for how long they are paid.

Source: Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle" and "Understanding and managing storage
classes". `COLD` is ours: the second root of a file store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COLD = "COLD"


@dataclass(frozen=True, slots=True)
class StorageClass:
    """The demands of one.

    Attributes:
        youngest_days: No object comes there before that age.
        minimum_days: What leaves it sooner is paid for so long all the same.
        colder: Where objects may go on to.
    """

    youngest_days: int
    minimum_days: int
    colder: tuple[str, ...]


STORAGE_CLASSES: Mapping[str, StorageClass] = MappingProxyType(
    {
        "STANDARD_IA": StorageClass(
            30, 30, ("INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
        ),
        "INTELLIGENT_TIERING": StorageClass(1, 0, ("ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")),
        "ONEZONE_IA": StorageClass(30, 30, ("GLACIER", "DEEP_ARCHIVE")),
        "GLACIER_IR": StorageClass(1, 90, ("GLACIER", "DEEP_ARCHIVE")),
        "GLACIER": StorageClass(1, 90, ("DEEP_ARCHIVE",)),
        "DEEP_ARCHIVE": StorageClass(1, 180, ()),
        COLD: StorageClass(1, 0, ()),
    }
)

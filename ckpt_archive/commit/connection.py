"""An archive we are connected to: what every operation on it needs to know."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.bandwidth import Limiter
from ckpt_archive.transfer.settings import TransferSettings


@dataclass(slots=True)
class Connection:
    """A store known to hold an archive.

    Attributes:
        store: It retries by itself.
        archive_id: The archive's random id.
        settings: Sizes and limits of transfers.
        limiter: Bandwidth and parallelism of all transfers of this process; None for no limit.
        probe_checksums: Asks the store whether it refuses wrong bytes.
        bucket: Tags, locks and lifecycle rules; None where the store has none of these.
    """

    store: Store
    archive_id: str
    settings: TransferSettings
    limiter: Limiter | None
    probe_checksums: Callable[[], bool]
    bucket: Bucket | None = None
    _enforced: bool | None = field(default=None, repr=False)

    def checksums_enforced(self) -> bool:
        """Whether the store refuses bytes that do not match their checksum; asked once, when first needed."""
        if self._enforced is None:
            self._enforced = self.probe_checksums()
        return self._enforced

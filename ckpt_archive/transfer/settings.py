"""What a user may change about transfers."""

from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """Sizes and limits of uploads and downloads.

    Attributes:
        part_size_bytes: Size of a part of an object; grown only where the store's largest number of parts would not do.
        pack_below_bytes: Files smaller than this share one object per writer.
        parts_in_flight: How many requests that carry data are under way at once.
        buffer_size_bytes: Size of the one buffer per worker through which local files are read.
        bandwidth_bytes_per_second: Upper limit for all transfers of a process together; None for no limit.
    """

    part_size_bytes: int = 64 << 20
    pack_below_bytes: int = 8 << 20
    parts_in_flight: int = 8
    # Within noise of the fastest from 256 KiB to 4 MiB when SHA-256 and CRC32C run over it; small enough for any cache.
    buffer_size_bytes: int = 1 << 20
    bandwidth_bytes_per_second: int | None = None

    def __post_init__(self) -> None:
        for name in ("part_size_bytes", "parts_in_flight", "buffer_size_bytes"):
            _check(name, getattr(self, name), smallest=1)
        _check("pack_below_bytes", self.pack_below_bytes, smallest=0)
        if self.bandwidth_bytes_per_second is not None:
            _check("bandwidth_bytes_per_second", self.bandwidth_bytes_per_second, smallest=1)


def _check(name: str, value: int, *, smallest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise InvalidInputError(f"{name} = {value!r} is not allowed", hint=f"Use an integer from {smallest} on.")

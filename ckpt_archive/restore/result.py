"""What a restore gives back. A value."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Restored:
    """A checkpoint on the local disk.

    Attributes:
        path: The folder that holds its files.
        run: Run name.
        attempt: Number of the launch that wrote it; None for a local one whose launch has no number yet.
        step: Training step.
        source: "ring" for the local SSD, "archive".
        verified: Whether every byte was compared with the digests made after sealing. False only for a local checkpoint so
            young that it has none yet.
        files: How many files were wanted.
        size_bytes: Their size.
        bytes_fetched: Received from the store now.
        bytes_kept: Found in place and right.
    """

    path: Path
    run: str
    attempt: int | None
    step: int
    source: str
    verified: bool
    files: int
    size_bytes: int
    bytes_fetched: int = 0
    bytes_kept: int = 0

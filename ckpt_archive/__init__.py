"""Durable, verified checkpoint archives: from a training job's local SSD to object storage, and back with proof."""

from typing import TYPE_CHECKING, Any

from ckpt_archive.promotion import Every

if TYPE_CHECKING:
    from ckpt_archive.archive import Archive

__all__ = ["Archive", "Every"]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Archive":
        from ckpt_archive.archive import Archive

        return Archive
    raise AttributeError(f"module 'ckpt_archive' has no attribute {name!r}")

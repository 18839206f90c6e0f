"""One save, as the training loop sees it: a folder to write into, sealed when the block is left.

The failure policy lives here. What the user's own block raises is the user's, and passes through. What goes wrong on our
side is logged, recorded as a gap, and said by ``staged = False``; it is raised only with ``on_error="raise"``. If there was
no folder to give, because the disk is full or broken, whatever the block then raises follows from that, and is ours too.
Where several writers save together, either way the others must hear that this one has no share.
"""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.seal import Draft, SealOutcome, Verdict
from ckpt_archive.strictjson import Json

_log = logging.getLogger(__name__)


class Checkpoint:
    """A checkpoint being written. Made by `Run.checkpoint`; a context manager.

    Args:
        step: Training step.
        begin: Gives a draft.
        seal: Seals it.
        missed: Records that there is none.
        missing_path: The path to show where there is no draft; nothing exists there.
        raises: Whether errors of ours are raised.
        awaited: Whether others wait for this share.

    Attributes:
        step: Training step.
        staged: Whether it is durable on the local disk; False until the block is left.
        duplicate: Whether this step was sealed before in this launch, so that the first one stands.
    """

    def __init__(
        self,
        step: int,
        begin: Callable[[], Draft],
        seal: Callable[[Draft], SealOutcome],
        missed: Callable[[str], None],
        missing_path: str,
        *,
        raises: bool,
        awaited: bool = False,
    ) -> None:
        self.step = step
        self.staged = False
        self.duplicate = False
        self._begin = begin
        self._seal = seal
        self._missed = missed
        self._path = missing_path
        self._raises = raises
        self._awaited = awaited
        self._draft: Draft | None = None

    @property
    def path(self) -> Path:
        """The folder to write into: any files, in sub-folders too."""
        return Path(self._path)

    def __enter__(self) -> Self:
        try:
            self._draft = self._begin()
        except CkptArchiveError as error:
            self._failed(error)
        else:
            self._path = self._draft.files_path
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._draft is None:
            if isinstance(error, Exception):
                _log.error("step %d was not saved: there was no folder to write into (%s)", self.step, error)
                return True
            return False
        if error is not None:
            self._discard(self._draft)
            if self._awaited and isinstance(error, Exception):
                self._record(f"the trainer failed to write it: {type(error).__name__}")
            return False
        try:
            outcome = self._seal(self._draft)
        except CkptArchiveError as problem:
            self._discard(self._draft)
            self._failed(problem)
            return False
        self.duplicate = outcome.verdict in (Verdict.DUPLICATE_SAME, Verdict.DUPLICATE_KEPT_FIRST)
        self.staged = outcome.verdict is not Verdict.DUPLICATE_KEPT_FIRST
        if outcome.verdict is Verdict.DUPLICATE_KEPT_FIRST:
            _log.warning(
                "step %d was saved before in this launch with other content, which is bound to the archive and stays; this "
                "one is dropped",
                self.step,
            )
        return False

    def _failed(self, error: CkptArchiveError) -> None:
        _log.error("step %d was not saved: %s", self.step, error)
        self._record(error.message)
        if self._raises:
            raise error

    def _record(self, reason: str) -> None:
        try:
            self._missed(reason)
        except CkptArchiveError as error:
            _log.error("that step %d was not saved can not be recorded: %s", self.step, error)

    def _discard(self, draft: Draft) -> None:
        try:
            draft.discard()
        except CkptArchiveError as error:
            _log.warning("%s", error)


def plain_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Json]:
    """Metrics as a record can hold them: NaN and infinities, which JSON lacks, as text.

    What is not a number is left out, with a warning: training does not end for a metric.
    """
    plain: dict[str, Json] = {}
    for name, value in (metrics or {}).items():
        try:
            # Also what only looks like a number: a NumPy scalar, a tensor of one element.
            number = value if isinstance(value, int) else float(value)
            finite = math.isfinite(number)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            _log.warning("the metric %r is not recorded, for it is not a number: %s", name, error)
            continue
        plain[str(name)] = number if finite else str(number)
    return plain

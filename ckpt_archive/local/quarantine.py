"""Things that can not be trusted are set aside, with the reason; nothing of this is ever deleted by us."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, join
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.staging import RunStaging

_log = logging.getLogger(__name__)

CONTENT = "content"
REASON = "reason.json"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something in quarantine.

    Attributes:
        name: Its folder below the run's ``quarantine/``.
        path: Where it stood, relative to the run's folder; "" if the reason can not be read.
        reason: Why it is not trusted.
        set_aside_at: When; None if the reason can not be read.
    """

    name: str
    path: str
    reason: str
    set_aside_at: datetime | None


def set_aside(run: RunStaging, path: str, reason: str) -> str | None:
    """Move a file or folder of this run into quarantine; the reason is durable before the move.

    Args:
        run: The run.
        path: What to move; it lies below the run's folder.
        reason: Why, for people.

    Returns:
        The new folder that holds it; None if it was gone, or could not be moved (it is no more trusted where it is).
    """
    fs = run.machine.fs
    relative = path.removeprefix(run.folder + "/")
    name = f"{re.sub(r'[^A-Za-z0-9.-]+', '_', relative)[:150]}.{run.machine.nonce()[:12]}"
    folder = join(run.quarantine, name)
    members = {
        "path": _printable(relative),
        "reason": _printable(reason),
        "set_aside_at": clock.to_text(run.machine.clock.now()),
    }
    try:
        durable.make_directories(fs, folder)
        durable.write_once(
            fs, join(folder, REASON), record.encode("quarantine", members, {}), nonce=run.machine.nonce()
        )
        durable.move(fs, path, join(folder, CONTENT))
    except OSError as error:
        return _undo(run, folder, path, error)
    _log.warning("set aside %s, now in %s: %s", _printable(path), folder, _printable(reason))
    return folder


def quarantined(run: RunStaging) -> Iterator[Quarantined]:
    """Everything of this run in quarantine; changes nothing."""
    fs = run.machine.fs
    try:
        entries = fs.list(run.quarantine)
    except OSError:
        return
    for entry in entries:
        folder = join(run.quarantine, entry.name)
        if entry.kind is not Kind.DIRECTORY or not durable.exists(fs, join(folder, CONTENT)):
            continue
        try:
            fields = record.decode("quarantine", durable.read_small(fs, join(folder, REASON)), folder)
            yield Quarantined(entry.name, fields.text("path"), fields.text("reason"), fields.time("set_aside_at"))
        except (OSError, IntegrityError, InvalidInputError) as error:
            yield Quarantined(entry.name, "", f"its reason can not be read: {error}", None)


def _undo(run: RunStaging, folder: str, path: str, error: OSError) -> str | None:
    fs = run.machine.fs
    try:
        if durable.exists(fs, join(folder, CONTENT)):
            return folder
        durable.remove_tree(fs, folder)
    except OSError as second:
        _log.warning("could not tidy %s: %s", folder, second)
    if not isinstance(error, FileNotFoundError):
        _log.warning("could not set aside %s, which is not trusted where it is: %s", _printable(path), error)
    return None


def _printable(text: str) -> str:
    """Names on a disk need not be valid text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

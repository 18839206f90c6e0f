"""What the agent last said about itself: a small file beside its lock, replaced at will, for trainers and for `status`."""

from dataclasses import dataclass
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.staging import Staging

_NAME = "agent.status.json"


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """How the agent is.

    Attributes:
        at: When it said so.
        pid: Its process, 0 if unknown.
        protocol: The version of its ways; a newer one asks an older one to leave.
        pending: How many promoted shares are not archived.
        oldest_staged_at: When the oldest of them was sealed.
        troubles: What keeps it from archiving, one sentence each; empty if nothing does.
        denied: Whether one of them is about credentials or rights: waiting does not mend it.
    """

    at: datetime
    pid: int
    protocol: int
    pending: int
    oldest_staged_at: datetime | None
    troubles: tuple[str, ...]
    denied: bool


def write_status(staging: Staging, status: AgentStatus) -> None:
    """Replace what was said before. Raises `OSError`: nothing depends on it."""
    members = {
        "at": clock.to_text(status.at),
        "pid": status.pid,
        "protocol": status.protocol,
        "pending": status.pending,
        # They may quote names from a disk, which need not be valid text.
        "troubles": [trouble.encode("utf-8", "backslashreplace").decode("utf-8") for trouble in status.troubles],
        "denied": status.denied,
    }
    if status.oldest_staged_at is not None:
        members["oldest_staged_at"] = clock.to_text(status.oldest_staged_at)
    machine = staging.machine
    data = record.encode("agent-status", members, {})
    durable.replace(machine.fs, join(staging.root, _NAME), data, nonce=machine.nonce())


def forget_half_written(staging: Staging) -> None:
    """Remove what agents left that died while they said something; for the one that works here now. Raises `OSError`."""
    fs = staging.machine.fs
    for entry in fs.list(staging.root):
        if entry.name.startswith(durable.TEMPORARY_PREFIX) and entry.name.endswith(f"-{_NAME}"):
            durable.remove_if_there(fs, join(staging.root, entry.name))


def read_status(staging: Staging) -> AgentStatus | None:
    """What the agent last said; None if nothing that can be read."""
    path = join(staging.root, _NAME)
    try:
        fields = record.decode("agent-status", durable.read_small(staging.machine.fs, path), path)
        return AgentStatus(
            at=fields.time("at"),
            pid=fields.number("pid"),
            protocol=fields.number("protocol"),
            pending=fields.number("pending"),
            oldest_staged_at=fields.time("oldest_staged_at") if fields.has("oldest_staged_at") else None,
            troubles=tuple(str(item) for item in fields.items("troubles")),
            denied=fields.flag("denied"),
        )
    except (OSError, IntegrityError, InvalidInputError):
        return None

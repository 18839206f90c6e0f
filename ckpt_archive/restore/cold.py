"""What lies in a cold storage class can not be read: how much of it, and the one command that brings it back."""

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import ColdError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.place import Place
from ckpt_archive.store.bucket import Warmth, is_cold
from ckpt_archive.store.protocol import list_pages
from ckpt_archive.transfer.flow import flow

EXPECTED: Mapping[str, str] = MappingProxyType({"GLACIER": "3 to 5 hours", "DEEP_ARCHIVE": "up to 12 hours"})
"""How long the tier "Standard" takes (Amazon S3 User Guide, "Understanding archive retrieval options")."""


def thaw_command(place: Place, rank: int | None = None) -> str:
    """The command that asks for a checkpoint, or for one writer's share of it."""
    share = "" if rank is None else f" --rank {rank}"
    return f"ckpt-archive thaw {place.run} {place.step} --attempt {place.attempt}{share}"


def explain_cold(
    connection: Connection, executor: Executor, place: Place, keys: Sequence[str], rank: int | None, error: ColdError
) -> ColdError:
    """The error for people who wanted to read these objects of a checkpoint; costs its listing, and a look at each cold one.

    Args:
        connection: Where they are.
        executor: Looks.
        place: The checkpoint.
        keys: Of the objects that were wanted.
        rank: Only this writer's were.
        error: What the store said.
    """
    wanted = set(keys)
    folder = layout.data_folder(place.run, place.attempt, place.step)
    classes = {
        info.key: info.storage_class
        for page in list_pages(connection.store, folder)
        for info in page.objects
        if info.key in wanted
    }
    # What somebody else had put into the bucket lies elsewhere.
    classes |= {key: connection.store.head(key).storage_class for key in wanted if key.startswith("/")}
    candidates = [key for key, name in classes.items() if name not in ("", "STANDARD")]
    cold, thawing = _warmth(connection, executor, candidates, classes)
    if not cold and not thawing:
        # A second root that is not mounted, or it has just become warm: whoever met it knows better.
        return ColdError(f"{place} can not be read: {error.message}", hint=error.hint)
    names = sorted({classes[key] for key in [*cold, *thawing]})
    what = f"{len(cold) + len(thawing)} of {len(wanted)} objects of {place} lie in {' and '.join(names)}"
    takes = "; ".join(f"{EXPECTED[name]} from {name}" for name in names if name in EXPECTED) or "hours"
    if not cold:
        return ColdError(
            f"{what} and are being thawed",
            hint=f"That takes {takes}: restore again then. `{thaw_command(place, rank)}` shows how far it is.",
        )
    under_way = f", {len(thawing)} of them are being thawed" if thawing else ""
    return ColdError(
        f"{what}{under_way}",
        hint=f"`{thaw_command(place, rank)}` asks for them; that takes {takes}. Restore again then.",
    )


def _warmth(
    connection: Connection, executor: Executor, keys: Sequence[str], classes: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Which of these objects are cold, and which are being thawed."""
    bucket = connection.bucket
    if bucket is None:
        # What was thawed looks as cold as before in a listing.
        return [key for key in keys if is_cold(classes[key])], []

    def look(key: str) -> tuple[str, Warmth]:
        try:
            return key, bucket.temperature(key).warmth
        except NotFoundError:
            return key, Warmth.WARM

    found = dict(flow(executor, deque(keys), look, limit=connection.settings.parts_in_flight))
    cold = [key for key, warmth in found.items() if warmth is Warmth.COLD]
    return cold, [key for key, warmth in found.items() if warmth is Warmth.THAWING]

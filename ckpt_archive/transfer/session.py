"""How one object comes into the store: decisions only, no I/O.

Theory of operation. A session is fed with observations (what the store said) and answers with the actions to take next. A
fresh upload is a resume from nothing: every session begins with what a listing shows, and there is no second way for a
process that starts again. The key ends in the SHA-256 of the object, so whatever has this key and this size is this
object, and whoever else sends it sends the same bytes.

::

    NEW -Listed-> LISTED -UploadsListed-> it is there ................... CLEANING
                                          one part ...................... CREATING -Created / AlreadyThere, Headed-+
                                          uploads to look at ............ WEIGHING -PartsListed (all)-> SENDING    |
                                          nothing ....................... STARTING -Started-> SENDING              |
    SENDING -PartSent (the last)-> COMPLETING -whatever is answered-> CONFIRMING -Headed(size)-> CLEANING <--------+
    SENDING -UploadGone-> CONFIRMING -Headed(None)-> begin again: WEIGHING or STARTING, a bounded number of times
    CLEANING -Aborted (every other upload)-> DONE

- Of several uploads the one with most bytes goes on. The others are aborted only when the object is confirmed.
- An upload fits if every part it lists has the size our plan gives that number. One part alone may be the last one of a plan
  with larger parts and have the same size by chance, so parts are believed when part 1 or two full parts are among them;
  otherwise only those whose bytes were compared, and the others are sent again into the same upload. A store that does not
  check what it is sent may hold a part with wrong bytes: there every part that is found must have been compared.
- Complete is asked for with all parts, 1 to N. If it is answered by an error, or not at all, the object itself is asked.
- Parts of an upload that is no longer ours may still report: those observations are ignored.
"""

import enum
from collections.abc import Callable
from typing import Any, ClassVar

from ckpt_archive.errors import CkptArchiveError, IntegrityError, UnavailableError
from ckpt_archive.share import DataObject
from ckpt_archive.store.protocol import PartInfo
from ckpt_archive.transfer.messages import (
    Abort,
    Aborted,
    Action,
    Actions,
    AlreadyThere,
    Complete,
    Completed,
    CompletionUnknown,
    Created,
    CreateWhole,
    Done,
    Head,
    Headed,
    Listed,
    ListParts,
    ListUploads,
    Observation,
    PartSent,
    PartsListed,
    SendPart,
    Started,
    StartUnknown,
    StartUpload,
    UploadGone,
    UploadsListed,
)

# Each beginning means that an upload vanished or could not be completed; a store that does so five times is broken.
MAX_BEGINNINGS = 5


class State(enum.Enum):
    """Where a session stands; see the module's text."""

    NEW = "new"
    LISTED = "listed"
    FINDING = "finding"
    WEIGHING = "weighing"
    STARTING = "starting"
    CREATING = "creating"
    SENDING = "sending"
    COMPLETING = "completing"
    CONFIRMING = "confirming"
    CLEANING = "cleaning"
    DONE = "done"


class ObjectSession:
    """Brings one object into the store.

    Args:
        item: The object.
        key: Where it goes.
        parts_checked: Whether the store refuses a part that does not match its checksum.

    Attributes:
        item: The object.
        key: Where it goes.
        state: Where the session stands.
        upload_id: The upload parts are being sent to, if any.
        was_present: Whether the object was there before anything was sent.
        resumed: Numbers of the parts found in the store when the session first began to send.
    """

    def __init__(self, item: DataObject, key: str, *, parts_checked: bool = True) -> None:
        self.item = item
        self.key = key
        self._parts_checked = parts_checked
        self.state = State.NEW
        self.upload_id: str | None = None
        self.was_present = False
        self.resumed: tuple[int, ...] = ()
        self._part_count = len(item.part_crc32c)
        self._parts: dict[int, PartInfo] = {}
        self._candidates: list[str] = []
        self._leftovers: dict[str, None] = {}
        self._asked: set[str] = set()
        self._weighed: dict[str, dict[int, PartInfo]] = {}
        self._beginnings = 0
        self._last_error: CkptArchiveError | None = None

    def feed(self, observation: Observation) -> Actions:
        """Take what the store said; what to do next, perhaps nothing.

        Raises:
            IntegrityError: If an object, or a part just sent, has another size than it must have.
            UnavailableError: If the object could not be completed in `MAX_BEGINNINGS` tries.
        """
        if isinstance(observation, PartSent | UploadGone) and not self._is_ours(observation.upload_id):
            return ()
        handler = self._TRANSITIONS.get((self.state, type(observation)))
        if handler is None:
            raise RuntimeError(f"{self.key}: a session that is {self.state.value} can not take {observation}")
        return handler(self, observation)

    def wants(self, action: Action) -> bool:
        """Whether an action answered earlier still makes sense: not a part of an upload that is gone."""
        return not isinstance(action, SendPart) or action.upload_id == self.upload_id

    def _is_ours(self, upload_id: str) -> bool:
        return upload_id == self.upload_id or upload_id in self._asked

    def _listed(self, observation: Listed) -> Actions:
        self.state = State.LISTED
        if observation.size_bytes is not None:
            self._check_size(observation.size_bytes)
            self.was_present = True
        return ()

    def _uploads_listed(self, observation: UploadsListed) -> Actions:
        new = [upload_id for upload_id in observation.upload_ids if upload_id not in self._leftovers]
        self._leftovers |= dict.fromkeys(new)
        self._candidates += new
        return self._clean() if self.was_present else self._begin()

    def _begin(self) -> Actions:
        self._beginnings += 1
        if self._beginnings > MAX_BEGINNINGS:
            raise UnavailableError(
                f"{self.key} could not be completed in {MAX_BEGINNINGS} tries",
                hint="Run it again; if it stays so, ask for the store's log of this key.",
            ) from self._last_error
        if self._part_count == 1:
            self.state = State.CREATING
            return (CreateWhole(),)
        if not self._candidates:
            self.state = State.STARTING
            return (StartUpload(),)
        self.state = State.WEIGHING
        self._asked = set(self._candidates)
        self._weighed = {}
        return tuple(ListParts(upload_id) for upload_id in self._candidates)

    def _parts_listed(self, observation: PartsListed) -> Actions:
        parts = self._usable(observation)
        if parts is None:
            self._candidates.remove(observation.upload_id)
        else:
            self._weighed[observation.upload_id] = parts
        self._asked.discard(observation.upload_id)
        return self._choose()

    def _candidate_gone(self, observation: UploadGone) -> Actions:
        self._forget(observation.upload_id)
        self._asked.discard(observation.upload_id)
        return self._choose()

    def _choose(self) -> Actions:
        if self._asked:
            return ()
        if not self._weighed:
            # They may be gone because one of them was completed: look before beginning again.
            return self._confirm()
        self.upload_id = max(self._candidates, key=self._weighed_bytes)
        parts = self._weighed[self.upload_id]
        if self._beginnings == 1:
            self.resumed = tuple(parts)
        return self._send(parts)

    def _weighed_bytes(self, upload_id: str) -> int:
        return sum(part.size_bytes for part in self._weighed[upload_id].values())

    def doubtful(self, listed: tuple[PartInfo, ...]) -> tuple[PartInfo, ...]:
        """The parts that are believed only if their bytes are compared; never more than two where the store checks them."""
        if not self._parts_checked:
            return listed if self._fits(listed) else ()
        numbers = {part.number for part in listed}
        full = sum(number < self._part_count for number in numbers)
        return () if 1 in numbers or full >= 2 or not self._fits(listed) else listed

    def _fits(self, listed: tuple[PartInfo, ...]) -> bool:
        """Whether the parts may be of our plan."""
        return all(
            1 <= part.number <= self._part_count and part.size_bytes == self.item.part_range(part.number)[1]
            for part in listed
        )

    def _usable(self, observation: PartsListed) -> dict[int, PartInfo] | None:
        """The parts to be believed; None if the upload was made for another plan."""
        if not self._fits(observation.parts):
            return None
        doubtful = {part.number for part in self.doubtful(observation.parts)} - observation.proved
        return {part.number: part for part in observation.parts if part.number not in doubtful}

    def _started(self, observation: Started) -> Actions:
        self.upload_id = observation.upload_id
        self._candidates.append(observation.upload_id)
        self._leftovers[observation.upload_id] = None
        return self._send({})

    def _start_unknown(self, observation: StartUnknown) -> Actions:
        self._last_error = observation.error
        self.state = State.FINDING
        return (ListUploads(),)

    def _send(self, parts: dict[int, PartInfo]) -> Actions:
        self._parts = dict(parts)
        self.state = State.SENDING
        return self._complete_if_whole() or tuple(
            SendPart(self._current(), number) for number in range(1, self._part_count + 1) if number not in parts
        )

    def _part_sent(self, observation: PartSent) -> Actions:
        part = observation.part
        wanted = self.item.part_range(part.number)[1]
        if part.size_bytes != wanted:
            raise IntegrityError(
                f"the store took {part.size_bytes} bytes as part {part.number} of {self.key}, not {wanted}",
                hint="Run it again; the upload goes on from the parts that are right.",
            )
        self._parts[part.number] = part
        return self._complete_if_whole()

    def _complete_if_whole(self) -> Actions:
        if len(self._parts) < self._part_count:
            return ()
        self.state = State.COMPLETING
        return (Complete(self._current(), tuple(self._parts[number] for number in sorted(self._parts))),)

    def _upload_gone(self, observation: UploadGone) -> Actions:
        self._forget(observation.upload_id)
        return self._confirm()

    def _completed(self, _: Completed) -> Actions:
        self._forget(self._current())
        return self._confirm()

    def _completion_unknown(self, observation: CompletionUnknown) -> Actions:
        self._last_error = observation.error
        return self._confirm()

    def _already_there(self, _: AlreadyThere) -> Actions:
        self.was_present = self.state is State.CREATING
        return self._confirm()

    def _created(self, observation: Created) -> Actions:
        self._check_size(observation.size_bytes)
        return self._clean()

    def _confirm(self) -> Actions:
        self.state = State.CONFIRMING
        self.upload_id = None
        return (Head(),)

    def _headed(self, observation: Headed) -> Actions:
        if observation.size_bytes is None:
            self.was_present = False
            return self._begin()
        self._check_size(observation.size_bytes)
        return self._clean()

    def _clean(self) -> Actions:
        self.upload_id = None
        if not self._leftovers:
            self.state = State.DONE
            return (Done(),)
        self.state = State.CLEANING
        return tuple(Abort(upload_id) for upload_id in self._leftovers)

    def _aborted(self, observation: Aborted) -> Actions:
        self._forget(observation.upload_id)
        return () if self._leftovers else self._clean()

    def _forget(self, upload_id: str) -> None:
        self._leftovers.pop(upload_id, None)
        if upload_id in self._candidates:
            self._candidates.remove(upload_id)

    def _current(self) -> str:
        assert self.upload_id is not None
        return self.upload_id

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes != self.item.size_bytes:
            raise IntegrityError(
                f"{self.key} has {size_bytes} bytes in the store, but the object of that SHA-256 has "
                f"{self.item.size_bytes}",
                hint="It was damaged or was not written by ckpt-archive: have the storage owner remove it, then "
                "archive again.",
            )

    _TRANSITIONS: ClassVar[dict[tuple[State, type], Callable[["ObjectSession", Any], Actions]]] = {
        (State.NEW, Listed): _listed,
        (State.LISTED, UploadsListed): _uploads_listed,
        (State.FINDING, UploadsListed): _uploads_listed,
        (State.WEIGHING, PartsListed): _parts_listed,
        (State.WEIGHING, UploadGone): _candidate_gone,
        (State.STARTING, Started): _started,
        (State.STARTING, StartUnknown): _start_unknown,
        (State.CREATING, Created): _created,
        (State.CREATING, AlreadyThere): _already_there,
        (State.SENDING, PartSent): _part_sent,
        (State.SENDING, UploadGone): _upload_gone,
        (State.COMPLETING, Completed): _completed,
        (State.COMPLETING, AlreadyThere): _already_there,
        (State.COMPLETING, UploadGone): _upload_gone,
        (State.COMPLETING, CompletionUnknown): _completion_unknown,
        (State.CONFIRMING, Headed): _headed,
        (State.CLEANING, Aborted): _aborted,
    }

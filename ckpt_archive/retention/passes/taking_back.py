"""Takes back what was announced for checkpoints: statement, tags, event, statement; and waits for those who tag meanwhile.

From the first statement on nothing ends that had not ended before. Whoever tags shows that he is at work, acts upon nothing
that he has read more than a minute ago, and looks again when he is done (`tagging`). So who takes back looks at the tags
until nobody is at work any more who may not have seen it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ckpt_archive.commit import fating
from ckpt_archive.commit.event import MAX_PLACES, Event, record_event
from ckpt_archive.commit.fate import Fate, Fates, read_fates_of, read_run_fate
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.tagging import strip
from ckpt_archive.retention.passes.voice import ENDING, Voice
from ckpt_archive.retention.plans.survey import data_objects

_PLACES_IN_FLIGHT = 8
_WAIT = timedelta(seconds=60)
_LOOK_AGAIN = timedelta(seconds=2)


def take_back(voice: Voice, run: str, places: Sequence[Place], reason: str) -> tuple[Place, ...]:
    """Take back whatever is announced for checkpoints of a run whose end has not come; whose it was.

    What is over stays so for readers: of that the tags are removed, so that what is left stays.

    Args:
        voice: Who.
        run: The run.
        places: Which of its checkpoints.
        reason: Why, for people; they read "taken back: " before it.

    Raises:
        UnavailableError: If the store does not answer: take it back again.
    """
    taking = _TakingBack(voice, run, places, f"taken back: {reason}")
    clock = voice.machine.clock
    deadline = clock.monotonic() + _WAIT.total_seconds()
    while True:
        is_last_look = clock.monotonic() >= deadline
        whole, now = read_run_fate(voice.connection.store, run)
        others = whole.passes_under_way(now) if voice.connection.bucket is not None else ()
        taking.look()
        if not others:
            taking.cleared()
        # Else somebody has died, or is slow: what he sent may still arrive. A later pass of maintenance clears that.
        if not others or is_last_look:
            return tuple(sorted(taking.taken_back))
        clock.sleep(_LOOK_AGAIN.total_seconds())


@dataclass(slots=True)
class _TakingBack:
    voice: Voice
    run: str
    places: Sequence[Place]
    reason: str
    taken_back: dict[Place, Fate] = field(default_factory=dict)

    def look(self) -> None:
        """Take back what is announced now, and remove the tags.

        Before it is said that nothing ends, too: whoever reads that counts on it, also if we die before all tags are gone.
        """
        self._strip(self._fates())
        # It may have taken long.
        fates = self._fates()
        for place in self.places:
            fate = fates.fate(place)
            if not fate.is_open and not fates.is_over(place):
                store, archive_id = self.voice.connection.store, self.voice.connection.archive_id
                fating.revoke(store, archive_id, place, fate.generation, self.voice.told(self.reason))
                self.taken_back[place] = fate
        self._strip(fates)

    def _strip(self, fates: Fates) -> None:
        store, bucket = self.voice.connection.store, self.voice.connection.bucket
        tagged = [place for place in self.places if _may_be_tagged(fates.fate(place))]
        if bucket is None or not tagged:
            return

        def work(place: Place) -> None:
            strip(self.voice, bucket, [info.key for info in data_objects(store, place)])

        for _ in self.voice.machine.executor.map_unordered(work, tagged, limit=_PLACES_IN_FLIGHT):
            pass

    def cleared(self) -> None:
        """Tell whose end was taken back, and say that no object has the tag any more."""
        fates = self._fates()
        by_class: dict[str, list[tuple[Place, int]]] = {}
        for place in self.places:
            clearing = fates.fate(place).clearing
            if clearing is not None and not fates.is_over(place):
                class_name = self.taken_back.get(place, fates.fate(place)).class_name
                by_class.setdefault(class_name, []).append((place, clearing))
        for class_name, items in by_class.items():
            for start in range(0, len(items), MAX_PLACES):
                self._told(fates, class_name, items[start : start + MAX_PLACES])

    def _told(self, fates: Fates, class_name: str, items: Sequence[tuple[Place, int]]) -> None:
        connection, machine = self.voice.connection, self.voice.machine
        event = Event(
            archive_id=connection.archive_id,
            kind=ENDING,
            event_id=machine.nonce(),
            happened_at=machine.clock.now(),
            actor=self.voice.actor,
            node=machine.node,
            places=tuple(place for place, _ in items),
            run=self.run,
            outcome=class_name,
            reason=self.reason,
        )
        record_event(connection.store, event, fates.store_time)
        told = self.voice.told(self.reason, event.event_id)
        for place, clearing in items:
            fating.cleared(connection.store, connection.archive_id, place, clearing, told)

    def _fates(self) -> Fates:
        return read_fates_of(self.voice.connection.store, self.run, self.places)


def _may_be_tagged(fate: Fate) -> bool:
    return not fate.has_ended and (not fate.is_open or fate.clearing is not None)

"""Gives the objects of a checkpoint the tag of its class, or takes it away; other tags stay as they are.

Somebody may hold the checkpoint, or take its end back, at any moment. So what is said about it is read right before the
first tag, again whenever that was more than half a minute ago, and after the last one: then, if it must not have the tag,
the tags are removed again. Whoever dies in between leaves a pass that has begun and not ended, for which those who take back
look out (`commit.fate`).
"""

import threading
from collections.abc import Callable, Sequence

from ckpt_archive.commit import fating
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fate, Pass, read_fate, read_run_fate
from ckpt_archive.errors import NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.plan import may_tag
from ckpt_archive.retention.plans.survey import data_objects
from ckpt_archive.retention.policy.values import TAG_KEY
from ckpt_archive.retention.rules.rules import terms_of
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.protocol import ObjectInfo

OBJECTS_IN_FLIGHT = 8

_Work = Callable[[str], bool]

# Who holds a checkpoint goes on looking at its tags for 60 seconds after that.
_FRESH_SECONDS = 30.0
# Who holds a checkpoint does not look out for passes that were begun more than an hour ago.
_PASS_SECONDS = 1800.0


class Tagger:
    """Tags checkpoints of one run, in passes that others can see.

    Args:
        voice: Who.
        bucket: Of the archive.
        run: The run.
    """

    def __init__(self, voice: Voice, bucket: Bucket, run: str) -> None:
        self._voice = voice
        self._bucket = bucket
        self._run = run
        self._lock = threading.Lock()
        self._pass: Pass | None = None
        self._ids: set[str] = set()
        self._begun_seconds = 0.0

    @property
    def machine(self) -> Machine:
        """Where it runs."""
        return self._voice.machine

    @property
    def connection(self) -> Connection:
        """The archive."""
        return self._voice.connection

    def owns(self, item: Pass) -> bool:
        """Whether a pass is one of ours."""
        return item.pass_id in self._ids

    def begin(self) -> None:
        """Say that tagging begins, and again when that was half an hour ago: nobody waits for a pass for ever."""
        with self._lock:
            self._begin()

    def end(self) -> None:
        """Say that tagging has ended: only after all that was sent has been answered."""
        with self._lock:
            self._end()

    def _begin(self) -> None:
        started = self.machine.clock.monotonic()
        if self._pass is not None and started - self._begun_seconds < _PASS_SECONDS:
            return
        before = self._pass
        store = self.connection.store
        _, now = read_run_fate(store, self._run)
        self._pass = Pass(now.replace(microsecond=0), self.machine.nonce())
        self._ids.add(self._pass.pass_id)
        self._begun_seconds = started
        told = self._voice.told("checkpoints are tagged")
        fating.begin_pass(store, self.connection.archive_id, self._run, self._pass, told)
        if before is not None:
            fating.end_pass(store, self.connection.archive_id, self._run, before, told)

    def _end(self) -> None:
        if self._pass is not None:
            told = self._voice.told("checkpoints were tagged")
            fating.end_pass(self.connection.store, self.connection.archive_id, self._run, self._pass, told)
            self._pass = None

    def tag(self, place: Place, generation: int, tag: str, reason: str) -> bool:
        """Tag all objects of a checkpoint; whether that was still right when it was done.

        Args:
            place: The checkpoint.
            generation: In which its end was announced.
            tag: As announced.
            reason: Why, for people.
        """
        watch = _Watch(self, place, generation, tag)
        if not watch.allows():
            return False
        objects = data_objects(self.connection.store, place)
        if not objects or not self._is_time(tag, objects, watch.fate, watch):
            return False
        keys = [info.key for info in objects]
        done = _each_last_last(self.machine, keys, lambda key: self._tag_object(watch, key, tag))
        if not done or not watch.allows(anew=True):
            strip(self._voice, self._bucket, keys)
            return False
        told = self._voice.told(reason)
        fating.tagged(self.connection.store, self.connection.archive_id, place, generation, tag, told)
        return True

    def _is_time(self, tag: str, objects: Sequence[ObjectInfo], fate: Fate, watch: "_Watch") -> bool:
        terms = terms_of(tag)
        return terms is not None and may_tag(terms[1], objects, fate.ends_at, min(watch.now, self.machine.clock.now()))

    def _tag_object(self, watch: "_Watch", key: str, tag: str) -> bool:
        while True:
            try:
                tags = self._bucket.read_tags(key)
                if tags.get(TAG_KEY) == tag:
                    return True
                # What was read is only good for a while, however long the answer took.
                if not watch.is_fresh():
                    if not watch.allows(anew=True):
                        return False
                    continue
                self._bucket.write_tags(key, {**tags, TAG_KEY: tag})
            except NotFoundError:
                return True  # its end has come, and the engine was here
            return True


class _Watch:
    """What is said about a checkpoint, not older than half a minute."""

    def __init__(self, tagger: Tagger, place: Place, generation: int, tag: str) -> None:
        self._tagger = tagger
        self._place = place
        self._generation = generation
        self._tag = tag
        self._lock = threading.Lock()
        self._asked_seconds = -_FRESH_SECONDS
        self._allowed: bool | None = None
        self.fate = Fate()
        self.now = self._asked_at = tagger.machine.clock.now()

    def is_fresh(self) -> bool:
        """Whether what was read may still be acted upon."""
        clock = self._tagger.machine.clock
        # By both clocks: the one stands still while a machine sleeps, the other one may be set back.
        passed = max(clock.monotonic() - self._asked_seconds, (clock.now() - self._asked_at).total_seconds())
        return passed < _FRESH_SECONDS

    def allows(self, *, anew: bool = False) -> bool:
        """Whether the checkpoint may have the tag.

        Args:
            anew: Ask now; else only if what was read is too old.
        """
        with self._lock:
            asked = False
            while self._allowed is not False and not (self._allowed and self.is_fresh() and (asked or not anew)):
                self._ask()
                asked = True
            return bool(self._allowed)

    def _ask(self) -> None:
        self._tagger.begin()
        store = self._tagger.connection.store
        clock = self._tagger.machine.clock
        self._asked_seconds, self._asked_at = clock.monotonic(), clock.now()
        whole, _ = read_run_fate(store, self._place.run)
        self.fate, self.now = read_fate(store, self._place)
        self._allowed = (
            self.fate.generation == self._generation
            and self._tag in self.fate.announced
            and not self.fate.has_ended
            and not self.fate.cases
            and not whole.cases
        )


def strip(voice: Voice, bucket: Bucket, keys: Sequence[str]) -> None:
    """Remove the tag of a class from objects; those that are gone do not matter."""

    def work(key: str) -> bool:
        try:
            tags = bucket.read_tags(key)
            if TAG_KEY in tags:
                bucket.write_tags(key, {name: value for name, value in tags.items() if name != TAG_KEY})
        except NotFoundError:
            return True
        return True

    _each_last_last(voice.machine, keys, work)


def _each_last_last(machine: Machine, keys: Sequence[str], work: _Work) -> bool:
    """Do it to all, and to the last one when all others are done: so that one can tell from that one."""
    first, last = keys[:-1], keys[-1:]
    # A list: all are waited for, also when one was refused.
    return all([*machine.executor.map_unordered(work, first, limit=OBJECTS_IN_FLIGHT)]) and all(map(work, last))

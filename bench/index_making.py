"""How fast the index is made, and in how much memory.

python bench/index_making.py rows CHECKPOINTS FILES             records in memory, files thrown away: the making alone
python bench/index_making.py generate CHECKPOINTS FILES FOLDER  an archive in an empty folder (fastest on a tmpfs)
python bench/index_making.py sync|rebuild|compact|check FOLDER  what it says, on such an archive
"""

import os
import secrets
import sys
import threading
import time
from datetime import timedelta

from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import layout
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.executor import InlineExecutor, ThreadExecutor
from ckpt_archive.index.check import check
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.projection import Projection
from ckpt_archive.index.rebuild import rebuild
from ckpt_archive.index.schema import TABLES
from ckpt_archive.index.sink import Sink
from ckpt_archive.index.state import State
from ckpt_archive.index.sync import open_projector, project_all
from ckpt_archive.log.batch import MAX_ENTRIES, Batch, Entry
from ckpt_archive.log.sequence import Sealed
from ckpt_archive.machine import Machine
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.object_store import location
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON
from ckpt_archive.testing.manyfold import Records, Shape, check_against_encoders, write_archive


class Meter:
    """CPU, time and memory of a block; other work on the machine changes the time, hardly the CPU."""

    def __enter__(self):
        self._stop = threading.Event()
        self.base = self.peak = _resident()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        self._start = time.perf_counter(), time.process_time(), time.thread_time()
        return self

    def _look(self):
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *error):
        ends = time.perf_counter(), time.process_time(), time.thread_time()
        self.wall, self.cpu, self.main = (end - start for end, start in zip(ends, self._start, strict=True))
        self._stop.set()
        self._watch.join()

    def told(self, count, what):
        print(
            f"{count} {what}: {count / self.wall:.0f}/s ({self.wall:.1f} s); {count / self.cpu:.0f} per CPU second, "
            f"{count / self.main:.0f} per second of the main thread; memory {self.base:.0f} -> {self.peak:.0f} MB"
        )


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


class _Nowhere:
    """A store that forgets."""

    def create(self, key, body):
        pass


class _Known:
    """All records."""

    def __init__(self, records):
        self._records = records

    def take(self, key):
        return self._records[key]


def rows(checkpoints, files):
    shape = Shape(checkpoints, files=files)
    made, known, entries = Records(shape), {}, []
    for number in range(checkpoints):
        place, (receipt, manifest) = shape.place(number), made.of(number)
        key = layout.manifest(place.run, place.attempt, place.step)
        known[layout.receipt(place.run, place.attempt, place.step, 0)] = receipt
        known[key] = manifest
        entries.append(Entry.of_record("commit", "", manifest, NOON + timedelta(seconds=number), key))
    print(f"a receipt has {len(receipt)} bytes, a manifest {len(manifest)}")
    sink = Sink(_Nowhere(), lambda: secrets.token_hex(16), TABLES)
    projection = Projection(Fetcher(_Nowhere(), InlineExecutor(), _Known(known)), sink, State(), ARCHIVE_ID)
    with Meter() as meter:
        for number, start in enumerate(range(0, checkpoints, MAX_ENTRIES), start=1):
            some = tuple(entries[start : start + MAX_ENTRIES])
            projection.add(
                Sealed(Batch(ARCHIVE_ID, number, "0" * 64, start, NOON, "bench", NOON, None, some), "0" * 64)
            )
        sink.finish()
    meter.told(checkpoints, "checkpoints")
    meter.told(checkpoints * files, "rows of files")


def generate(checkpoints, files, folder):
    shape = Shape(checkpoints, files=files)
    check_against_encoders(shape, range(0, min(checkpoints, 500), 7))
    store = FileStore(PosixFileSystem(), folder)
    store.prepare()
    with Meter() as meter:
        write_archive(store, folder, shape)
    meter.told(checkpoints, "checkpoints")


def work(what, folder):
    store = FileStore(PosixFileSystem(), folder)
    machine = Machine(PosixFileSystem(), SystemClock(), ThreadExecutor(), lambda: secrets.token_hex(16), "bench")
    place = location(store.url)
    with Meter() as meter:
        if what == "rebuild":
            done = rebuild(store, machine, ARCHIVE_ID, place)
            count = done.entries
        else:
            projector = open_projector(store, machine, ARCHIVE_ID, place)
            if what == "sync":
                done = project_all(projector)
                count = done.entries
            elif what == "check":
                done = check(store, machine, ARCHIVE_ID, projector.tables, sample=None)
                count = done.rows["checkpoints"]
            else:
                done = [compact(store, machine, opened, many=2) for opened in projector.tables.values()]
                count = sum(each.rows for each in done)
    print(done)
    meter.told(count, {"compact": "rows"}.get(what, "records"))


match sys.argv[1:]:
    case ["rows", checkpoints, files]:
        rows(int(checkpoints), int(files))
    case ["generate", checkpoints, files, folder]:
        generate(int(checkpoints), int(files), folder)
    case ["sync" | "rebuild" | "compact" | "check" as what, folder]:
        work(what, folder)
    case _:
        sys.exit(__doc__)

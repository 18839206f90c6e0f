"""How long a lookup over S3 takes, first and warm: `python bench/query_s3.py [ROWS] [LATENCY_MS]`.

A table of checkpoints over thirty months on a SeaweedFS of this machine; LATENCY_MS is waited before each request. "First" is
a new engine in a process that has its libraries loaded and its connections open; "warm" the same question once more.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.asking import Question
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.schema import CHECKPOINTS
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows

ROUNDS = 5
PARTS = 4
MINUTES_OF_ALL = 1_300_000


class Far(CountingStore):
    """A store some way off."""

    def __init__(self, inner: Store, seconds: float) -> None:
        super().__init__(inner)
        self._seconds = seconds

    def _count(self, verb: str) -> Store:
        time.sleep(self._seconds)
        return super()._count(verb)


def measured(store: Far, sql: str) -> dict[str, Any]:
    first, warm = [], []
    for _ in range(ROUNDS):
        engine = Engine(RetryingStore(store, SystemClock()), ThreadExecutor())
        for times in (first, warm):
            store.reset()
            begin = time.perf_counter()
            engine.answer(Question(sql), 10)
            times.append(time.perf_counter() - begin)
            if times is first:
                requests = dict(store.requests)
    return {
        "first": f"{min(first):.3f} … {statistics.median(first):.3f}",
        "warm": f"{min(warm):.3f} … {statistics.median(warm):.3f}",
        "requests": requests,
        "bytes": engine.fetched_bytes,
    }


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    latency = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0
    with tempfile.TemporaryDirectory() as folder:
        server = DevServer(folder)
        connection = Connection(server.endpoint_url, server.access_key, server.secret_key, REGION)
        store = S3Store(server.bucket, "bench", connection=connection)
        try:
            table = HandWritten(store, CHECKPOINTS)
            for part in range(PARTS):
                made = checkpoint_rows(rows // PARTS, first=part * rows // PARTS, minutes=MINUTES_OF_ALL / rows)
                table.append(made, (part + 1) * rows // PARTS // 1000 + 1)
            objects = list_all(store, table.folder)
            print(f"{rows:,} rows, {len(objects)} objects, {sum(info.size_bytes for info in objects):,} bytes")
            run, step = rows // 1000 // 2, 500
            engine = Engine(store, ThreadExecutor())
            point = f"SELECT * FROM checkpoints WHERE run = 'run-{run:06d}' AND step = {step}"
            digest = engine.answer(Question(point)).objects()[0]["manifest_sha256"]
            for name, sql in (
                ("count", "SELECT count(*) FROM checkpoints"),
                ("run and step", point),
                ("sha256", f"SELECT run, step FROM checkpoints WHERE manifest_sha256 = '{digest}'"),
                ("per month", "SELECT month, count(*), sum(size_bytes) FROM checkpoints GROUP BY month"),
            ):
                found = measured(Far(store, latency), sql)
                print(
                    f"{name:13} first {found['first']}  warm {found['warm']}  {found['requests']}  {found['bytes']:,} bytes"
                )
        finally:
            store.close()
            server.kill()


if __name__ == "__main__":
    main()

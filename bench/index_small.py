"""Rows of the small tables of a made-up archive: an entry per run, launch, edge or batch of the log."""

import json

import numpy as np
import pyarrow as pa
from index_columns import ARTIFACT, BATCH, KEY, LAYOUT, NOISE, POLICY, SOURCE, Texts, hexes, times
from index_rows import ARCHITECTURES, Rows
from index_world import DAY, END, MICROS, START, digest, spread, unit

from ckpt_archive.index import schema


class SmallRows(Rows):
    """Makes these too."""

    def small(self) -> dict[str, pa.Table]:
        """The tables that are no larger than the number of runs, launches or batches."""
        known = {
            "runs": self._runs(),
            "launches": self._launches(),
            "run_sources": self._sources(),
            "tensor_layouts": self._layouts(),
            "signers": self._signers(),
            "sync_log": self._batches(),
        }
        edges = self._edges()
        return known | {"lineage": edges, "lineage_closure": self._closure(edges)}

    def _runs(self) -> pa.Table:
        world = self.world
        at = (world.run_start + 60 * MICROS).astype(np.int64)
        parsed = [json.loads(text) for text in self.labels]
        return pa.table(
            {
                "run": self.runs(np.arange(len(at))),
                "recorded_at": times(at),
                "project": self.projects(world.run_project),
                **{name: pa.array([label[name] for label in parsed]) for name in ("owner", "purpose", "risk_class")},
                "labels": self.label_texts(np.arange(len(at))),
                "log_seq": self.log_seq(at),
            }
        )

    def _launches(self) -> pa.Table:
        world = self.world
        at = (world.of_start + 40 * MICROS).astype(np.int64)
        launch, none = np.arange(len(at)), world.of_parent < 0
        return pa.table(
            {
                "run": self.runs(world.of_run),
                "attempt": pa.array(world.of_attempt),
                "recorded_at": times(at),
                "started_at": times(world.of_start.astype(np.int64)),
                "launch_key": self.launch_keys(launch),
                "writers": pa.array(self.shape_ranks[world.run_shape[world.of_run]]),
                "resume_run": self.runs(world.of_parent, none),
                "resume_attempt": pa.array(world.of_parent_attempt, mask=none),
                "resume_step": pa.array(world.of_parent_step, mask=none),
                "explicit": pa.array(world.of_explicit),
                "late": pa.array(np.zeros(len(at), bool)),
                "line_attempt": pa.array(world.of_line),
                "policy_sha256": Texts([digest(POLICY, i) for i in range(5)])(world.of_run % 5),
                "project": self.projects(world.run_project[world.of_run]),
                "labels": self.label_texts(world.of_run),
                "log_seq": self.log_seq(at),
            }
        )

    def _sources(self) -> pa.Table:
        world = self.world
        launch, source = spread(np.zeros(len(world.of_run), int), 1 + world.of_run % 5)
        run = world.of_run[launch]
        which = (run * 31 + source * 97 + world.run_project[run] * 11) % 400
        order = np.lexsort((launch, which))
        launch, which = launch[order], which[order]
        at = (world.of_start + world.of_cadence)[launch].astype(np.int64)
        return pa.table(
            {
                "run": self.runs(world.of_run[launch]),
                "attempt": pa.array(world.of_attempt[launch]),
                "uri": Texts([f"s3://corpus/{i:03}" for i in range(400)])(which),
                "version": Texts(["1", "2", "3"])(which % 3),
                "digest": Texts([digest(SOURCE, i) for i in range(400)])(which),
                "licence": Texts(["CC-BY-4.0", "proprietary", "CC0-1.0"])(which % 3),
                "records": pa.array(which * 10_007),
                "from_step": pa.array(world.of_first[launch]),
                "recorded_at": times(at),
                "declared_by": pa.nulls(len(at), pa.string()),
                "details": Texts(["{}"])(which * 0),
                "log_seq": self.log_seq(at),
            }
        )

    def _layouts(self) -> pa.Table:
        rows = sorted((digest(LAYOUT, i), i, j) for i in range(ARCHITECTURES * 2) for j in range(100 + i % 300))
        at = np.full(len(rows), START + DAY)
        return pa.table(
            {
                "layout_sha256": pa.array([row[0] for row in rows]),
                "name": pa.array([f"layers.{j // 9}.part{j % 9}.weight" for _, _, j in rows]),
                "dtype": pa.array(["bf16" if i % 3 else "f32" for _, i, _ in rows]),
                "shape": pa.array([f"[{1024 * (1 + i % 8)},{1024 * (1 + j % 4)}]" for _, i, j in rows]),
                "offset_bytes": pa.array([j << 22 for _, _, j in rows]),
                "size_bytes": pa.array([1 << 22] * len(rows)),
                "recorded_at": times(at),
                "log_seq": self.log_seq(at),
            }
        )

    def _signers(self) -> pa.Table:
        number = np.repeat(np.arange(60), 2)
        state = np.tile([0, 1], 60)
        keep = (state == 0) | (number % 4 == 0)
        number, state = number[keep], state[keep]
        at = START + DAY + number * 17 * DAY + state * 40 * DAY
        return pa.table(
            {
                "key_id": hexes(KEY, number),
                "state": Texts(["published", "revoked"])(state),
                "algorithm": Texts(["ecdsa-p256"])(state * 0),
                "owner": Texts([f"team-{i}" for i in range(7)])(number % 7),
                "valid_from": times(at),
                "valid_until": times(at + 700 * DAY),
                "public_key": Texts(["-----BEGIN PUBLIC KEY-----"])(state * 0),
                "reason": Texts(["rotated"])(state * 0, state == 0),
                "recorded_at": times(at),
                "log_seq": self.log_seq(at),
            }
        )

    def _batches(self) -> pa.Table:
        number = np.arange((END - START) // self.log_period + 1)
        at = START + (number + 1) * self.log_period
        entries = (30 * unit(NOISE[9], number)).astype(int) + 1
        missing = (unit(NOISE[10], number) < 0.01).astype(int)
        return pa.table(
            {
                "sealed_at": times(at),
                "sealed_by": Texts(["gpu-1", "gpu-2", "cron"])(number % 3),
                "watermark": times(at - 5 * MICROS),
                "swept_at": times(at - at % DAY),
                "first_entry": pa.array(np.cumsum(entries) - entries),
                "entries": pa.array(entries),
                "findings": pa.array(number * 0),
                "unresolved": pa.array(missing),
                "oldest_unresolved_at": times(at - 90 * MICROS, missing == 0),
                "unresolved_keys": Texts(["[]", '["log/pending/2026/03/01/12/20260301T120000-commit-9b1d.json"]'])(
                    missing
                ),
                "batch_sha256": hexes(BATCH, number),
                "log_seq": pa.array(number + 1),
            }
        )

    def _edges(self) -> pa.Table:
        world, names = self.world, self.world.run_name
        line = {(int(r), int(a)): int(n) for r, a, n in zip(world.of_run, world.of_attempt, world.of_line, strict=True)}
        rows = []
        for i in range(len(world.of_run)):
            run, parent = int(world.of_run[i]), int(world.of_parent[i])
            if parent >= 0 and (parent != run or world.of_explicit[i]):
                attempt, step = int(world.of_parent_attempt[i]), int(world.of_parent_step[i])
                relation = "rollback" if parent == run else ("fork", "fine-tune")[run % 2]
                above = f"line:{names[parent]}/{line[parent, attempt]}"
                at = int(world.of_start[i]) + 40 * MICROS
                rows.append(
                    (
                        f"line:{names[run]}/{world.of_attempt[i]}",
                        above,
                        relation,
                        names[parent],
                        attempt,
                        step,
                        None,
                        at,
                    )
                )
            if i % 10 == 0:
                step = int(world.of_first[i] + (world.of_size[i] - 1) * world.run_every[run])
                above = f"line:{names[run]}/{world.of_line[i]}"
                at = int(world.of_start[i] + world.of_cadence[i] * world.of_size[i])
                rows.append(
                    (
                        f"artifact:{digest(ARTIFACT, i)}",
                        above,
                        "output",
                        names[run],
                        int(world.of_attempt[i]),
                        step,
                        "jo",
                        at,
                    )
                )
        rows.sort(key=lambda row: row[:2])
        columns = list(zip(*rows, strict=True))
        at = np.array(columns.pop())
        kept = dict(
            zip(
                ("child", "parent", "relation", "parent_run", "parent_attempt", "parent_step", "declared_by"),
                columns,
                strict=True,
            )
        )
        return pa.table(
            {name: pa.array(values) for name, values in kept.items()}
            | {"recorded_at": times(at), "details": Texts(["{}"])(at * 0), "log_seq": self.log_seq(at)}
        )

    def _closure(self, edges: pa.Table) -> pa.Table:
        above = {row["child"]: row for row in edges.to_pylist()}
        rows = []
        for node, edge in above.items():
            depth, at = 1, edge
            while at is not None:
                rows.append(
                    (
                        node,
                        depth,
                        at["parent"],
                        at["parent_run"],
                        at["parent_attempt"],
                        at["parent_step"],
                        edge["recorded_at"],
                    )
                )
                depth, at = depth + 1, above.get(at["parent"])
        rows.sort(key=lambda row: row[:2])
        columns = list(zip(*rows, strict=True))
        at = np.array([int(value.timestamp() * MICROS) for value in columns.pop()])
        names = ("descendant", "depth", "ancestor", "ancestor_run", "ancestor_attempt", "ancestor_step")
        table = pa.table({name: pa.array(values) for name, values in zip(names, columns, strict=True)})
        table = table.append_column("recorded_at", times(at)).append_column("log_seq", self.log_seq(at))
        return table.select([column.name for column in schema.LINEAGE_CLOSURE.columns])

"""Rows of the large tables of a made-up archive (`index_world`): a month at a time, in the order of the product."""

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from index_columns import (
    ARTIFACT,
    COMMIT,
    CONFIG,
    EVENT,
    FILE,
    LAYOUT,
    MANIFEST,
    NOISE,
    PACK,
    Columns,
    Part,
    Texts,
    hexes,
    times,
)
from index_world import DAY, KEYS, MICROS, START, World, digest, spread, unit

from ckpt_archive.index import schema

CHUNK = 1_000_000  # rows of `files` made at once
ARCHITECTURES = 300
EVERY = ("every", "daily", "milestone", "push")
CLASSES = ("recent", "hourly", "daily", "milestone")
KINDS = {
    "verified": 0.30,
    "scrubbed": 0.20,
    "ending": 0.12,
    "signed": 0.10,
    "ended": 0.10,
    "classed": 0.05,
    "restored": 0.04,
    "gap": 0.03,
    "drilled": 0.01,
    "promote": 0.01,
    "dropped": 0.01,
    "exported": 0.01,
    "digested": 0.004,
    "evaluated": 0.004,
    "thaw-requested": 0.003,
    "thawed": 0.003,
    "held": 0.002,
    "undropped": 0.001,
    "released": 0.001,
    "deployed": 0.001,
    "duplicate": 0.001,
    "source": 0.001,
    "lineage": 0.001,
    "output": 0.001,
    "imported": 0.001,
    "copied": 0.001,
    "incident": 0.0001,
    "finding": 0.0001,
}
WITH_BYTES = ("verified", "scrubbed", "restored", "exported", "thawed", "copied")
WITH_DIGEST = ("verified", "scrubbed", "signed", "restored", "exported", "digested")
WITH_SUBJECT = (
    "held",
    "released",
    "exported",
    "output",
    "deployed",
    "copied",
    "source",
    "lineage",
    "incident",
    "finding",
)
PLACELESS = ("incident", "finding")


class Rows:
    """Makes rows."""

    def __init__(self, world: World, log_period: int) -> None:
        self.world, self.log_period = world, log_period
        names = world.run_name
        runs = np.arange(len(names))
        self.run_owner = world.random.integers(0, 60, len(names))
        self.runs, self.paths = Texts(names), Texts(world.path_names)
        self.projects = Texts([f"p{i:02}" for i in range(40)])
        self.labels = [
            json.dumps(
                {
                    "owner": f"user{self.run_owner[i]}",
                    "project": f"p{world.run_project[i]:02}",
                    "purpose": ("translation", "search", "forecast", "chat")[i % 4],
                    "risk_class": ("minimal", "limited", "high")[i % 3],
                    "team": f"team-{world.run_project[i] % 7}",
                },
                separators=(",", ":"),
            )
            for i in range(len(names))
        ]
        self.label_texts = Texts(self.labels)
        self.architecture = runs * 7919 % ARCHITECTURES
        self.commits = [digest(COMMIT, i // 3, 3)[:40] for i in range(len(world.of_run))]
        self.lineage = [
            json.dumps(
                {
                    "code": {"commit": self.commits[i], "dirty": i % 9 == 0, "remote": "git@example.org:ml/train.git"},
                    "config": {"sha256": digest(CONFIG, int(run))},
                    "environment": {"sha256": digest(CONFIG, int(run) % 97 + (1 << 40))},
                },
                separators=(",", ":"),
            )
            for i, run in enumerate(world.of_run)
        ]
        self.lineage_texts, self.commit_texts = Texts(self.lineage), Texts(self.commits)
        self.configs = Texts([digest(CONFIG, i) for i in range(len(names))])
        self.environments = Texts([digest(CONFIG, i + (1 << 40)) for i in range(97)])
        self.layouts = Texts([digest(LAYOUT, i) for i in range(ARCHITECTURES * 2)])
        self.launch_keys = Texts([f"slurm:{4_000_000 + 17 * i}:{a}" for i, a in enumerate(world.of_attempt)])
        self.shape_files = np.array([len(s.rank) for s in world.shape])
        self.shape_ranks = np.array([s.ranks for s in world.shape])
        self.shape_start = np.cumsum(self.shape_files) - self.shape_files
        self.shape_packs = np.array([len({r for r, p in zip(s.rank, s.packed, strict=True) if p}) for s in world.shape])
        self.shape_objects = np.array([(~s.packed).sum() for s in world.shape]) + self.shape_packs
        self.shape_large = np.array([(s.kind == 0).sum() for s in world.shape])
        self.shape_small = np.array([(s.kind > 0).sum() for s in world.shape])
        joined = {
            name: np.concatenate([getattr(s, name) for s in world.shape])
            for name in ("rank", "path", "kind", "offset", "packed")
        }
        self.rank, self.path, self.kind, self.offset, self.packed = joined.values()

    def log_seq(self, micros: np.ndarray) -> pa.Array:
        return pa.array((micros.astype(np.int64) - START) // self.log_period + 1)

    def month(self, low: int, high: int) -> Part:
        launch, ordinal = spread(*self.world.span(low, high))
        return Part(launch, ordinal, self.world.committed(launch, ordinal, high))

    def _place(self, part: Part) -> Columns:
        world = self.world
        return {
            "run": self.runs(world.of_run[part.launch]),
            "attempt": pa.array(world.of_attempt[part.launch]),
            "step": pa.array(world.step(part.launch, part.ordinal)),
        }

    def checkpoints(self, part: Part) -> pa.Table:
        world, launch, ordinal = self.world, part.launch, part.ordinal
        run, number = world.of_run[launch], world.of_base[launch] + ordinal
        shape = world.run_shape[run]
        upload = np.round(20 + 60 * unit(NOISE[0], number) ** 3 + 8.0 * self.shape_ranks[shape] ** 0.5, 3)
        staged = (
            part.committed - (upload * MICROS).astype(np.int64) - (unit(NOISE[1], number) * 5 * MICROS).astype(np.int64)
        )
        first = staged - np.where(
            self.shape_ranks[shape] > 1, (unit(NOISE[2], number) * 3 * MICROS).astype(np.int64), 0
        )
        size = world.run_bytes[run] * self.shape_large[shape] + self.shape_small[shape] * 15_000
        size += (unit(NOISE[3], number) * 5000).astype(int) * (self.shape_small[shape] > 0)
        rule = np.where(run % 50 == 0, 3, np.where(ordinal % 40 == 39, 2, np.where(ordinal % 10 == 9, 1, 0)))
        ordinals = world.step(launch, ordinal) // world.run_every[run]
        every = (world.run_every[run] // 5).astype(str)
        promotion = np.where(
            rule < 2,
            np.char.add(
                np.char.add('{"count":5,"ordinal":', ordinals.astype(str)),
                np.char.add(
                    np.char.add(',"rule":"', np.array(EVERY)[rule]),
                    np.char.add('","save_every_steps":', np.char.add(every, "}")),
                ),
            ),
            np.where(rule == 2, '{"name":"best","rule":"milestone"}', '{"rule":"push"}'),
        )
        return pa.table(
            self._place(part)
            | {
                "committed_at": times(part.committed),
                "first_staged_at": times(first),
                "staged_at": times(staged),
                "manifest_sha256": hexes(MANIFEST, number),
                "launch_key": self.launch_keys(launch),
                "writers": pa.array(self.shape_ranks[shape]),
                "files": pa.array(self.shape_files[shape]),
                "size_bytes": pa.array(size),
                "objects": pa.array(self.shape_objects[shape]),
                "stored_bytes": pa.array(size),
                "project": self.projects(world.run_project[run]),
                "labels": self.label_texts(run),
                "retention_class": Texts(list(CLASSES))(
                    np.where(rule == 2, 3, np.where(rule == 1, 2, ordinal % 3 // 2))
                ),
                "completeness": Texts(["sealed", "assumed"])((run % 20 == 0).astype(int)),
                "promotion_rule": Texts(list(EVERY))(rule),
                "promotion_ordinal": pa.array(ordinals, mask=rule >= 2),
                "promotion": pa.array(promotion.tolist(), pa.string()),
                "code_commit": self.commit_texts(launch),
                "code_dirty": pa.array(launch % 9 == 0),
                "config_sha256": self.configs(run),
                "environment_sha256": self.environments(run % 97),
                "lineage": self.lineage_texts(launch),
                "save_seconds": pa.array(np.round(0.2 + unit(NOISE[4], number) ** 4 * 3, 3)),
                "upload_seconds": pa.array(upload),
                "log_seq": self.log_seq(part.committed),
            }
        )

    def files(self, part: Part) -> Iterator[pa.Table]:
        shape = self.world.run_shape[self.world.of_run[part.launch]]
        counts = self.shape_files[shape]
        ends = np.cumsum(counts)
        begin = 0
        while begin < len(counts):
            past = max(begin + 1, int(np.searchsorted(ends, (ends[begin - 1] if begin else 0) + CHUNK)))
            here = Part(part.launch[begin:past], part.ordinal[begin:past], part.committed[begin:past])
            yield self._files(here, shape[begin:past], counts[begin:past])
            begin = past

    def _files(self, part: Part, shape: np.ndarray, counts: np.ndarray) -> pa.Table:
        world = self.world
        entry, template = spread(self.shape_start[shape], counts)
        launch, ordinal, committed = part.launch[entry], part.ordinal[entry], part.committed[entry]
        run, number = world.of_run[launch], world.of_base[launch] + ordinal
        kind, rank, packed = self.kind[template], self.rank[template], self.packed[template]
        inside = template - self.shape_start[shape][entry]
        own = np.where(kind == 2, (run + (1 << 42)) * KEYS, number * KEYS) + inside
        noise = np.where(kind == 1, (unit(NOISE[5], own) * 5000).astype(int), 0)
        size = np.where(kind == 0, world.run_bytes[run], 4096 + 37 * inside + noise)
        offset = self.offset[template] + np.where(kind == 1, (unit(NOISE[6], own) * 5000).astype(int), 0)
        return pa.table(
            self._place(Part(launch, ordinal, committed))
            | {
                "rank": pa.array(rank),
                "path": self.paths(self.path[template]),
                "size_bytes": pa.array(size),
                "sha256": hexes(FILE, own),
                "object_sha256": hexes(PACK, number * KEYS + rank, ~packed),
                "object_offset": pa.array(offset, mask=~packed | (self.offset[template] == 0)),
                "tensor_layout_sha256": self.layouts(self.architecture[run] * 2 + inside % 2, kind > 0),
                "object_key": pa.nulls(len(committed), pa.string()),
                "committed_at": times(committed),
                "log_seq": self.log_seq(committed),
            }
        )

    def metrics(self, part: Part) -> pa.Table:
        world = self.world
        names = ["eval_loss", "loss", "lr"]
        keep = np.concatenate([part.ordinal % 5 == 4, np.ones(2 * len(part.ordinal), bool)])
        name = np.repeat(np.arange(3), len(part.ordinal))[keep]
        launch, ordinal = np.tile(part.launch, 3)[keep], np.tile(part.ordinal, 3)[keep]
        committed = np.tile(part.committed, 3)[keep]
        order = np.lexsort((ordinal, launch, name, world.of_run[launch]))
        name, launch, ordinal, committed = name[order], launch[order], ordinal[order], committed[order]
        step = world.step(launch, ordinal)
        noise = unit(NOISE[7], (world.of_base[launch] + ordinal) * 4 + name)
        loss = (2 + 6 / (1 + step / 5000) + 0.1 * noise).astype(np.float32).astype(float)
        value = np.where(name == 2, 3e-4 * 0.99998 ** (step / 10), loss)
        return pa.table(
            self._place(Part(launch, ordinal, committed))
            | {
                "name": Texts(names)(name),
                "value": pa.array(value),
                "committed_at": times(committed),
                "log_seq": self.log_seq(committed),
            }
        ).select([c.name for c in schema.METRICS.columns if c.name != schema.MONTH])

    def events(self, part: Part, count: int, low: int, high: int) -> pa.Table:
        """Events recorded in a month: four of five about its own checkpoints, one about older ones."""
        world, random = self.world, self.world.random
        first, _ = world.span(low, high)
        total = np.cumsum(first)
        older = count // 5 if total[-1] else 0
        drawn = random.integers(0, max(1, total[-1]), older)
        launch_old = np.searchsorted(total, drawn, side="right")
        ordinal_old = drawn - (total - first)[launch_old] if older else drawn
        mine = np.sort(random.integers(0, len(part.launch), count - older))
        launch = np.concatenate([launch_old, part.launch[mine]])
        ordinal = np.concatenate([ordinal_old, part.ordinal[mine]])
        since = np.concatenate([np.full(older, low), part.committed[mine]])
        recorded = (since + (high - 1 - since) * random.random(count)).astype(np.int64)
        chosen = random.choice(len(KINDS), count, p=np.array(list(KINDS.values())) / sum(KINDS.values()))
        kinds = sorted(KINDS)
        kind = np.array([kinds.index(name) for name in KINDS])[chosen]
        order = np.lexsort((ordinal, launch, kind))
        kind, launch, ordinal, recorded = kind[order], launch[order], ordinal[order], recorded[order]
        return self._events(kinds, kind, Part(launch, ordinal, recorded), low)

    def _events(self, kinds: list[str], kind: np.ndarray, part: Part, low: int) -> pa.Table:
        world, launch, recorded, count = self.world, part.launch, part.committed, len(kind)
        number = world.of_base[launch] + part.ordinal
        identity = np.arange(count) + low
        chance = unit(NOISE[8], identity)
        is_kind = {name: kind == kinds.index(name) for name in kinds}
        placeless = np.isin(kind, [kinds.index(name) for name in PLACELESS])
        outcomes = ["ok", "failed", "findings", *CLASSES]
        outcome = np.where(is_kind["classed"], 3 + (chance * 4).astype(int), np.where(chance < 0.999, 0, 1))
        ends = is_kind["ending"] | is_kind["held"] | is_kind["thawed"]
        actors = Texts([*(f"user{i}" for i in range(60)), "maintain"])

        def of(*names: str) -> np.ndarray:
            return np.isin(kind, [kinds.index(name) for name in names])

        automatic = of("verified", "scrubbed", "ending", "ended", "signed", "classed")
        details = [
            "{}",
            '{"algorithm":"ecdsa-p256","key":"' + digest(ARTIFACT, 1) + '"}',
            '{"day":30,"dataset":"eval/v3","score":0.71}',
        ]
        world_run = world.of_run[launch]
        subject = np.where(
            is_kind["held"] | is_kind["released"], (chance * 200).astype(int), 200 + (chance * 800).astype(int)
        )
        place = self._place(part)
        if placeless.any():
            place["run"] = place["run"].dictionary_decode()
            place = {name: pc.if_else(pa.array(placeless), None, column) for name, column in place.items()}
        size = world.run_bytes[world_run] * self.shape_large[world.run_shape[world_run]]
        return pa.table(
            {
                "event_id": hexes(EVENT, identity, words=2),
                "kind": Texts(kinds)(kind),
                "recorded_at": times(recorded),
                "happened_at": times(recorded - (chance * 2 * MICROS).astype(np.int64)),
                "actor": actors(np.where(automatic, 60, (chance * 60).astype(int))),
                "node": Texts([f"gpu-{i}" for i in range(200)])((chance * 200).astype(int)),
            }
            | place
            | {
                "rank": pa.nulls(count, pa.int64()),
                "subject": Texts([f"case-2026-{i}" if i < 200 else f"s3://models/out-{i}" for i in range(1000)])(
                    subject, ~of(*WITH_SUBJECT)
                ),
                "digest": hexes(MANIFEST, number, ~of(*WITH_DIGEST)),
                "outcome": Texts(outcomes)(outcome),
                "reason": Texts(["audit 2026", "store away", "ring full", "case closed"])(
                    (chance * 4).astype(int), automatic
                ),
                "until_at": times(recorded + (1 + 89 * (chance * 1000 % 1)).astype(np.int64) * DAY, ~ends),
                "size_bytes": pa.array(size, mask=~of(*WITH_BYTES)),
                "details": Texts(details)(np.where(is_kind["signed"], 1, np.where(is_kind["evaluated"], 2, 0))),
                "log_seq": self.log_seq(recorded),
            }
        )

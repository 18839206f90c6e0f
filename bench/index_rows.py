"""Rows of the index of a made-up archive (`index_world`): one month, or one small table, at a time, in the order of the product."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from index_world import DAY, END, KEYS, MICROS, START, World, digest, digests, spread, unit

from ckpt_archive.index import schema

CHUNK = 1_000_000  # rows of `files` made at once
ARCHITECTURES = 300
EVERY = ("every", "daily", "milestone", "push")
CLASSES = ("recent", "hourly", "daily", "milestone")
KINDS = {
    "verified": 0.30, "scrubbed": 0.20, "ending": 0.12, "signed": 0.10, "ended": 0.10, "classed": 0.05, "restored": 0.04,
    "gap": 0.03, "drilled": 0.01, "promote": 0.01, "dropped": 0.01, "exported": 0.01, "digested": 0.004, "evaluated": 0.004,
    "thaw-requested": 0.003, "thawed": 0.003, "held": 0.002, "undropped": 0.001, "released": 0.001, "deployed": 0.001,
    "duplicate": 0.001, "source": 0.001, "lineage": 0.001, "output": 0.001, "imported": 0.001, "copied": 0.001, "incident": 0.0001,
    "finding": 0.0001,
}  # fmt: skip
ABOUT_BYTES = {"verified", "scrubbed", "restored", "exported", "thawed", "copied"}
NOT_A_PLACE = {"incident", "finding"}
# Domains of digests.
_MANIFEST, _FILE, _CONSTANT, _PACK, _LAYOUT, _CONFIG, _EVENT, _BATCH, _ARTIFACT = range(10, 19)
# Domains of chance.
_NOISE = range(30, 50)

Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class Part:
    """Checkpoints of a month: launch and ordinal of each, in the order of the table, and when it was committed."""

    launch: np.ndarray
    ordinal: np.ndarray
    committed: np.ndarray

    def only(self, mask: np.ndarray) -> "Part":
        return Part(self.launch[mask], self.ordinal[mask], self.committed[mask])


class Texts:
    """A column of few different texts: numbers into a list."""

    def __init__(self, values: list[str]) -> None:
        self.values = pa.array(values, pa.string())

    def __call__(self, numbers: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32), mask=mask), self.values)


def hexes(domain: int, numbers: np.ndarray, mask: np.ndarray | None = None, words: int = 4) -> pa.Array:
    """A column of digests; masked ones are NULL."""
    made = digests(domain, numbers if mask is None else numbers[~mask], words)
    kept = (
        np.full(len(numbers), words * 16, np.int32) if mask is None else np.where(mask, 0, words * 16).astype(np.int32)
    )
    offsets = np.zeros(len(numbers) + 1, np.int32)
    np.cumsum(kept, out=offsets[1:])
    valid = None if mask is None else pa.array(~mask).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(numbers), [valid, pa.py_buffer(offsets), pa.py_buffer(made)])


def times(micros: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
    return pa.array(micros.astype(np.int64), mask=mask).cast(pa.timestamp("us", "UTC"))


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
                    "owner": f"user{self.run_owner[i]}", "project": f"p{world.run_project[i]:02}",
                    "purpose": ("translation", "search", "forecast", "chat")[i % 4], "risk_class": ("minimal", "limited", "high")[i % 3],
                    "team": f"team-{world.run_project[i] % 7}",
                },
                separators=(",", ":"),
            )
            for i in range(len(names))
        ]  # fmt: skip
        self.label_texts = Texts(self.labels)
        self.architecture = runs * 7919 % ARCHITECTURES
        self.commits = [digest(20, i // 3, 3)[:40] for i in range(len(world.of_run))]
        self.lineage = [
            json.dumps(
                {
                    "code": {"commit": self.commits[i], "dirty": i % 9 == 0, "remote": "git@example.org:ml/train.git"},
                    "config": {"sha256": digest(_CONFIG, int(run))},
                    "environment": {"sha256": digest(_CONFIG, int(run) % 97 + (1 << 40))},
                },
                separators=(",", ":"),
            )
            for i, run in enumerate(world.of_run)
        ]
        self.lineage_texts, self.commit_texts = Texts(self.lineage), Texts(self.commits)
        self.configs = Texts([digest(_CONFIG, i) for i in range(len(names))])
        self.environments = Texts([digest(_CONFIG, i + (1 << 40)) for i in range(97)])
        self.layouts = Texts([digest(_LAYOUT, i) for i in range(ARCHITECTURES * 2)])
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
        upload = np.round(20 + 60 * unit(_NOISE[0], number) ** 3 + 8.0 * self.shape_ranks[shape] ** 0.5, 3)
        staged = (
            part.committed
            - (upload * MICROS).astype(np.int64)
            - (unit(_NOISE[1], number) * 5 * MICROS).astype(np.int64)
        )
        first = staged - np.where(
            self.shape_ranks[shape] > 1, (unit(_NOISE[2], number) * 3 * MICROS).astype(np.int64), 0
        )
        size = world.run_bytes[run] * self.shape_large[shape] + self.shape_small[shape] * 15_000
        size += (unit(_NOISE[3], number) * 5000).astype(int) * (self.shape_small[shape] > 0)
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
                "committed_at": times(part.committed), "first_staged_at": times(first), "staged_at": times(staged),
                "manifest_sha256": hexes(_MANIFEST, number),
                "launch_key": self.launch_keys(launch), "writers": pa.array(self.shape_ranks[shape]),
                "files": pa.array(self.shape_files[shape]), "size_bytes": pa.array(size),
                "objects": pa.array(self.shape_objects[shape]), "stored_bytes": pa.array(size),
                "project": self.projects(world.run_project[run]), "labels": self.label_texts(run),
                "retention_class": Texts(list(CLASSES))(np.where(rule == 2, 3, np.where(rule == 1, 2, ordinal % 3 // 2))),
                "completeness": Texts(["sealed", "assumed"])((run % 20 == 0).astype(int)),
                "promotion_rule": Texts(list(EVERY))(rule), "promotion_ordinal": pa.array(ordinals, mask=rule >= 2),
                "promotion": pa.array(promotion.tolist(), pa.string()),
                "code_commit": self.commit_texts(launch), "code_dirty": pa.array(launch % 9 == 0),
                "config_sha256": self.configs(run),
                "environment_sha256": self.environments(run % 97),
                "lineage": self.lineage_texts(launch),
                "save_seconds": pa.array(np.round(0.2 + unit(_NOISE[4], number) ** 4 * 3, 3)), "upload_seconds": pa.array(upload),
                "log_seq": self.log_seq(part.committed),
            }
        )  # fmt: skip

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
        noise = np.where(kind == 1, (unit(_NOISE[5], own) * 5000).astype(int), 0)
        size = np.where(kind == 0, world.run_bytes[run], 4096 + 37 * inside + noise)
        offset = self.offset[template] + np.where(kind == 1, (unit(_NOISE[6], own) * 5000).astype(int), 0)
        return pa.table(
            self._place(Part(launch, ordinal, committed))
            | {
                "rank": pa.array(rank), "path": self.paths(self.path[template]), "size_bytes": pa.array(size),
                "sha256": hexes(_FILE, own), "object_sha256": hexes(_PACK, number * KEYS + rank, ~packed),
                "object_offset": pa.array(offset, mask=~packed | (self.offset[template] == 0)),
                "tensor_layout_sha256": self.layouts(self.architecture[run] * 2 + inside % 2, kind > 0),
                "committed_at": times(committed), "log_seq": self.log_seq(committed),
            }
        )  # fmt: skip

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
        noise = unit(_NOISE[7], (world.of_base[launch] + ordinal) * 4 + name)
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
        first, here = world.span(low, high)
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
        chance = unit(_NOISE[8], identity)
        is_kind = {name: kind == kinds.index(name) for name in kinds}
        placeless = np.isin(kind, [kinds.index(name) for name in NOT_A_PLACE])
        outcomes = ["ok", "failed", "findings", *CLASSES]
        outcome = np.where(is_kind["classed"], 3 + (chance * 4).astype(int), np.where(chance < 0.999, 0, 1))
        ends = is_kind["ending"] | is_kind["held"] | is_kind["thawed"]
        actors = Texts([*(f"user{i}" for i in range(60)), "maintain"])
        automatic = np.isin(
            kind, [kinds.index(k) for k in ("verified", "scrubbed", "ending", "ended", "signed", "classed")]
        )
        details = [
            "{}",
            '{"algorithm":"ecdsa-p256","key":"' + digest(_ARTIFACT, 1) + '"}',
            '{"day":30,"dataset":"eval/v3","score":0.71}',
        ]
        world_run = world.of_run[launch]
        subject = np.where(
            is_kind["held"] | is_kind["released"], (chance * 200).astype(int), 200 + (chance * 800).astype(int)
        )
        place = self._place(part)
        if placeless.any():
            place = {name: pc.if_else(pa.array(placeless), None, column.dictionary_decode() if name == "run" else column) for name, column in place.items()}  # fmt: skip
        size = world.run_bytes[world_run] * self.shape_large[world.run_shape[world_run]]
        return pa.table(
            {
                "event_id": hexes(_EVENT, identity, words=2), "kind": Texts(kinds)(kind), "recorded_at": times(recorded),
                "happened_at": times(recorded - (chance * 2 * MICROS).astype(np.int64)),
                "actor": actors(np.where(automatic, 60, (chance * 60).astype(int))),
                "node": Texts([f"gpu-{i}" for i in range(200)])((chance * 200).astype(int)),
            }
            | place
            | {
                "rank": pa.nulls(count, pa.int64()),
                "subject": Texts([f"case-2026-{i}" if i < 200 else f"s3://models/out-{i}" for i in range(1000)])(
                    subject, ~np.isin(kind, [kinds.index(k) for k in ("held", "released", "exported", "output", "deployed", "copied", "source", "lineage", "incident", "finding")])
                ),
                "digest": hexes(_MANIFEST, number, ~np.isin(kind, [kinds.index(k) for k in ("verified", "scrubbed", "signed", "restored", "exported", "digested")])),
                "outcome": Texts(outcomes)(outcome),
                "reason": Texts(["audit 2026", "store away", "ring full", "case closed"])((chance * 4).astype(int), automatic),
                "until_at": times(recorded + (1 + 89 * (chance * 1000 % 1)).astype(np.int64) * DAY, ~ends),
                "size_bytes": pa.array(size, mask=~np.isin(kind, [kinds.index(k) for k in ABOUT_BYTES])),
                "details": Texts(details)(np.where(is_kind["signed"], 1, np.where(is_kind["evaluated"], 2, 0))),
                "log_seq": self.log_seq(recorded),
            }
        )  # fmt: skip

    def small(self) -> dict[str, pa.Table]:
        """The tables that are no larger than the number of runs, launches or batches."""
        known = {
            "runs": self._runs(), "launches": self._launches(), "run_sources": self._sources(), "tensor_layouts": self._layouts(),
            "signers": self._signers(), "sync_log": self._batches(),
        }  # fmt: skip
        edges = self._edges()
        return known | {"lineage": edges, "lineage_closure": self._closure(edges)}

    def _runs(self) -> pa.Table:
        world = self.world
        at = (world.run_start + 60 * MICROS).astype(np.int64)
        parsed = [json.loads(text) for text in self.labels]
        return pa.table(
            {
                "run": self.runs(np.arange(len(at))), "recorded_at": times(at), "project": self.projects(world.run_project),
                **{name: pa.array([label[name] for label in parsed]) for name in ("owner", "purpose", "risk_class")},
                "labels": self.label_texts(np.arange(len(at))), "log_seq": self.log_seq(at),
            }
        )  # fmt: skip

    def _launches(self) -> pa.Table:
        world = self.world
        at = (world.of_start + 40 * MICROS).astype(np.int64)
        launch, none = np.arange(len(at)), world.of_parent < 0
        return pa.table(
            {
                "run": self.runs(world.of_run), "attempt": pa.array(world.of_attempt), "recorded_at": times(at),
                "started_at": times(world.of_start.astype(np.int64)), "launch_key": self.launch_keys(launch),
                "writers": pa.array(self.shape_ranks[world.run_shape[world.of_run]]),
                "resume_run": self.runs(world.of_parent, none), "resume_attempt": pa.array(world.of_parent_attempt, mask=none),
                "resume_step": pa.array(world.of_parent_step, mask=none), "explicit": pa.array(world.of_explicit),
                "late": pa.array(np.zeros(len(at), bool)), "line_attempt": pa.array(world.of_line),
                "policy_sha256": Texts([digest(21, i) for i in range(5)])(world.of_run % 5),
                "project": self.projects(world.run_project[world.of_run]), "labels": self.label_texts(world.of_run),
                "log_seq": self.log_seq(at),
            }
        )  # fmt: skip

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
                "run": self.runs(world.of_run[launch]), "attempt": pa.array(world.of_attempt[launch]),
                "uri": Texts([f"s3://corpus/{i:03}" for i in range(400)])(which), "version": Texts(["1", "2", "3"])(which % 3),
                "digest": Texts([digest(22, i) for i in range(400)])(which), "licence": Texts(["CC-BY-4.0", "proprietary", "CC0-1.0"])(which % 3),
                "records": pa.array(which * 10_007), "from_step": pa.array(world.of_first[launch]), "recorded_at": times(at),
                "declared_by": pa.nulls(len(at), pa.string()), "details": Texts(["{}"])(which * 0), "log_seq": self.log_seq(at),
            }
        )  # fmt: skip

    def _layouts(self) -> pa.Table:
        rows = sorted((digest(_LAYOUT, i), i, j) for i in range(ARCHITECTURES * 2) for j in range(100 + i % 300))
        at = np.full(len(rows), START + DAY)
        return pa.table(
            {
                "layout_sha256": pa.array([row[0] for row in rows]), "name": pa.array([f"layers.{j // 9}.part{j % 9}.weight" for _, _, j in rows]),
                "dtype": pa.array(["bf16" if i % 3 else "f32" for _, i, _ in rows]),
                "shape": pa.array([f"[{1024 * (1 + i % 8)},{1024 * (1 + j % 4)}]" for _, i, j in rows]),
                "offset_bytes": pa.array([j << 22 for _, _, j in rows]), "size_bytes": pa.array([1 << 22] * len(rows)),
                "recorded_at": times(at), "log_seq": self.log_seq(at),
            }
        )  # fmt: skip

    def _signers(self) -> pa.Table:
        number = np.repeat(np.arange(60), 2)
        state = np.tile([0, 1], 60)
        keep = (state == 0) | (number % 4 == 0)
        number, state = number[keep], state[keep]
        at = START + DAY + number * 17 * DAY + state * 40 * DAY
        return pa.table(
            {
                "key_id": hexes(23, number), "state": Texts(["published", "revoked"])(state), "algorithm": Texts(["ecdsa-p256"])(state * 0),
                "owner": Texts([f"team-{i}" for i in range(7)])(number % 7), "valid_from": times(at), "valid_until": times(at + 700 * DAY),
                "public_key": Texts(["-----BEGIN PUBLIC KEY-----"])(state * 0), "reason": Texts(["rotated"])(state * 0, state == 0),
                "recorded_at": times(at), "log_seq": self.log_seq(at),
            }
        )  # fmt: skip

    def _batches(self) -> pa.Table:
        number = np.arange((END - START) // self.log_period + 1)
        at = START + (number + 1) * self.log_period
        entries = (30 * unit(_NOISE[9], number)).astype(int) + 1
        missing = (unit(_NOISE[10], number) < 0.01).astype(int)
        return pa.table(
            {
                "sealed_at": times(at), "sealed_by": Texts(["gpu-1", "gpu-2", "cron"])(number % 3), "watermark": times(at - 5 * MICROS),
                "swept_at": times(at - at % DAY), "first_entry": pa.array(np.cumsum(entries) - entries), "entries": pa.array(entries),
                "findings": pa.array(number * 0), "unresolved": pa.array(missing), "oldest_unresolved_at": times(at - 90 * MICROS, missing == 0),
                "unresolved_keys": Texts(["[]", '["log/pending/2026/03/01/12/20260301T120000-commit-9b1d.json"]'])(missing),
                "batch_sha256": hexes(_BATCH, number), "log_seq": pa.array(number + 1),
            }
        )  # fmt: skip

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
                        f"artifact:{digest(_ARTIFACT, i)}",
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

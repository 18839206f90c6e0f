"""A second opinion on every saved question: the answer in plain Python over the rows, by replaying what happened."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

Row = Mapping[str, Any]
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Asked:
    """The rows of all tables, and the question's parameters as Python values; a date is the beginning of that day."""

    rows: Mapping[str, list[Row]]
    given: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """A parameter."""
        return self.given[name]

    def events(self, *kinds: str) -> list[Row]:
        """Events of these kinds in the order in which they were recorded."""
        told = [row for row in self.rows["events"] if row["kind"] in kinds or not kinds]
        return sorted(told, key=lambda row: (row["recorded_at"], row["happened_at"], row["event_id"]))

    def wanted(self, row: Row, *names: str) -> bool:
        """Whether a row has the values of these parameters, where they say anything."""
        return all(self[name] in ("", row[name]) for name in names)

    def here(self, row: Row) -> bool:
        """Whether it is about the one checkpoint asked for."""
        return place(row) == (self["run"], self["attempt"], self["step"])

    @cached_property
    def lines(self) -> Mapping[tuple[str, int], str]:
        """The node of each launch's line."""
        return {
            (row["run"], row["attempt"]): f"line:{row['run']}/{row['line_attempt']}" for row in self.rows["launches"]
        }

    def ways(self, node: str) -> list[tuple[int, str, Row]]:
        """Ancestors of a node, nearest first, each with the edge that it is left by: walked edge by edge."""
        found, level, seen, depth = [], [node], {node}, 0
        while level:
            depth += 1
            following = []
            for child in level:
                for edge in self._edges.get(child, []):
                    if edge["parent"] not in seen:
                        seen.add(edge["parent"])
                        following.append(edge["parent"])
                        found.append((depth, edge["parent"], edge))
            level = following
        return found

    @cached_property
    def _edges(self) -> Mapping[str, list[Row]]:
        edges: dict[str, list[Row]] = defaultdict(list)
        for edge in sorted(self.rows["lineage"], key=lambda edge: str(edge["parent"])):
            edges[edge["child"]].append(edge)
        return edges

    def upto(self, node: str, attempt: int, last: int, step: int) -> int:
        """How far a launch of a line counts for whoever left the line at a later launch and step."""
        turns = [
            row["resume_step"]
            for row in self.rows["launches"]
            if self.lines[row["run"], row["attempt"]] == node and attempt < row["attempt"] <= last
        ]
        return min([step, *(int(turn) for turn in turns if turn is not None)])


def place(row: Row) -> Place:
    return row["run"], row["attempt"], row["step"]


def pick(row: Row, names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names.split())


def ordered(rows: Iterable[tuple[Any, ...]], *positions: int) -> list[tuple[Any, ...]]:
    """By these columns, NULL last; a negative number means downwards, counted from 1."""
    found = list(rows)
    for position in reversed(positions):
        column = abs(position) - 1
        found.sort(
            key=lambda row: ((row[column] is None) != (position < 0), row[column] if row[column] is not None else 0),
            reverse=position < 0,
        )
    return found


def ends(asked: Asked) -> dict[Place, Row]:
    """What was last said about the end of a checkpoint; nothing brings back what has ended."""
    last: dict[Place, Row] = {}
    for row in asked.events("ending", "ended", "dropped", "undropped"):
        if place(row) not in last or last[place(row)]["kind"] != "ended":
            last[place(row)] = row
    return last


def holds(asked: Asked) -> dict[tuple[Any, ...], Row]:
    """Holds that stand, by place and case."""
    standing: dict[tuple[Any, ...], Row] = {}
    for row in asked.events("held", "released"):
        if row["kind"] == "held":
            standing[*place(row), row["subject"]] = row
        else:
            standing.pop((*place(row), row["subject"]), None)
    return standing


def sources(asked: Asked) -> list[Row]:
    """Sources by launch: one that is said of a whole run counts for each of its launches, from the beginning."""
    return [
        {**row, "attempt": attempt, "from_step": row["from_step"] or 0, "said_step": row["from_step"]}
        for row in asked.rows["run_sources"]
        for run, attempt in asked.lines
        if run == row["run"] and row["attempt"] in (None, attempt)
    ]


def described(asked: Asked) -> dict[str, Row]:
    """What is said about each run today."""
    by_time = sorted(asked.rows["runs"], key=lambda row: (row["recorded_at"], row["log_seq"], row["labels"]))
    return {row["run"]: row for row in by_time}


def proved(asked: Asked) -> dict[Place, datetime]:
    """When a checkpoint was last found whole."""
    return {
        place(row): row["recorded_at"]
        for row in asked.events("verified", "scrubbed", "drilled")
        if row["outcome"] == "ok"
    }


def like(text: str, pattern: str) -> bool:
    return text.startswith(pattern.rstrip("%")) if pattern.endswith("%") else text == pattern


def checkpoint(asked: Asked) -> list[tuple[Any, ...]]:
    row = next((row for row in asked.rows["checkpoints"] if asked.here(row)), None)
    if row is None:
        return []
    launch = next(item for item in asked.rows["launches"] if pick(item, "run attempt") == pick(row, "run attempt"))
    key = f"manifests/{row['run']}/{10**8 - 1 - row['attempt']:08d}/{10**12 - 1 - row['step']:012d}.json"
    end = ends(asked).get(place(row))
    state = "kept" if end is None or end["kind"] == "undropped" else end["kind"]
    return [
        (
            *place(row),
            key,
            *pick(row, "manifest_sha256 committed_at staged_at writers files size_bytes retention_class completeness"),
            *pick(row, "promotion code_commit code_dirty config_sha256 environment_sha256 lineage labels"),
            *pick(launch, "launch_key started_at resume_run resume_attempt resume_step"),
            state,
            end and end["until_at"],
        )
    ]


def files(asked: Asked) -> list[tuple[Any, ...]]:
    found = []
    for row in filter(asked.here, asked.rows["files"]):
        digest = row["object_sha256"] or row["sha256"]
        key = f"data/{row['run']}/{row['attempt']:08d}/{row['step']:012d}/{row['rank']:06d}/{digest}"
        found.append(
            (
                *pick(row, "path rank size_bytes sha256"),
                key if row["size_bytes"] else None,
                row["object_offset"] or 0,
                row["tensor_layout_sha256"],
            )
        )
    return ordered(found, 1, 2)


def history(asked: Asked) -> list[tuple[Any, ...]]:
    names = "recorded_at kind actor node subject digest outcome reason until_at size_bytes details event_id"
    of_run: tuple[Any, ...] = (asked["run"], None, None)
    found = [pick(row, names) for row in asked.events() if asked.here(row) or place(row) == of_run]
    for row in filter(asked.here, asked.rows["checkpoints"]):
        said = pick(row, "launch_key manifest_sha256 completeness promotion")
        found.append((row["committed_at"], "committed", "", "", *said, None, row["size_bytes"], row["lineage"], ""))
    return ordered(found, 1, 12)


def cadence(asked: Asked) -> list[tuple[Any, ...]]:
    lines: dict[tuple[str, int], dict[int, tuple[int, datetime]]] = defaultdict(dict)
    line_of = {pick(row, "run attempt"): row["line_attempt"] for row in asked.rows["launches"]}
    for row in asked.rows["checkpoints"]:
        if asked.wanted(row, "run") and row["committed_at"] >= asked["since"] and row["promotion_rule"] == "every":
            saved = lines[row["run"], line_of[pick(row, "run attempt")]]
            step, at = saved.get(row["promotion_ordinal"], (row["step"], row["staged_at"]))
            saved[row["promotion_ordinal"]] = (min(step, row["step"]), min(at, row["staged_at"]))
    given_up = {(row["run"], line_of[pick(row, "run attempt")], row["step"]) for row in asked.events("gap")}
    found = []
    for (run, line), saved in lines.items():
        known = sorted(saved)
        for before, after in itertools.pairwise(known):
            if after - before > 1:
                (from_step, from_at), (to_step, to_at) = saved[before], saved[after]
                told = sum((run, line, step) in given_up for step in range(from_step + 1, to_step))
                found.append((run, line, from_step, to_step, after - before - 1, told, from_at, to_at))
    return ordered(found, 1, 2, 3)


def given_up(asked: Asked) -> list[tuple[Any, ...]]:
    names = "run attempt step reason actor node happened_at recorded_at"
    told = [row for row in asked.events("gap") if asked.wanted(row, "run") and row["recorded_at"] >= asked["since"]]
    return ordered([pick(row, names) for row in told], 1, 2, 3)


def data_source(asked: Asked) -> list[tuple[Any, ...]]:
    said = described(asked)
    earliest: dict[tuple[Any, ...], int] = {}
    for row in sources(asked):
        if like(row["uri"], asked["source"]):
            key = pick(row, "uri version digest licence run attempt declared_by")
            earliest[key] = min(earliest.get(key, row["from_step"]), row["from_step"])
    found = []
    for (*where, run, attempt, declared_by), from_step in earliest.items():
        trained = [
            row
            for row in asked.rows["checkpoints"]
            if pick(row, "run attempt") == (run, attempt) and asked["since"] <= row["committed_at"] < asked["before"]
        ]
        if any(row["step"] >= from_step for row in trained):
            first = max(from_step, min(row["step"] for row in trained))
            last, known_at = max(row["step"] for row in trained), max(row["committed_at"] for row in trained)
            about = pick(said[run], "project owner purpose")
            found.append((*where, run, attempt, first, last, known_at, declared_by, *about))
    return ordered(found, 1, 2, 3, 5, 6, 7, 4, 10)


def digest(asked: Asked) -> list[tuple[Any, ...]]:
    def rows(table: str, column: str) -> list[Row]:
        return [row for row in asked.rows[table] if row[column] == asked["digest"]]

    found = [
        *(
            ("manifest", *place(row), None, "", row["size_bytes"], row["committed_at"])
            for row in rows("checkpoints", "manifest_sha256")
        ),
        *(("file", *place(row), *pick(row, "rank path size_bytes committed_at")) for row in rows("files", "sha256")),
        *(
            ("source", *pick(row, "run attempt from_step"), None, row["uri"], None, row["recorded_at"])
            for row in rows("run_sources", "digest")
        ),
        *(pick(row, "kind run attempt step rank subject size_bytes recorded_at") for row in rows("events", "digest")),
    ]
    return ordered(found, 1, 2, 3, 4, 5, 6, 8)


def ancestors(asked: Asked) -> list[tuple[Any, ...]]:
    began = {pick(row, "run attempt"): row["started_at"] for row in asked.rows["launches"]}
    known = {pick(row, "descendant ancestor"): row["recorded_at"] for row in asked.rows["lineage_closure"]}
    node = asked.lines[asked["run"], asked["attempt"]]
    found = []
    for depth, parent, edge in asked.ways(node):
        left = pick(edge, "parent_run parent_attempt parent_step")
        found.append((depth, parent, *left, began.get(left[:2]), known[node, parent]))
    return ordered(found, 1, 2, 3, 4, 5)


def descendants(asked: Asked) -> list[tuple[Any, ...]]:
    node = asked.lines[asked["run"], asked["attempt"]]
    known = {pick(row, "descendant ancestor"): row["recorded_at"] for row in asked.rows["lineage_closure"]}
    found = []
    for descendant in {edge["child"] for edge in asked.rows["lineage"]}:
        for depth, parent, edge in asked.ways(descendant):
            if parent != node or edge["parent_run"] != asked["run"]:
                continue
            attempt, step = edge["parent_attempt"], edge["parent_step"]
            if attempt >= asked["attempt"] and asked.upto(node, asked["attempt"], attempt, step) >= asked["step"]:
                found.append((depth, descendant, attempt, step, known[descendant, node]))
    return ordered(found, 1, 2, 3, 4)


def training_data(asked: Asked) -> list[tuple[Any, ...]]:
    node = asked.lines[asked["run"], asked["attempt"]]
    reached: list[tuple[int, str, int, int]] = [(0, asked["run"], asked["attempt"], asked["step"])]
    found: list[tuple[Any, ...]] = []
    for depth, parent, edge in asked.ways(node):
        if parent.startswith("line:"):
            reached.append((depth, *pick(edge, "parent_run parent_attempt parent_step")))
        if parent.startswith("source:"):
            name = parent.removeprefix("source:")
            found.append((name, None, None, None, None, depth, None, None, None, None, "lineage"))
    for depth, run, last, step in reached:
        line = asked.lines[run, last]
        for row in sources(asked):
            if row["run"] != run or asked.lines[run, row["attempt"]] != line or row["attempt"] > last:
                continue
            upto = asked.upto(line, row["attempt"], last, step)
            if row["from_step"] <= upto:
                said = pick(row, "uri version digest licence records")
                found.append((*said, depth, run, row["attempt"], row["said_step"], upto, row["declared_by"]))
    return ordered(found, 6, 7, 8, 1, 2, 3, 9, 11)


def source_descendants(asked: Asked) -> list[tuple[Any, ...]]:
    nearest: dict[tuple[Any, ...], tuple[int, int | None]] = {}

    def note(descendant: str, depth: int, uri: str, version: str | None, run: str | None, attempt: int | None) -> None:
        key = (descendant, uri, version, run)
        before = nearest.get(key, (depth, attempt))
        through = min((known for known in (before[1], attempt) if known is not None), default=None)
        nearest[key] = (min(before[0], depth), through)

    children = sorted({edge["child"] for edge in asked.rows["lineage"]})
    ways = {child: asked.ways(child) for child in children}
    for row in sources(asked):
        if like(row["uri"], asked["source"]):
            node = asked.lines[row["run"], row["attempt"]]
            said = pick(row, "uri version run attempt")
            note(node, 0, *said)
            for child in children:
                for depth, parent, edge in ways[child]:
                    if parent == node and edge["parent_attempt"] >= row["attempt"]:
                        upto = asked.upto(node, row["attempt"], edge["parent_attempt"], edge["parent_step"])
                        if upto >= row["from_step"]:
                            note(child, depth, *said)
    for child in children:
        for depth, parent, _ in ways[child]:
            if parent.startswith("source:") and like(parent.removeprefix("source:"), asked["source"]):
                note(child, depth, parent.removeprefix("source:"), None, None, None)
    found = [(node, depth, uri, version, run, at) for (node, uri, version, run), (depth, at) in nearest.items()]
    return ordered(found, 2, 1, 3, 4, 5)


def unverified(asked: Asked) -> list[tuple[Any, ...]]:
    last, over, said = proved(asked), ends(asked), described(asked)
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in asked.rows["checkpoints"]:
        known = last.get(place(row))
        is_old = row["committed_at"] < asked["since"] and (known is None or known < asked["since"])
        if is_old and over.get(place(row), {}).get("kind") != "ended":
            runs[row["run"]].append(row)
    found = [
        (run, said[run]["project"], len(rows), sum(row["size_bytes"] for row in rows), oldest)
        for run, rows in runs.items()
        for oldest in [min(row["committed_at"] for row in rows)]
        if asked.wanted(said[run], "project")
    ]
    return ordered(found, -3, 1)


def unverified_checkpoints(asked: Asked) -> list[tuple[Any, ...]]:
    last, over = proved(asked), ends(asked)
    found = []
    for row in asked.rows["checkpoints"]:
        known = last.get(place(row))
        if row["run"] != asked["run"] or row["committed_at"] >= asked["since"] or (known and known >= asked["since"]):
            continue
        if over.get(place(row), {}).get("kind") != "ended":
            found.append((*pick(row, "run attempt step retention_class size_bytes committed_at"), known))
    return ordered(found, 2, 3)


def unsigned(asked: Asked) -> list[tuple[Any, ...]]:
    signed, over = {place(row) for row in asked.events("signed")}, ends(asked)
    found = []
    for row in asked.rows["checkpoints"]:
        is_kept = over.get(place(row), {}).get("kind") != "ended"
        is_asked = asked.wanted(row, "run") and asked["class"] in ("", row["retention_class"])
        if place(row) not in signed and is_kept and is_asked and row["committed_at"] >= asked["since"]:
            found.append(pick(row, "run attempt step project retention_class committed_at manifest_sha256"))
    return ordered(found, 1, 2, 3)


def bad_signatures(asked: Asked) -> list[tuple[Any, ...]]:
    found = []
    for row in asked.events("signed"):
        if not asked.wanted(row, "run") or row["recorded_at"] < asked["since"]:
            continue
        told = sorted(
            (item for item in asked.rows["signers"] if item["key_id"] == row["subject"]),
            key=lambda item: item["recorded_at"],
        )
        published = [item for item in told if item["state"] == "published"]
        revoked = told[-1] if told and told[-1]["state"] == "revoked" else None
        if not told:
            problem = "key was never published"
        elif revoked:
            problem = "key was revoked " + ("before" if row["recorded_at"] >= revoked["recorded_at"] else "later")
        elif row["recorded_at"] < published[-1]["valid_from"]:
            problem = "key was not valid yet"
        elif row["recorded_at"] >= published[-1]["valid_until"]:
            problem = "key was not valid any more"
        else:
            continue
        owner = published[-1]["owner"] if published else None
        since = revoked and revoked["recorded_at"]
        found.append((*place(row), problem, row["subject"], owner, row["recorded_at"], since, row["actor"]))
    return ordered(found, 1, 2, 3, 7)


def expiring(asked: Asked) -> list[tuple[Any, ...]]:
    held, said = {key[:3] for key in holds(asked)}, described(asked)
    found = []
    for where, end in ends(asked).items():
        about = said[where[0]]
        if (
            end["kind"] in ("ending", "dropped")
            and end["until_at"] < asked["before"]
            and asked.wanted(about, "project")
        ):
            is_held = where in held or (where[0], None, None) in held
            why = pick(end, "kind outcome reason")
            found.append((end["until_at"], *where, *pick(about, "project owner"), *why, is_held))
    return ordered(found, 1, 2, 3, 4)


def held(asked: Asked) -> list[tuple[Any, ...]]:
    found = [
        pick(row, "run attempt step subject recorded_at actor reason until_at")
        for row in holds(asked).values()
        if asked["case"] in ("", row["subject"])
    ]
    return ordered(found, 4, 1, 2, 3)


def storage(asked: Asked) -> list[tuple[Any, ...]]:
    over, groups = ends(asked), defaultdict(list)
    wanted = {}
    for row in asked.events("dropped", "undropped"):
        wanted[place(row)] = row["kind"] == "undropped"
    classes = {place(row): row["outcome"] for row in asked.events("classed")}
    for row in asked.rows["checkpoints"]:
        if asked.wanted(row, "project"):
            key = (row["project"] or "", classes.get(place(row), row["retention_class"]), row["month"])
            kept = over.get(place(row), {}).get("kind") != "ended" and wanted.get(place(row), True)
            groups[key].append((row["stored_bytes"], kept))
    found = []
    for key, sizes in groups.items():
        kept_sizes = [size for size, is_kept in sizes if is_kept]
        total, left = sum(size for size, _ in sizes), sum(kept_sizes)
        found.append((*key, len(sizes), total, len(kept_sizes), left, left / 1e12 * asked["price"]))
    return ordered(found, 1, 2, 3)


def promotions(asked: Asked) -> list[tuple[Any, ...]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    said = described(asked)
    for kind in ("promote", "gap"):
        for run, _, _ in {place(row) for row in asked.events(kind)}:
            counts[run][kind] += 1
    state: dict[Place, str] = {}
    for row in asked.events("dropped", "undropped", "ended"):
        if state.get(place(row)) != "ended":
            state[place(row)] = row["kind"]
    for (run, _, _), kind in state.items():
        counts[run][kind] += 1
    found = []
    for run in sorted({row["run"] for row in asked.rows["checkpoints"]}):
        rows = [row for row in asked.rows["checkpoints"] if row["run"] == run]
        if asked.wanted(said[run], "project"):
            told = [counts[run][kind] for kind in ("promote", "gap", "dropped", "ended")]
            times = [row["committed_at"] for row in rows]
            found.append((run, said[run]["project"], len(rows), *told, min(times), max(times)))
    return found


def efficiency(asked: Asked) -> list[tuple[Any, ...]]:
    found, said = [], described(asked)
    for run in sorted({row["run"] for row in asked.rows["checkpoints"]}):
        rows = [row for row in asked.rows["checkpoints"] if row["run"] == run and asked.wanted(row, "run")]
        launches = sorted((row for row in asked.rows["launches"] if row["run"] == run), key=lambda row: row["attempt"])
        if not rows or not asked.wanted(said[run], "project"):
            continue
        lost = 0
        for before, after in itertools.pairwise(launches):
            steps = [row["step"] for row in rows if row["attempt"] == before["attempt"]]
            if before["line_attempt"] == after["line_attempt"] and steps:
                lost += max(0, max(steps) - (after["resume_step"] if after["resume_run"] == run else 0))
        lags = [(row["committed_at"] - row["staged_at"]).total_seconds() for row in rows]
        saves, uploads = ([row[name] for row in rows] for name in ("save_seconds", "upload_seconds"))
        restarts = sum(row["attempt"] > row["line_attempt"] for row in launches)
        rollbacks = sum(row["explicit"] and row["attempt"] > 0 for row in launches)
        counts = (len(rows), len(launches), restarts, rollbacks, lost)
        means = (sum(uploads) / len(rows), sum(lags) / len(rows), max(lags))
        found.append((run, said[run]["project"], *counts, sum(saves), max(saves), *means))
    return found


def loss_curve(asked: Asked) -> list[tuple[Any, ...]]:
    turns = [row for row in asked.rows["launches"] if row["run"] == asked["run"]]
    found = []
    for row in asked.rows["metrics"]:
        if (row["run"], row["name"]) == (asked["run"], asked["metric"]):
            later = [turn for turn in turns if turn["attempt"] > row["attempt"]]
            starts = [turn["resume_step"] if turn["resume_run"] == row["run"] else -1 for turn in later]
            found.append((*pick(row, "step attempt value committed_at"), all(row["step"] <= start for start in starts)))
    return ordered(found, 1, 2)


def compare(asked: Asked) -> list[tuple[Any, ...]]:
    def tree(*names: str) -> dict[str, tuple[int, str]]:
        where = tuple(asked[name] for name in names)
        return {row["path"]: pick(row, "size_bytes sha256") for row in asked.rows["files"] if place(row) == where}

    def twin(one: tuple[int, str], other: Mapping[str, tuple[int, str]]) -> str | None:
        return min((path for path, found in other.items() if found == one and one[0]), default=None)

    first, second = tree("run", "attempt", "step"), tree("other_run", "other_attempt", "other_step")
    found: list[tuple[Any, ...]] = []
    for path in sorted(first.keys() | second.keys()):
        a, b = first.get(path), second.get(path)
        if a is None and b is not None:
            found.append((path, "added", None, b[0], None, b[1], twin(b, first)))
        elif b is None and a is not None:
            found.append((path, "removed", a[0], None, a[1], None, twin(a, second)))
        elif a is not None and b is not None and a != b:
            found.append((path, "changed", a[0], b[0], a[1], b[1], None))
    return found


def restores(asked: Asked) -> list[tuple[Any, ...]]:
    names = "recorded_at actor node run attempt step outcome subject size_bytes reason event_id"
    told = [
        pick(row, names)
        for row in asked.events("restored")
        if asked.wanted(row, "run", "actor") and row["recorded_at"] >= asked["since"]
    ]
    return ordered(told, -1, 11, 4, 5, 6)


def unseen(asked: Asked) -> list[tuple[Any, ...]]:
    batches = asked.rows["sync_log"]
    newest = max(batches, key=lambda row: row["log_seq"])
    names = "log_seq watermark sealed_at swept_at unresolved oldest_unresolved_at unresolved_keys"
    sums = [sum(row[name] for row in batches) for name in ("entries", "findings")]
    return [(*pick(newest, names), len(batches), *sums)]


def findings(asked: Asked) -> list[tuple[Any, ...]]:
    names = "recorded_at kind run attempt step rank subject digest outcome reason actor event_id"
    checks = asked.events("verified", "scrubbed", "drilled", "restored")
    told = [*asked.events("finding"), *(row for row in checks if row["outcome"] != "ok")]
    return ordered([pick(row, names) for row in told if row["recorded_at"] >= asked["since"]], -1, 12, 3, 4, 5)


def duplicates(asked: Asked) -> list[tuple[Any, ...]]:
    copies: dict[str, list[Row]] = defaultdict(list)
    for row in asked.rows["files"]:
        if row["run"] == asked["run"] and row["size_bytes"]:
            copies[row["sha256"]].append(row)
    found = []
    for sha256, rows in copies.items():
        size, paths, steps = rows[0]["size_bytes"], {row["path"] for row in rows}, [row["step"] for row in rows]
        names = (min(paths), max(paths), len(paths))
        if len(rows) > 1:
            found.append((sha256, size, len(rows), *names, min(steps), max(steps), (len(rows) - 1) * size))
    return ordered(found, -9, 1)


def chain(asked: Asked) -> list[tuple[Any, ...]]:
    there = {place(row) for row in asked.rows["checkpoints"]}
    over = {place(row): row["recorded_at"] for row in reversed(asked.events("ended"))}
    found = []
    for row in asked.rows["launches"]:
        target = pick(row, "resume_run resume_attempt resume_step")
        if target[0] is None or not asked.wanted(row, "run"):
            continue
        if target not in there:
            found.append((*pick(row, "run attempt started_at"), *target, "never archived", over.get(target)))
        elif target in over:
            found.append((*pick(row, "run attempt started_at"), *target, "data was removed", over[target]))
    return ordered(found, 1, 2)


def undocumented(asked: Asked) -> list[tuple[Any, ...]]:
    found = []
    for run, row in described(asked).items():
        sources = [item for item in asked.rows["run_sources"] if item["run"] == run]
        bare = {item["uri"] for item in sources if not item["licence"]}
        lacks = not (row["owner"] and row["purpose"] and row["risk_class"] and sources) or bare
        if lacks and asked.wanted(row, "project"):
            about = pick(row, "run project owner purpose risk_class")
            found.append((*about, len({item["uri"] for item in sources}), len(bare)))
    return ordered(found, 1)


def dirty_code(asked: Asked) -> list[tuple[Any, ...]]:
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in asked.rows["checkpoints"]:
        if (
            (row["code_dirty"] or not row["code_commit"])
            and row["committed_at"] >= asked["since"]
            and asked.wanted(row, "project")
        ):
            groups[pick(row, "run attempt project code_commit code_dirty")].append(row["step"])
    return ordered([(*key, len(steps), min(steps), max(steps)) for key, steps in groups.items()], 1, 2, 3, 4, 5)


def assumed(asked: Asked) -> list[tuple[Any, ...]]:
    names = "run attempt step project retention_class writers committed_at manifest_sha256"
    rows = [
        row for row in asked.rows["checkpoints"] if row["completeness"] == "assumed" and asked.wanted(row, "project")
    ]
    return ordered([pick(row, names) for row in rows if row["committed_at"] >= asked["since"]], 1, 2, 3)


def declared_later(asked: Asked) -> list[tuple[Any, ...]]:
    sources, edges = (
        [row for row in asked.rows[name] if row["declared_by"] and row["recorded_at"] >= asked["since"]]
        for name in ("run_sources", "lineage")
    )
    found = [
        (*pick(row, "recorded_at declared_by"), "source", *pick(row, "run uri attempt from_step digest"))
        for row in sources
    ]
    names = "recorded_at declared_by relation child parent parent_attempt parent_step"
    return ordered([*found, *((*pick(row, names), None) for row in edges)], 1, 3, 4, 5, 6, 7)


def outputs(asked: Asked) -> list[tuple[Any, ...]]:
    found = []
    for row in asked.events("output"):
        if asked.wanted(row, "run"):
            used: dict[tuple[Any, ...], int] = {}
            for source in asked.rows["run_sources"]:
                if source["digest"] == row["digest"] or source["uri"] == row["subject"]:
                    key = pick(source, "run attempt")
                    used[key] = min(used.get(key, source["from_step"]), source["from_step"])
            said = (row["recorded_at"], *place(row), *pick(row, "subject digest reason actor"))
            found += [(*said, *key, step) for key, step in used.items()] or [(*said, None, None, None)]
    return ordered(found, 1, 2, 3, 4, 9, 10, 11)


def deployments(asked: Asked) -> list[tuple[Any, ...]]:
    last = {
        row["subject"]: pick(row, "subject outcome run attempt step recorded_at actor reason")
        for row in asked.events("deployed")
    }
    return ordered(last.values(), 1)


def incidents(asked: Asked) -> list[tuple[Any, ...]]:
    found = []
    for row in asked.events("incident"):
        if row["recorded_at"] < asked["since"]:
            continue
        used = [
            pick(item, "subject outcome recorded_at attempt step")
            for item in asked.events("deployed")
            if item["run"] == row["run"]
            and row["attempt"] in (None, item["attempt"])
            and row["step"] in (None, item["step"])
            and item["recorded_at"] <= row["recorded_at"]
        ]
        said = pick(row, "recorded_at subject outcome reason run attempt step")
        found += [(*said, *item) for item in used] or [(*said, None, None, None, None, None)]
    return ordered(found, 1, 10)


def thaws(asked: Asked) -> list[tuple[Any, ...]]:
    waiting: dict[Place, Row] = {}
    for row in asked.events("thaw-requested", "thawed"):
        waiting.pop(place(row), None)
        if row["kind"] == "thaw-requested" and asked.wanted(row, "run"):
            waiting[place(row)] = row
    names = "recorded_at actor run attempt step subject until_at"
    return ordered([pick(row, names) for row in waiting.values()], 1, 3, 4, 5)


def keys(asked: Asked) -> list[tuple[Any, ...]]:
    told: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in sorted(asked.rows["signers"], key=lambda row: row["recorded_at"]):
        if row["recorded_at"] < asked["before"]:
            told[row["key_id"]] = {**told[row["key_id"]], row["state"]: row}
            if row["state"] == "published":
                told[row["key_id"]].pop("revoked", None)
    found = []
    for key, states in told.items():
        known, revoked = states.get("published"), states.get("revoked")
        status = "valid"
        if known is None or revoked:
            status = "revoked"
        elif known["valid_from"] >= asked["before"]:
            status = "not valid yet"
        elif known["valid_until"] < asked["before"]:
            status = "not valid any more"
        shown = known or dict.fromkeys(("owner", "algorithm", "valid_from", "valid_until", "recorded_at"))
        about = (key, shown["owner"], shown["algorithm"], status, *pick(shown, "valid_from valid_until recorded_at"))
        found.append((*about, revoked and revoked["recorded_at"], revoked and revoked["reason"]))
    return ordered(found, 2, 1)


def activity(asked: Asked) -> list[tuple[Any, ...]]:
    days: dict[tuple[date, str], list[int | None]] = defaultdict(list)
    for row in asked.rows["checkpoints"]:
        if row["committed_at"] >= asked["since"]:
            days[row["committed_at"].date(), "committed"].append(row["size_bytes"])
    for row in asked.events():
        if row["recorded_at"] >= asked["since"]:
            days[row["recorded_at"].date(), row["kind"]].append(row["size_bytes"])
    found = []
    for key, sizes in days.items():
        known = [size for size in sizes if size is not None]
        found.append((*key, len(sizes), sum(known) if known else None))
    return ordered(found, 1, 2)


ANSWERS: Mapping[str, Callable[[Asked], list[tuple[Any, ...]]]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        checkpoint,
        files,
        history,
        cadence,
        given_up,
        data_source,
        digest,
        ancestors,
        descendants,
        training_data,
        source_descendants,
        unverified,
        unverified_checkpoints,
        unsigned,
        bad_signatures,
        expiring,
        held,
        storage,
        promotions,
        efficiency,
        loss_curve,
        compare,
        restores,
        unseen,
        findings,
        duplicates,
        chain,
        undocumented,
        dirty_code,
        assumed,
        declared_later,
        outputs,
        deployments,
        incidents,
        thaws,
        keys,
        activity,
    )
}


def day(text: str, today: date) -> datetime:
    """The beginning of a day in UTC; `today-30` counts from today."""
    if text.startswith("today"):
        found = today + timedelta(days=int(text.removeprefix("today") or 0))
    else:
        found = date.fromisoformat(text)
    return datetime(found.year, found.month, found.day, tzinfo=UTC)

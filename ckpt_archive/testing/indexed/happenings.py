"""What happened to made-up checkpoints afterwards: one event at least of every kind, signers, later lineage, its closure."""

from collections import deque
from datetime import datetime, timedelta

from ckpt_archive.commit.event import KINDS
from ckpt_archive.testing.indexed.corners import add_corners
from ckpt_archive.testing.indexed.rows import TODAY, Row, Rows, Value, known_at, sha256

KEYS = ("release", "rotated", "stolen", "future", "expired")
"""Owners of keys: `rotated` and `stolen` are revoked, `future` counts from next year, `expired` until last year."""


def happen(rows: Rows) -> None:
    """Add events, signers and lineage to runs that are there."""
    checkpoints = list(rows.tables["checkpoints"])
    sample = rows.dice.sample(checkpoints, len(checkpoints))
    _signers(rows)
    _checks(rows, sample)
    _signatures(rows, sample)
    _endings(rows, sample)
    _holds(rows, sample)
    _uses(rows, sample)
    _others(rows, sample)
    _declared_later(rows, sample)
    add_corners(rows)
    closure(rows)
    for rank in range(3):
        for number in range(4):
            rows.add(
                "tensor_layouts",
                layout_sha256=sha256("layout", rank),
                name=f"layers.{number}.weight",
                dtype="bf16",
                shape="[512,512]",
                offset_bytes=number * 524_288,
                size_bytes=524_288,
                recorded_at=checkpoints[0]["committed_at"],
            )


def event(rows: Rows, kind: str, places: list[Row], after: datetime | None = None, **values: Value) -> None:
    """One event about checkpoints, or about none of them; a row for each."""
    known = [place["committed_at"] for place in places]
    first = after or max((at for at in known if isinstance(at, datetime)), default=TODAY - timedelta(days=90))
    recorded_at = rows.later(first, most_days=25)
    identity = rows.hex_id()
    shared: Row = {
        "event_id": identity,
        "kind": kind,
        "recorded_at": recorded_at,
        "happened_at": recorded_at - timedelta(seconds=2),
        "actor": rows.dice.choice(["jo", "sam", "auditor"]),
        "node": "desk-1",
        "subject": "",
        "outcome": "",
        "reason": "",
        "details": "{}",
        **values,
    }
    for place in places:
        rows.add("events", **(shared | {name: place[name] for name in ("run", "attempt", "step")}))
    if not places:
        rows.add("events", **shared)


def _signers(rows: Rows) -> None:
    day = TODAY - timedelta(days=120)
    for owner in KEYS:
        published = day + timedelta(hours=rows.dice.randint(1, 99))
        until = TODAY - timedelta(days=60) if owner == "expired" else TODAY + timedelta(days=600)
        shared: Row = {
            "key_id": sha256(owner),
            "algorithm": "ecdsa-p256",
            "owner": owner,
            "public_key": "-----BEGIN PUBLIC KEY-----",
        }
        rows.add(
            "signers",
            **shared,
            state="published",
            valid_from=TODAY + timedelta(days=300) if owner == "future" else day,
            valid_until=until,
            reason="",
            recorded_at=published,
        )
        event(rows, "key-published", [], published - timedelta(days=26), subject=sha256(owner), until_at=until)
        if owner in ("rotated", "stolen"):
            revoked = TODAY - timedelta(days=40)
            rows.add("signers", **shared, state="revoked", reason=owner, recorded_at=revoked)
            event(rows, "key-revoked", [], revoked - timedelta(days=26), subject=sha256(owner), reason=owner)


def _checks(rows: Rows, sample: list[Row]) -> None:
    half = len(sample) // 2
    for start in range(0, half, 10):
        event(rows, "verified", sample[start : start + 10], outcome="ok", details='{"files":3}')
    for place in sample[half : half + 20]:
        event(rows, "scrubbed", [place], outcome="ok")
    event(rows, "verified", [sample[half + 30]], outcome="findings", reason="2 files differ")
    event(rows, "drilled", [sample[3]], outcome="ok")
    key = f"manifests/{sample[4]['run']}/99999999/999999999899.json"
    event(rows, "finding", [], subject=key, digest=sha256("rotten"), reason="its crc32c does not fit")


def _signatures(rows: Rows, sample: list[Row]) -> None:
    for number, place in enumerate(sample[: len(sample) // 3]):
        wrong = number == 7
        digest = sha256("another manifest") if wrong else str(place["manifest_sha256"])
        signer = KEYS[number % len(KEYS)] if number % 11 else "unknown"
        event(rows, "signed", [place], subject=sha256(signer), digest=digest, outcome="ok")


def _endings(rows: Rows, sample: list[Row]) -> None:
    old = sorted(
        (row for row in sample if row["retention_class"] == "recent"), key=lambda row: str(row["committed_at"])
    )
    gone = TODAY - timedelta(days=20)
    for place in old[: len(old) // 3]:
        if isinstance(place["committed_at"], datetime) and place["committed_at"] < gone:
            event(rows, "ending", [place], until_at=gone, outcome="recent")
            event(rows, "ended", [place], gone, outcome="recent", size_bytes=place["size_bytes"])
    for number, place in enumerate(old[len(old) // 3 : len(old) // 3 + 12]):
        event(rows, "ending", [place], until_at=TODAY + timedelta(days=5 * number), outcome="recent")
    for number, place in enumerate(old[-16:]):
        event(rows, "dropped", [place], until_at=TODAY + timedelta(days=number), reason="a failed experiment")
        if number % 3 == 0:
            event(rows, "undropped", [place], TODAY - timedelta(hours=2), reason="it was needed after all")
    event(rows, "classed", old[-20:-17], outcome="milestone", reason="paper")


def _holds(rows: Rows, sample: list[Row]) -> None:
    for number in range(6):
        case = f"case-2026-{number}"
        places = sample[number * 5 : number * 5 + 5]
        event(rows, "held", places, subject=case, reason="litigation")
        if number % 2:
            event(rows, "released", places[:3], TODAY - timedelta(days=3), subject=case, reason="settled")
    event(rows, "held", sample[:1], subject="case-second", reason="a second case")
    event(rows, "held", [], run=sample[40]["run"], subject="case-run", reason="the whole run")


def _uses(rows: Rows, sample: list[Row]) -> None:
    for number, place in enumerate(sample[:15]):
        event(
            rows,
            "restored",
            [place],
            outcome="ok" if number % 5 else "failed",
            subject=f"/mnt/restore-{number}",
            size_bytes=place["size_bytes"],
        )
    for number, place in enumerate(sample[20:30]):
        event(rows, "thaw-requested", [place], subject="standard", until_at=TODAY - timedelta(days=1))
        if number % 2:
            event(rows, "thawed", [place], TODAY - timedelta(hours=3), until_at=TODAY + timedelta(days=7))
    for number, place in enumerate(sample[50:54]):
        event(rows, "deployed", [place], subject=f"service-{number}", outcome="production")
        event(rows, "evaluated", [place], subject="hellaswag", outcome="0.71", digest=sha256("test set"))
    event(
        rows,
        "incident",
        sample[50:51],
        TODAY - timedelta(days=9),
        subject="INC-7",
        outcome="serious",
        reason="wrong advice",
    )
    event(rows, "incident", [], run=sample[51]["run"], subject="INC-8", outcome="minor", reason="slow")


def _others(rows: Rows, sample: list[Row]) -> None:
    for kind in ("digested", "duplicate", "imported", "copied", "exported"):
        event(rows, kind, sample[60:61], subject="elsewhere", digest=sha256(kind), outcome="ok")
    event(rows, "reticulated", sample[61:62], reason="a kind of another release")
    told = {str(row["kind"]) for row in rows.tables["events"]}
    missing = set(KINDS) - told - {"source", "lineage", "output"}
    if missing:
        raise ValueError(f"nothing of these kinds happens: {missing}")


def _declared_later(rows: Rows, sample: list[Row]) -> None:
    model, student, merged = sample[70], sample[71], sample[72]
    corpus = sha256("synthetic corpus")
    event(rows, "output", [model], subject="s3://synthetic/corpus", digest=corpus, reason="generated text")
    event(rows, "source", [], run=student["run"], subject="s3://synthetic/corpus", digest=corpus)
    told = rows.tables["events"][-1]
    rows.add(
        "run_sources",
        run=student["run"],
        attempt=student["attempt"],
        uri="s3://synthetic/corpus",
        version="1",
        digest=corpus,
        from_step=student["step"],
        recorded_at=told["recorded_at"],
        declared_by=told["actor"],
        details="{}",
    )
    event(rows, "lineage", [merged], subject="merge", reason="merged by hand")
    told = rows.tables["events"][-1]
    edges: tuple[tuple[str, str, str, Row], ...] = (
        (_line(rows, merged), _line(rows, student), "merge", student),
        (f"artifact:{corpus}", _line(rows, model), "output", model),
        (_line(rows, student), f"artifact:{corpus}", "dataset", {}),
        (_line(rows, student), "source:s3://synthetic/corpus", "dataset", {}),
    )
    for child, parent, relation, place in edges:
        rows.add(
            "lineage",
            child=child,
            parent=parent,
            relation=relation,
            parent_run=place.get("run"),
            parent_attempt=place.get("attempt"),
            parent_step=place.get("step"),
            declared_by=told["actor"],
            recorded_at=told["recorded_at"],
            details="{}",
        )


def _line(rows: Rows, place: Row) -> str:
    for row in rows.tables["launches"]:
        if (row["run"], row["attempt"]) == (place["run"], place["attempt"]):
            return f"line:{row['run']}/{row['line_attempt']}"
    raise ValueError(f"no launch of {place['run']}")


def closure(rows: Rows) -> None:
    """Rows of `lineage_closure` for all edges: the shortest ways, breadth first."""
    parents: dict[str, list[Row]] = {}
    for edge in rows.tables["lineage"]:
        parents.setdefault(str(edge["child"]), []).append(edge)
    for descendant in parents:
        seen = {descendant}
        waiting: deque[tuple[str, int, list[datetime]]] = deque([(descendant, 0, [])])
        while waiting:
            node, depth, moments = waiting.popleft()
            for edge in sorted(parents.get(node, []), key=lambda edge: str(edge["parent"])):
                ancestor = str(edge["parent"])
                if ancestor in seen:
                    continue
                seen.add(ancestor)
                way = [*moments, known_at("lineage", edge)]
                rows.add(
                    "lineage_closure",
                    descendant=descendant,
                    ancestor=ancestor,
                    depth=depth + 1,
                    ancestor_run=edge["parent_run"],
                    ancestor_attempt=edge["parent_attempt"],
                    ancestor_step=edge["parent_step"],
                    recorded_at=max(way),
                )
                waiting.append((ancestor, depth + 1, way))

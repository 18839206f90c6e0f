"""What chance seldom makes: ties within a second, midnights, things said twice, launches that go back and are forked."""

from datetime import UTC, datetime, timedelta

from ckpt_archive.testing.indexed.rows import TODAY, Row, Rows, Value, sha256

MIDNIGHT = datetime(2026, 2, 10, tzinfo=UTC)
"""A day to ask about: things happen at its very beginning."""

RUN = "corner-run"
CHILD = "corner-child"


def add_corners(rows: Rows) -> None:
    """Two runs in which all of that happens."""
    template = rows.tables["checkpoints"][0]
    _launches(rows)
    places = _checkpoints(rows, template)
    _sources(rows)
    _ends(rows, places)
    _checks(rows, places)
    _uses(rows, places)
    _keys(rows, places)


def _launches(rows: Rows) -> None:
    """Attempts 1 and 2 each go back to an earlier step; somebody leaves each of the three."""
    for run, attempt, resume in (
        (RUN, 0, None),
        (RUN, 1, (RUN, 0, 300)),
        (RUN, 2, (RUN, 1, 500)),
        (CHILD, 0, (RUN, 2, 600)),
    ):
        at = MIDNIGHT - timedelta(days=9 - attempt if run == RUN else 1)
        resume_run, resume_attempt, resume_step = resume or (None, None, None)
        rows.add(
            "launches",
            run=run,
            attempt=attempt,
            recorded_at=at,
            started_at=at,
            launch_key=f"slurm:{run}:{attempt}",
            writers=1,
            resume_run=resume_run,
            resume_attempt=resume_attempt,
            resume_step=resume_step,
            explicit=run == CHILD,
            late=False,
            line_attempt=0,
            project="vision",
            labels="{}",
        )
    for labels, project, owner in (("{}", "speech", "first"), ('{"a":1}', "vision", "second")):
        # Of two within a second the one with the larger text counts.
        at = MIDNIGHT - timedelta(days=9)
        about: Row = {"project": project, "owner": owner, "purpose": "", "risk_class": "low", "labels": labels}
        rows.add("runs", run=RUN, recorded_at=at, **about)
    rows.add(
        "runs", run=CHILD, recorded_at=MIDNIGHT - timedelta(days=1), labels="{}", owner="", purpose="p", risk_class=None
    )
    for child, left_attempt, left_step in ((CHILD, 2, 600), ("corner-sibling", 0, 500), ("corner-cousin", 1, 600)):
        rows.add(
            "lineage",
            child=f"line:{child}/0",
            parent=f"line:{RUN}/0",
            relation="fork",
            parent_run=RUN,
            parent_attempt=left_attempt,
            parent_step=left_step,
            recorded_at=MIDNIGHT - timedelta(days=1),
            details="{}",
        )


def _checkpoints(rows: Rows, template: Row) -> list[Row]:
    made = []
    for run, attempt, steps in (
        (RUN, 0, (100, 200, 300, 400, 500)),
        (RUN, 1, (400, 500, 600)),
        (RUN, 2, (600, 700)),
        (CHILD, 0, (700,)),
    ):
        for step in steps:
            at = MIDNIGHT - timedelta(days=9 - attempt, hours=-step / 100)
            if (attempt, step) == (2, 700):
                at = MIDNIGHT
            place: Row = {"run": run, "attempt": attempt, "step": step}
            own: Row = {
                "committed_at": at,
                "staged_at": at - timedelta(seconds=30),
                "manifest_sha256": sha256("manifest", *place.values()),
                "promotion_ordinal": step // 100,
                "completeness": "assumed" if step == 700 else "sealed",
                "code_dirty": step == 700,
                "project": "vision",
                "retention_class": "recent",
            }
            made.append(rows.add("checkpoints", **(template | place | own)))
            rows.add("metrics", name="loss", value=100.0 / step, committed_at=at, **place)
            for path, size, digest in _files(step):
                rows.add("files", rank=0, path=path, size_bytes=size, sha256=digest, committed_at=at, **place)
    return made


def _files(step: int) -> list[tuple[str, int, str]]:
    """The same bytes under two names, and under others again; empty files come and go."""
    names = ("a.bin", "b.bin") if step % 200 else ("c.bin", "d.bin")
    empty = "empty-1" if step % 200 else "empty-2"
    return [*((name, 500, sha256("same")) for name in names), (empty, 0, sha256())]


def _sources(rows: Rows) -> None:
    said: list[tuple[str, int | None, str, int | None]] = [
        (RUN, 0, "s3://corpus/kept", 300),
        (RUN, 0, "s3://corpus/left-behind", 400),
        (RUN, 1, "s3://corpus/kept-later", 500),
        (RUN, 1, "s3://corpus/twice", 600),
        (RUN, 1, "s3://corpus/twice", 400),
        (RUN, None, "s3://corpus/declared", None),
        (CHILD, 0, "s3://corner/output", 650),
        (CHILD, 0, "s3://corner/output", 700),
    ]
    for run, attempt, uri, step in said:
        rows.add(
            "run_sources",
            run=run,
            attempt=attempt,
            uri=uri,
            version="1",
            digest=sha256(uri),
            licence="",
            from_step=step,
            recorded_at=MIDNIGHT,
            declared_by="jo" if attempt is None else None,
            details="{}",
        )


def _told(rows: Rows, kind: str, place: Row, at: datetime, number: int = 0, **values: Value) -> None:
    shared: Row = {"actor": "sam", "node": "desk-2", "subject": "", "outcome": "", "reason": "", "details": "{}"}
    where: Row = {name: place[name] for name in ("run", "attempt", "step")}
    identity = f"{number:x}" + sha256(kind, at, number, *where.values())[1:32]
    rows.add(
        "events",
        **(shared | where | {"event_id": identity, "kind": kind, "recorded_at": at, "happened_at": at} | values),
    )


def _ends(rows: Rows, places: list[Row]) -> None:
    """Pairs within one second, of which the larger id counts; what has ended stays so; what is said twice."""
    at = MIDNIGHT + timedelta(days=3)
    soon = TODAY + timedelta(days=3)
    for number, (first, second) in enumerate(
        (("dropped", "undropped"), ("undropped", "dropped"), ("ending", "dropped"))
    ):
        _told(rows, first, places[number], at, 1, until_at=soon, reason=f"{first} first")
        _told(rows, second, places[number], at, 2, until_at=soon + timedelta(days=60), reason=f"{second} second")
    _told(rows, "ended", places[3], at, size_bytes=1)
    _told(rows, "ended", places[3], at + timedelta(hours=1), size_bytes=1)
    _told(rows, "dropped", places[3], at + timedelta(hours=2), until_at=soon)
    _told(rows, "ending", places[4], at, until_at=MIDNIGHT + timedelta(days=1))
    for number, name in enumerate(("held", "released")):
        _told(rows, name, places[0], at, 1 + number, subject="tie-released")
        _told(rows, name, places[0], at, 2 - number, subject="tie-held")
        _told(rows, ("thaw-requested", "thawed")[number], places[0], at, 1 + number)
        _told(rows, ("thaw-requested", "thawed")[number], places[1], at, 2 - number)
        _told(rows, "classed", places[5], at, 1 + number, outcome=f"class-{number}")
        _told(rows, "classed", places[6], at + timedelta(hours=number), outcome=f"class-{1 - number}")
    _told(rows, "held", places[0], at + timedelta(hours=1), subject="tie-also")
    # Of the same run, dropped and wanted again, and given another class besides.
    _told(rows, "dropped", places[7], at, until_at=soon)
    _told(rows, "classed", places[7], at, outcome="class-0")
    _told(rows, "undropped", places[7], at + timedelta(days=1))
    _told(rows, "dropped", places[5], at, until_at=soon)


def _checks(rows: Rows, places: list[Row]) -> None:
    """At midnight, and without success."""
    later = MIDNIGHT + timedelta(days=12)
    for number, kind in enumerate(("verified", "scrubbed", "drilled")):
        _told(rows, kind, places[number], MIDNIGHT, outcome="ok")
        _told(rows, kind, places[5 + number], later, outcome="findings")
        _told(rows, kind, places[8], later + timedelta(hours=number), outcome="ok")
    _told(rows, "verified", places[4], MIDNIGHT - timedelta(days=3), outcome="ok")
    _told(rows, "verified", places[4], MIDNIGHT - timedelta(days=2), outcome="ok")
    _told(rows, "restored", places[0], MIDNIGHT, outcome="failed")
    _told(rows, "gap", {"run": RUN, "attempt": 2, "step": 800}, MIDNIGHT, reason="a full disk")
    _told(rows, "finding", {"run": None, "attempt": None, "step": None}, MIDNIGHT, subject="manifests/x")


def _uses(rows: Rows, places: list[Row]) -> None:
    at = MIDNIGHT
    for number, place in enumerate(places[:2]):
        _told(rows, "deployed", place, at, 1 + number, subject="replaced within a second")
        _told(rows, "deployed", place, at + timedelta(days=number), subject="replaced", outcome="production")
    for place in places[:3]:
        # One event that puts several checkpoints into one system.
        row = {name: place[name] for name in ("run", "attempt", "step")}
        shared: Row = {"event_id": sha256("ensemble")[:32], "kind": "deployed", "recorded_at": at, "happened_at": at}
        rows.add(
            "events", subject="ensemble", outcome="test", reason="", actor="jo", node="", details="{}", **(shared | row)
        )
    _told(rows, "incident", {"run": RUN, "attempt": None, "step": None}, at, subject="INC-run", outcome="serious")
    _told(rows, "incident", places[8], at + timedelta(days=2), subject="INC-never-deployed", outcome="minor")
    _told(rows, "output", places[0], at, subject="s3://corner/output", digest=sha256("s3://corner/output"))
    _told(rows, "output", places[1], at, subject="s3://corner/unused", digest=sha256("unused"))
    _told(rows, "held", {"run": CHILD, "attempt": None, "step": None}, at, subject="case-child")
    _told(rows, "ending", places[-1], at, until_at=TODAY + timedelta(days=1), outcome="recent")


def _keys(rows: Rows, places: list[Row]) -> None:
    """Published again with other dates; revoked without ever having been published; signatures at the very edge."""
    day = timedelta(days=1)
    told = (
        ("renewed", "published", MIDNIGHT - 9 * day, MIDNIGHT - 9 * day, MIDNIGHT - 4 * day),
        ("renewed", "published", MIDNIGHT - 5 * day, MIDNIGHT - 9 * day, MIDNIGHT + 9 * day),
        ("trusted again", "published", MIDNIGHT - 9 * day, MIDNIGHT - 9 * day, MIDNIGHT + 9 * day),
        ("trusted again", "revoked", MIDNIGHT - 6 * day, None, None),
        ("trusted again", "published", MIDNIGHT - 5 * day, MIDNIGHT, MIDNIGHT + 9 * day),
        ("never published", "revoked", MIDNIGHT, None, None),
    )
    for number, (name, state, at, since, until) in enumerate(told):
        owner = f"{name} {number}" if state == "published" else None
        rows.add(
            "signers",
            key_id=sha256(name),
            state=state,
            algorithm="ecdsa-p256",
            owner=owner,
            valid_from=since,
            valid_until=until,
            reason="" if state == "published" else "lost",
            recorded_at=at,
        )
    for number, (name, at) in enumerate(
        (
            ("renewed", MIDNIGHT + 9 * day),
            ("renewed", MIDNIGHT - 3 * day),
            ("trusted again", MIDNIGHT),
            ("trusted again", MIDNIGHT - timedelta(seconds=1)),
            ("never published", MIDNIGHT),
        )
    ):
        place = places[number + 4]
        _told(rows, "signed", place, at, subject=sha256(name), digest=place["manifest_sha256"])

"""`ckpt-archive usage`."""

import importlib.util
from collections.abc import Iterator

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, size_column, spare, text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.money import price_book, prices_option, usd_column
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import NotFoundError
from ckpt_archive.index.query.answer import Answer
from ckpt_archive.place import Place
from ckpt_archive.retention.money.quotas import PROJECT, RUN, quota_of
from ckpt_archive.retention.money.usage import BY, Usage, Written, fates_of, read_written, summarize
from ckpt_archive.retention.policy.in_force import policy_in_force
from ckpt_archive.retention.policy.values import Quota
from ckpt_archive.strictjson import Json

_COUNTED = (
    spare(number_column("checkpoints")),
    size_column("written_bytes"),
    number_column("there"),
    size_column("kept_bytes"),
    size_column("ending_bytes"),
    size_column("ended_bytes"),
    spare(size_column("held_bytes")),
    usd_column("usd_a_month"),
    size_column("quota_bytes"),
)
_SQL = """
SELECT run, attempt, step, committed_at, project, retention_class, size_bytes, objects
FROM checkpoints
"""


@verb(
    "usage",
    example="ckpt-archive usage --by project\nckpt-archive usage --by age --prices aws --json",
    exits=(1, 3, 4, 6),
)
@click.option("--by", type=click.Choice(BY), default="run", show_default=True, help="Tell apart by this.")
@prices_option
@click.option(
    "--from",
    "source",
    type=click.Choice(["auto", "manifests", "index"]),
    default="auto",
    show_default=True,
    help="Where sizes come from; auto: the index if there is one and `pip install 'ckpt-archive[query]'` was done.",
)
def command(frame: Frame, /, *, by: str, prices: str, source: str) -> int | None:
    """Show who stores how much, and what it costs.

    Bytes that were ever written, those that are kept, those whose end is announced, and those that have ended; and what
    those that are there cost a month. Held ones are counted in held_bytes too, and quotas are those of the policy in force.
    A project is the run's label `project`; the tag and the age tell in which storage class a checkpoint lies.

    From manifests it costs a listing for every 1,000 checkpoints, one for every 1,000 statements about their ends, and a
    read of each manifest (a million: about 0.40 USD on AWS, and minutes). From the index the reads fall away, and what it
    has not seen yet is not counted.
    """
    book = price_book(prices)
    archive = Archive.open(frame.archive_url)
    connection = archive.connection
    problems: list[str] = []
    answer = _indexed(archive, source)
    written = (
        read_written(compose.system_machine(), connection, problems=problems) if answer is None else _written(answer)
    )
    quotas = _quotas(connection) if by in (RUN, PROJECT) else ()
    lines = summarize(written, fates_of(connection), by, book)
    rows = [_row(by, line, quota_of(quotas, by, line.name)) for line in lines]
    frame.screen.rows([text_column(by), *_COUNTED], rows, nothing=f"{archive.url} holds no checkpoints yet.")
    where = "the index" if answer is not None else "manifests"
    for note in (f"Counted from {where}.", *(answer.notes if answer is not None else ()), *book.said, *problems):
        frame.screen.note(note)
    return FINDINGS if problems else None


def _indexed(archive: Archive, source: str) -> Answer | None:
    """The checkpoints that the index knows; None to take the manifests."""
    if source == "manifests" or (source == "auto" and importlib.util.find_spec("duckdb") is None):
        return None
    try:
        return archive.query(_SQL)
    except NotFoundError:
        # There is no index yet; whoever wanted nothing else must know.
        if source == "index":
            raise
        return None


def _written(answer: Answer) -> Iterator[Written]:
    for row in answer:
        yield Written(
            place=Place(row["run"], row["attempt"], row["step"]),
            project=row["project"] or "",
            retention_class=row["retention_class"] or "",
            size_bytes=row["size_bytes"] or 0,
            objects=row["objects"] or 1,
            committed_at=row["committed_at"],
        )


def _quotas(connection: Connection) -> tuple[Quota, ...]:
    """Those of the policy in force."""
    policy = policy_in_force(connection.store, connection.archive_id)
    return () if policy is None else policy.quotas


def _row(by: str, line: Usage, quota: Quota | None) -> dict[str, Json]:
    return {
        by: line.name,
        "checkpoints": line.checkpoints,
        "written_bytes": line.written_bytes,
        "there": line.there,
        "kept_bytes": line.kept_bytes,
        "ending_bytes": line.ending_bytes,
        "ended_bytes": line.ended_bytes,
        "held_bytes": line.held_bytes,
        "usd_a_month": line.usd_a_month,
        "quota_bytes": None if quota is None else quota.max_bytes,
    }

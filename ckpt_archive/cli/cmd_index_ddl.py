"""`ckpt-archive index ddl`."""

import click

from ckpt_archive.cli.parameters import archive_url
from ckpt_archive.cli.verb import Frame, verb

_ENGINES = ("duckdb", "athena", "trino", "spark")


@verb("ddl", example="ckpt-archive index ddl --engine athena --database audit", exits=())
@click.option(
    "--engine",
    type=click.Choice(_ENGINES),
    default=_ENGINES[0],
    show_default=True,
    help="Which engine shall know them.",
)
@click.option("--database", metavar="NAME", help="The database, or schema, that the tables are to be in.")
def command(frame: Frame, /, engine: str, database: str | None) -> None:
    """Print what makes the tables known to an engine.

    A text to paste there, which also shows all tables and columns. Nothing is asked of the store.
    """
    from ckpt_archive.index.ddl import ddl  # noqa: PLC0415  (help needs none of it)

    text = ddl(engine, archive_url(frame.archive_url), database)
    frame.screen.result(text.rstrip("\n"), {"engine": engine, "sql": text})

"""`ckpt-archive index ddl`."""

import click

from ckpt_archive.cli.parameters import archive_url
from ckpt_archive.cli.verb import Frame, verb

_ENGINES = ("duckdb", "athena", "trino", "spark")


@verb("ddl", example="ckpt-archive index ddl --engine athena --database audit", exits=())
@click.option("--engine", type=click.Choice(_ENGINES), default=_ENGINES[0], show_default=True, help="For which engine.")
@click.option("--database", metavar="NAME", help="The database, or schema, that the tables are to be in.")
def command(frame: Frame, /, engine: str, database: str | None) -> None:
    """Print what makes the tables known to an engine.

    A text to paste there. Nothing is asked of the store.
    """
    url = archive_url(frame.archive_url)

"""``python -m ckpt_archive.testing.fuzz malformed --count 1000000`` and ``… flips``, ``log-flips``, ``index-flips``."""

import sys

import click

from ckpt_archive.testing.fuzz import flips, index_flips, log_flips, malformed
from ckpt_archive.testing.fuzz.everything import all_kinds, work_folder


@click.group()
def main() -> None:
    """Search for bad bytes and bad input that break a promise."""


@main.command(name="malformed")
@click.option("--count", default=10_000, show_default=True, help="How many inputs.")
@click.option("--start", default=0, show_default=True, help="The number of the first one.")
@click.option("--kind", help="Only kinds whose name contains this.")
def malformed_command(count: int, start: int, kind: str | None) -> None:
    """Malformed records, names, listings, settings and command lines."""
    with all_kinds() as kinds:
        chosen = [item for item in kinds if kind is None or kind in item.name]
        result = malformed.run(chosen, count, start, click.echo)
    click.echo(malformed.report(result))
    sys.exit(bool(result.findings))


@main.command(name="flips")
@click.option("--count", default=2_000, show_default=True, help="How many bits.")
@click.option("--start", default=0, show_default=True, help="The number of the first one.")
def flips_command(count: int, start: int) -> None:
    """Single bits of everything that is stored."""
    with work_folder() as folder:
        result = flips.run(folder, count, start, click.echo)
    click.echo(flips.report(result))
    sys.exit(bool(result.findings))


@main.command(name="log-flips")
@click.option("--count", default=2_000, show_default=True, help="How many bits.")
def log_flips_command(count: int) -> None:
    """Single bits of what the log is made from and of the log: sealed, projected, compared."""
    result = log_flips.run(count, click.echo)
    click.echo(log_flips.report(result))
    sys.exit(bool(result.findings))


@main.command(name="index-flips")
@click.option("--count", default=1_000, show_default=True, help="How many bits.")
def index_flips_command(count: int) -> None:
    """Single bits of the files of an index: asked, checked, rebuilt."""
    with work_folder() as folder:
        result = index_flips.run(folder, count, click.echo)
    click.echo(index_flips.report(result))
    sys.exit(bool(result.findings))


if __name__ == "__main__":
    main()

"""The command: one race, and what it came to."""

import gc
import shutil
import sys
import tempfile
from pathlib import Path

import boto3
import click

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import DevServer
from ckpt_archive.testing.sync_race.race import Race


@click.command()
@click.option("--minutes", default=1.0, show_default=True, help="How long.")
@click.option("--seed", default=0, show_default=True, help="Decides who is struck, and when.")
@click.option(
    "--store", type=click.Choice(["s3", "file"]), default="s3", show_default=True, help="Where the archive is."
)
@click.option("--strike-every", default=1.0, show_default=True, help="Seconds between two strikes, on average.")
@click.option("--margin", default=60.0, show_default=True, help="Seconds that a file must be old to be vacuumed.")
@click.option("--folder", type=click.Path(path_type=Path), help="For everything; a temporary one by default.")
@click.option("--report", type=click.Path(path_type=Path), help="Where the figures go, as JSON.")
def main(
    minutes: float, seed: int, store: str, strike_every: float, margin: float, folder: Path | None, report: Path | None
) -> None:
    """Race writers, syncs, compactions, vacuums and readers, killed at random, and see that nothing is lost or twice."""
    root = Path(tempfile.mkdtemp(prefix="sync-race-", dir=folder))
    server: DevServer | None = None
    try:
        if store == "s3":
            server = DevServer(str(root / "server"))
            url, environment = f"{server.url}/race", server.environment()
        else:
            url, environment = f"file://{root}/archive", {}
        boto3.session.Session().client(
            "s3", region_name="us-east-1"
        ).close()  # what children would load, each for itself
        gc.freeze()
        race = Race(url, environment, root, seed, margin, SystemClock())
        figures = race.run(minutes * 60, strike_every)
    finally:
        if server is not None:
            server.kill()
    click.echo(figures.text())
    if report is not None:
        report.write_bytes(figures.encode())
    if figures.wrong:
        click.echo(f"what is left of it: {root}")
        sys.exit(1)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()

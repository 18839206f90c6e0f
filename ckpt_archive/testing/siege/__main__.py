"""The command: besieges sites one after another until enough has died, and tells what it came to."""

import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import boto3
import click

from ckpt_archive.cli.main import VERBS
from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.testing.siege.calm import judge
from ckpt_archive.testing.siege.figures import Figures
from ckpt_archive.testing.siege.processes import Nursery, strays
from ckpt_archive.testing.siege.servers import Clustered, Servers, Single
from ckpt_archive.testing.siege.site import Site
from ckpt_archive.testing.siege.strikes import Striker

_SITES_PER_SERVER = 8  # then it starts anew, and what it stored is gone


@click.command()
@click.option("--kills", default=100, show_default=True, help="How many processes to kill.")
@click.option(
    "--kills-per-site", default=25, show_default=True, help="After how many a site is left in peace and judged."
)
@click.option("--cluster", is_flag=True, help="Besiege a cluster of 3 masters, 3 volume servers, filer and gateway.")
@click.option("--seed", default=0, show_default=True, help="Decides who is struck, and when.")
@click.option("--folder", type=click.Path(path_type=Path), help="For everything; a temporary one by default.")
@click.option("--report", type=click.Path(path_type=Path), help="Where the figures go, as JSON.")
def main(kills: int, kills_per_site: int, cluster: bool, seed: int, folder: Path | None, report: Path | None) -> None:
    """Kill real processes against a real SeaweedFS, and see that nothing that was acknowledged is lost."""
    root = Path(tempfile.mkdtemp(prefix="siege-", dir=folder))
    clock: Clock = SystemClock()
    figures = Figures()
    _load_everything()
    nursery = Nursery(clock)
    began = clock.monotonic()
    servers: Servers | None = None
    try:
        while figures.killed < kills:
            if figures.sites % _SITES_PER_SERVER == 0:
                if servers is not None:
                    servers.close()
                kind = Clustered if cluster else Single
                servers = kind(str(root / f"servers-{figures.sites}"), clock)
            assert servers is not None
            name = f"{seed}-{'cluster' if cluster else 'single'}-{figures.sites}"
            site = Site(name, root / name, servers, nursery, clock, figures)
            Striker(site).besiege(min(kills_per_site, kills - figures.killed))
            judge(site)
            figures.sites += 1
            figures.seconds = clock.monotonic() - began
            sys.stderr.write(
                f"{figures.seconds:6.0f} s  {name}: {figures.killed} killed, {figures.counts['acknowledged']} acknowledged, "
                f"{len(figures.lost)} lost, {len(figures.wrong)} wrong, {len(figures.findings)} findings\n"
            )
            if report is not None:
                report.write_text(figures.encode())
    finally:
        nursery.kill_all()
        for pid in strays("--until-idle"):
            os.kill(pid, signal.SIGKILL)
        if servers is not None:
            servers.close()
    click.echo(figures.text())
    if figures.is_good:
        shutil.rmtree(root)
    else:
        click.echo(f"what is left of the sites with findings: {root}")
    sys.exit(not figures.is_good)


def _load_everything() -> None:
    """What children would load, each for itself."""
    for verb in VERBS:
        if verb != "demo":
            importlib.import_module(f"ckpt_archive.cli.cmd_{verb.replace('-', '_')}")
    boto3.session.Session().client("s3", region_name="us-east-1").close()
    gc.freeze()


if __name__ == "__main__":
    main()

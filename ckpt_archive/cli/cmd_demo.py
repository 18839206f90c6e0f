"""`ckpt-archive demo`."""

import os
import tempfile
from contextlib import nullcontext

import click
from rich.console import Console

from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.demo.story import Story
from ckpt_archive.demo.telling import Teller


@verb("demo", example="ckpt-archive demo --folder /tmp/demo", exits=(1, 3))
@click.option(
    "--folder", metavar="DIR", help="Keep everything there: must not exist yet; else a folder that is removed."
)
def command(frame: Frame, /, folder: str | None) -> int:
    """See the whole story on this machine: train, kill, resume, verify.

    A small network trains in a real process, the agent uploads to a real S3 server on the loopback interface; both are
    killed, and everything that is claimed is checked. Takes about half a minute and needs no network.
    """
    teller = Teller(Console(quiet=frame.as_json, highlight=False))
    if folder is not None:
        os.makedirs(folder)
    with tempfile.TemporaryDirectory(prefix="ckpt-archive-demo-") if folder is None else nullcontext(folder) as place:
        Story(teller, os.path.abspath(place), kept=folder is not None).tell()
    checks = [{"claim": claim, "holds": holds} for claim, holds in teller.checks]
    if frame.as_json:
        frame.screen.document(checks)
    return FINDINGS if teller.failures else 0

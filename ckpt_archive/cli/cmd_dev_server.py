"""`ckpt-archive dev-server`."""

import os

import click

from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop
from ckpt_archive.devserver import DEFAULT_BUCKET, DevServer
from ckpt_archive.errors import UnavailableError


@verb("dev-server", example="ckpt-archive dev-server --folder /tmp/s3 --port 8333", exits=(3, 5))
@click.option(
    "--folder", default="./dev-server", show_default=True, metavar="DIR", help="Holds its data, keys and log."
)
@click.option("--bucket", default=DEFAULT_BUCKET, show_default=True, metavar="NAME", help="Exists when it is ready.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, metavar="N", help="Of the S3 endpoint; else a free one."
)
def command(frame: Frame, /, folder: str, bucket: str, port: int) -> None:
    """Run a real S3 server on this machine, for trying things.

    SeaweedFS, on the loopback interface only, until Ctrl-C. Prints the lines that make a shell use it. Not for production.
    """
    with Stop() as stop, DevServer(os.path.abspath(folder), bucket=bucket, port=port) as server:
        frame.screen.result(server.export_lines().rstrip("\n"), server.environment())
        frame.screen.note(f"Ready at {server.endpoint_url}; paste the lines above into another shell. Ctrl-C ends it.")
        while not stop.requested.wait(1.0):
            if not server.is_running:
                raise UnavailableError(
                    f"the dev server ended by itself: {server.last_words()}", hint=f"Its log is {server.log_path}."
                )

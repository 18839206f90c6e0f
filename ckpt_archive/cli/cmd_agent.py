"""`ckpt-archive agent`."""

from dataclasses import asdict

import click

from ckpt_archive import compose
from ckpt_archive.agent.node import Archived, Pass
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.cli.parameters import (
    bandwidth_option,
    network_staging_option,
    part_size_option,
    staging_folder,
    staging_option,
    transfer_settings,
)
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop


@verb("agent", example="ckpt-archive agent --staging /nvme/ckpt", exits=(3, 5))
@staging_option
@click.option(
    "--until-idle", is_flag=True, help="End when nothing is left to archive and nothing trains here any more."
)
@bandwidth_option
@part_size_option
@network_staging_option
def command(
    frame: Frame,
    /,
    staging: str | None,
    until_idle: bool,
    bandwidth: int | None,
    part_size: int | None,
    network_staging: bool,
) -> None:
    """Archive what is staged on this node, until stopped.

    One agent serves all runs of a staging folder; which archive each goes to, the trainers have recorded there. It may be
    killed at any time: the next one goes on where this one stopped. The first SIGTERM lets it finish what is under way.
    """
    settings = AgentSettings(transfer=transfer_settings(bandwidth, part_size))
    daemon = compose.agent_at(staging_folder(staging), settings, allow_network=network_staging)
    archived: list[Archived] = []

    def on_pass(done: Pass) -> None:
        if frame.as_json:
            archived.extend(done.archived)
        for item in done.archived:
            frame.screen.line(archived_text(item))

    with Stop() as stop:
        daemon.run(stop, until_idle=until_idle, on_pass=on_pass)
    if frame.as_json:
        frame.screen.document([asdict(item) for item in archived])


def archived_text(item: Archived) -> str:
    """A line about a share that was archived."""
    return (
        f"archived {item.run} step {item.step} (attempt {item.attempt}, rank {item.rank}): "
        f"{item.bytes_sent} bytes sent, {item.bytes_resumed} found from before"
    )

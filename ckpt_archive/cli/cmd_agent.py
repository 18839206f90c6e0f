"""`ckpt-archive agent`."""

import os
from dataclasses import asdict
from typing import Literal

import click

from ckpt_archive import compose
from ckpt_archive.agent.node import Archived, Pass
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.cli.parameters import (
    bandwidth_option,
    maintain_option,
    network_staging_option,
    part_size_option,
    staging_folder,
    staging_option,
    transfer_settings,
)
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop


@verb("agent", example="ckpt-archive agent --staging /nvme/ckpt", exits=(3, 5))
@staging_option
@click.option(
    "--until-idle", is_flag=True, help="End when nothing is left to archive and nothing trains here any more."
)
@maintain_option
@bandwidth_option
@part_size_option
@network_staging_option
def command(
    frame: Frame,
    /,
    staging: str | None,
    until_idle: bool,
    maintain: Literal["auto", "external"],
    bandwidth: int | None,
    part_size: int | None,
    network_staging: bool,
) -> None:
    """Archive what is staged on this node, until stopped.

    One agent serves all runs of a staging folder; which archive each goes to, the trainers have recorded there. The first
    SIGTERM or Ctrl-C lets it finish the checkpoint under way, a second one ends it at once. That is safe, as is SIGKILL: the
    next agent goes on where this one stopped.
    """
    settings = AgentSettings(transfer=transfer_settings(bandwidth, part_size), maintain=maintain)
    folder = staging_folder(staging)
    daemon = compose.agent_at(folder, settings, allow_network=network_staging)
    archived: list[Archived] = []
    begun = False

    def on_pass(done: Pass) -> None:
        if frame.as_json:
            archived.extend(done.archived)
        for item in done.archived:
            frame.screen.line(archived_text(item))

    def should_stop() -> bool:
        # Asked for the first time when no other agent is at work here.
        nonlocal begun
        if not begun:
            begun = True
            frame.screen.note(f"agent of {folder}, process {os.getpid()}: waiting for checkpoints")
        return stop()

    with Stop() as stop:
        daemon.run(should_stop, until_idle=until_idle, hurry=stop, on_pass=on_pass)
    if frame.as_json:
        frame.screen.document([asdict(item) for item in archived])


def archived_text(item: Archived) -> str:
    """A line about a share that was archived."""
    found = f", {size_text(item.bytes_resumed)} found from before" if item.bytes_resumed else ""
    return (
        f"archived {item.run} step {item.step} (attempt {item.attempt}, rank {item.rank}): "
        f"{size_text(item.bytes_sent)} sent{found}"
    )

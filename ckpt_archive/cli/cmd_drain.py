"""`ckpt-archive drain`."""

from typing import Literal

import click

from ckpt_archive import compose
from ckpt_archive.agent.node import Pass
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.cli.cmd_agent import archived_text
from ckpt_archive.cli.columns import number_column, size_column, text_column
from ckpt_archive.cli.exits import CAPACITY
from ckpt_archive.cli.parameters import (
    bandwidth_option,
    duration,
    maintain_option,
    network_staging_option,
    part_size_option,
    staging_folder,
    staging_option,
    transfer_settings,
)
from ckpt_archive.cli.verb import Frame, verb

_COLUMNS = (
    text_column("run"),
    number_column("launch"),
    number_column("step"),
    number_column("rank"),
    size_column("size_bytes"),
)


@verb("drain", example="ckpt-archive drain --staging /nvme/ckpt --timeout 25m", exits=(3, 6, 7))
@staging_option
@click.option(
    "--timeout",
    type=duration,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How long to wait: 90s, 25m, 1.5h.",
)
@maintain_option
@bandwidth_option
@part_size_option
@network_staging_option
def command(
    frame: Frame,
    /,
    staging: str | None,
    timeout: float,
    maintain: Literal["auto", "external"],
    bandwidth: int | None,
    part_size: int | None,
    network_staging: bool,
) -> int:
    """Wait until this node's promoted checkpoints are archived.

    For a Slurm epilog or a preStop hook. Where no agent runs, this command does its work. Exits 7 and lists what is left
    when the time is over.
    """
    # It has nothing else to do, so what failed is tried again soon.
    settings = AgentSettings(transfer=transfer_settings(bandwidth, part_size), recheck_seconds=5.0, maintain=maintain)

    def on_pass(done: Pass) -> None:
        for item in done.archived:
            frame.screen.note(archived_text(item))

    daemon = compose.agent_at(staging_folder(staging, must_exist=True), settings, allow_network=network_staging)
    report = daemon.drain(timeout, on_pass=on_pass)
    frame.screen.rows(
        _COLUMNS,
        [
            {
                "run": share.run,
                "launch": share.launch,
                "step": share.step,
                "rank": share.rank,
                "size_bytes": share.size_bytes,
            }
            for share in report.remaining
        ],
        nothing="everything promoted is archived.",
    )
    for trouble in report.troubles:
        frame.screen.note(trouble)
    return 0 if report.done else CAPACITY

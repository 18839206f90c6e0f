"""`ckpt-archive copy`."""

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, size_column, text_column
from ckpt_archive.cli.parameters import bandwidth_option, part_size_option, run_argument, transfer_settings
from ckpt_archive.cli.verb import Frame, verb

_COLUMNS = (
    text_column("run"),
    text_column("to"),
    number_column("copied"),
    number_column("present"),
    number_column("over"),
    number_column("failed"),
    size_column("bytes_sent"),
    size_column("bytes_resumed"),
)


@verb("copy", example="ckpt-archive copy llama-7b --to s3://second-site/archive", exits=(3, 4, 5, 6))
@run_argument
@click.option("--to", required=True, metavar="URL", help="The other archive; without one there, a replica is made.")
@click.option("--step", "steps", multiple=True, type=click.IntRange(min=0), metavar="STEP", help="Only these steps.")
@click.option("--to-endpoint-url", metavar="URL", help="The S3 server of the other archive; else AWS_ENDPOINT_URL.")
@click.option("--to-profile", metavar="NAME", help="Profile of ~/.aws with the credentials for it; else the same ones.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the log of both archives.")
@bandwidth_option
@part_size_option
def command(
    frame: Frame,
    /,
    *,
    run: str,
    to: str,
    steps: tuple[int, ...],
    to_endpoint_url: str | None,
    to_profile: str | None,
    reason: str,
    bandwidth: int | None,
    part_size: int | None,
) -> int:
    """Copy a run to another archive, byte for byte.

    For a second site, a move to another cluster, or a part of an archive that becomes one of its own. The manifests are the
    same bytes, so every digest that somebody wrote down is true of the copy too. Every part is compared with its checksum on
    the way; 'verify --deep' of the copy reads it all again. A copy that was broken off goes on where it stopped. Needs
    the right to read here and to write there. What is damaged, cold or adopted in place is named, and the rest is copied.
    """
    archive = Archive.open(frame.archive_url, transfer=transfer_settings(bandwidth, part_size))
    with frame.screen.progress() as progress:
        report = archive.copy(
            run,
            to,
            steps=list(steps) or None,
            endpoint_url=to_endpoint_url,
            profile=to_profile,
            reason=reason,
            progress=progress,
        )
    row = {
        "run": run,
        "to": to,
        "copied": len(report.copied),
        "present": report.present,
        "over": len(report.over),
        "failed": len(report.failed),
        "bytes_sent": report.bytes_sent,
        "bytes_resumed": report.bytes_resumed,
    }
    frame.screen.rows(_COLUMNS, [row])
    for place in report.over:
        frame.screen.note(f"{place} was not copied: its data has ended, or is about to")
    if not report.source_told:
        frame.screen.note("The archive that they come from was not told of it: it may only be read.")
    for _, error in report.failed:
        frame.screen.note(f"not copied: {error.message}. {error.hint}")
    return report.failed[0][1].exit_code if report.failed else 0

"""`ckpt-archive status`."""

from collections.abc import Iterator

from ckpt_archive import compose
from ckpt_archive.cli.columns import number_column, size_column, spare, text_column, time_column
from ckpt_archive.cli.parameters import staging_folder, staging_option
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.staging import Staging
from ckpt_archive.local.status import RunStatus, StagingStatus, describe
from ckpt_archive.strictjson import Json

_COLUMNS = (
    text_column("run"),
    spare(number_column("launch")),
    number_column("attempt"),
    number_column("step"),
    spare(number_column("rank")),
    text_column("state"),
    size_column("size_bytes"),
    time_column("staged_at"),
    spare(text_column("detail")),
)


@verb("status", example="ckpt-archive status --staging /nvme/ckpt", exits=(3, 6))
@staging_option
def command(frame: Frame, /, staging: str | None) -> None:
    """Show this node's checkpoints, offline and without credentials.

    States: staged (on this disk), promoted (waits for the agent), archived, gap (given up, with the reason), quarantined
    (found damaged after a crash, set aside).

    For monitoring, use --json: the oldest staged_at of the promoted ones tells how far the agent is behind.
    """
    folder = Staging(compose.system_machine(), staging_folder(staging, must_exist=True))
    status = describe(folder)
    frame.screen.rows(_COLUMNS, [row for run in status.runs for row in _rows(run)], nothing="nothing is staged here.")
    frame.screen.note(_summary(status))
    for run in status.runs:
        if run.error:
            frame.screen.note(f"{run.run}: {run.error}")
    said = read_status(folder)
    if said is not None:
        for trouble in said.troubles:
            frame.screen.note(f"the agent said at {said.at:%Y-%m-%d %H:%M:%SZ}: {trouble}")


def _rows(run: RunStatus) -> Iterator[dict[str, Json]]:
    attempts = {launch.launch.ordinal: launch.attempt for launch in run.launches}
    for share in run.shares:
        yield {
            "run": run.run,
            "launch": share.launch,
            "attempt": None if share.launch is None else attempts.get(share.launch),
            "step": share.step,
            "rank": share.rank,
            "state": share.state.value,
            "size_bytes": share.size_bytes,
            "staged_at": share.staged_at,
            "detail": share.detail,
        }


def _summary(status: StagingStatus) -> str:
    agent = {True: "an agent is running", False: "no agent is running", None: "whether an agent runs is unknown"}
    text = (
        f"{status.root}: {size_text(status.used_bytes)} used, {size_text(status.free_bytes)} free; "
        f"{agent[status.agent_live]}"
    )
    if status.oldest_promotion_seconds is not None:
        text += f"; the oldest promotion has waited for {status.oldest_promotion_seconds:.0f} s"
    return text

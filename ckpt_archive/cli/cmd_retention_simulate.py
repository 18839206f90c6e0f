"""`ckpt-archive retention simulate`."""

import os
from collections.abc import Sequence

import click

from ckpt_archive.cli.columns import Column, number_column, spare, text_column
from ckpt_archive.cli.money import price_book, prices_option, usd_column
from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.retention_parameters import read_policy
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money.grid import duration_text, finest_seconds, grids
from ckpt_archive.retention.money.prices import SSD, STANDARD, PriceBook
from ckpt_archive.retention.money.simulate import Outcome, Scenario, everything_on_ssd, for_ever, simulate
from ckpt_archive.retention.money.workload import Workload
from ckpt_archive.retention.policy.file import FILE_NAME, PRESETS
from ckpt_archive.retention.policy.units import read_bytes
from ckpt_archive.strictjson import Json

_MONTH_DAYS = 31


def _size(text: str) -> int:
    """Bytes from ``1TB``, ``1.5TiB``, ``14GB``."""
    try:
        return read_bytes(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error


_COLUMNS = (
    text_column("policy"),
    Column("tb_at_the_end", lambda value: f"{value:,.1f}", numeric=True),
    spare(Column("tb_peak", lambda value: f"{value:,.1f}", numeric=True)),
    usd_column("last_month_usd"),
    usd_column("total_usd"),
    Column("times_ssd", lambda value: f"{value:.2g}" if value < 1 else f"{value:.1f}", numeric=True),
    spare(Column("kept", lambda value: f"{value:,}", numeric=True)),
    spare(text_column("restore_points")),
    spare(number_column("archived")),
)


@verb(
    "simulate",
    example=(
        "ckpt-archive retention simulate\n"
        "ckpt-archive retention simulate --policy retention.toml --policy default --size 140GB --every 10m --prices aws\n"
        "ckpt-archive retention simulate --plot cost.svg"
    ),
    exits=(),
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="FILE|PRESET",
    help=f"May be given often; else the presets {', '.join(PRESETS)}, and ./{FILE_NAME} if it is there.",
)
@click.option(
    "--size", type=_size, metavar="BYTES", default="1TB", show_default=True, help="Of a checkpoint: 14GB, 1TB, 1.5TiB."
)
@click.option(
    "--every", type=duration, default="5m", show_default=True, metavar="TIME", help="Between two that are archived."
)
@click.option("--months", type=click.IntRange(1, 1200), metavar="N", default=36, show_default=True, help="How long.")
@click.option(
    "--objects", type=click.IntRange(1, 10**6), metavar="N", help="Objects of a checkpoint; else one per 16 GB."
)
@click.option(
    "--milestones", type=click.IntRange(0, 1000), metavar="N", default=1, show_default=True, help="Each month."
)
@click.option(
    "--reads", type=click.FloatRange(0, 10**6), metavar="N", default=1, show_default=True, help="Read back each month."
)
@prices_option
@click.option("--plot", metavar="FILE", help="Draw it: .svg or .png. Needs `pip install 'ckpt-archive[plot]'`.")
def command(
    frame: Frame,
    /,
    *,
    policies: tuple[str, ...],
    size: int,
    every: float,
    months: int,
    objects: int | None,
    milestones: int,
    reads: float,
    prices: str,
    plot: str | None,
) -> None:
    """Show what a policy costs over the years.

    Compares policies with each other, with everything on SSD and with everything on HDD for ever; one run that archives all
    the time. Asks no archive. The defaults are those of a 70B model: 1 TB (weights and optimizer), every 5 minutes, 3 years.

    Reckoned checkpoint by checkpoint: bytes by the second, moves and ends at midnight UTC after the notice that the policy
    gives, requests, minimum times and sizes, reading back. times_ssd is the total as a share of everything on SSD. TB are
    10^12 bytes. With --json each object has the months in `series`.
    """
    book = price_book(prices)
    image_format = "" if plot is None else _format(plot)
    if every != int(every):
        raise click.BadParameter("must be whole seconds", param_hint="--every")
    workload = Workload(size, int(every), months, objects or 0, milestones, reads)
    outcomes = [simulate(scenario, workload, book) for scenario in _scenarios(policies, book)]
    rows = [_row(outcome, outcomes[0], workload, book) for outcome in outcomes]
    if plot is not None:
        from ckpt_archive.retention.money.plot import draw  # noqa: PLC0415  (needed seldom, and only where it is asked for)

        image = draw(outcomes, workload, book, image_format)
        with open(plot, "wb") as file:
            file.write(image)
    frame.screen.rows(_COLUMNS, rows)
    for note in _notes(outcomes, workload, book):
        frame.screen.note(note)
    if plot is not None:
        frame.screen.note(f"{os.path.abspath(plot)} is written.")


def _scenarios(policies: Sequence[str], book: PriceBook) -> list[Scenario]:
    """Everything on SSD first."""
    chosen = list(policies) or [*PRESETS, *([FILE_NAME] if os.path.exists(FILE_NAME) else [])]
    found = [Scenario(name, read_policy(name)) for name in dict.fromkeys(chosen)]
    hdd = for_ever(f"everything on {book.price(STANDARD).title}", STANDARD)
    return [everything_on_ssd(), hdd, *found]


def _format(path: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".svg", ".png"):
        raise InvalidInputError(f"{path!r} is neither a .svg nor a .png", hint="Name a file such as cost.svg.")
    return ending[1:]


def _row(outcome: Outcome, ssd: Outcome, workload: Workload, book: PriceBook) -> dict[str, Json]:
    policy = outcome.scenario.policy
    found = grids(policy, workload.every_seconds)
    last = outcome.last
    return {
        "policy": outcome.scenario.name,
        "tb_at_the_end": last.total_bytes / 10**12,
        "tb_peak": outcome.peak_bytes / 10**12,
        "last_month_usd": round(last.total_usd, 2),
        "total_usd": round(last.cumulated_usd, 2),
        "times_ssd": last.cumulated_usd / ssd.last.cumulated_usd if ssd.last.cumulated_usd else None,
        "kept": outcome.kept,
        "archived": outcome.archived,
        "restore_points": ", ".join(grid.said for grid in found),
        "finest_seconds_after_a_month": finest_seconds(found, _MONTH_DAYS),
        "notes": list(outcome.notes),
        "size_bytes": workload.size_bytes,
        "every_seconds": workload.every_seconds,
        "months": workload.months,
        "objects": workload.object_count,
        "prices": book.name,
        "assumptions": list(book.said),
        "series": [
            {
                "month": month.number,
                "stored_bytes": dict(month.stored_bytes),
                "checkpoints": dict(month.checkpoints),
                "mean_bytes": dict(month.mean_bytes),
                "mean_checkpoints": dict(month.mean_checkpoints),
                "writes": month.writes,
                "listings": month.listings,
                "reads": month.reads,
                "transitions": month.transitions,
                "storage_usd": month.storage_usd,
                "small_object_usd": month.small_object_usd,
                "request_usd": month.request_usd,
                "transition_usd": month.transition_usd,
                "retrieval_usd": month.retrieval_usd,
                "early_deletion_usd": month.early_deletion_usd,
                "total_usd": month.total_usd,
                "cumulated_usd": round(month.cumulated_usd, 2),
            }
            for month in outcome.months
        ],
    }


def _notes(outcomes: Sequence[Outcome], workload: Workload, book: PriceBook) -> list[str]:
    standard = book.price(STANDARD)
    times = book.price(SSD).usd_per_tb_month / standard.usd_per_tb_month if standard.usd_per_tb_month else 0.0
    what = (
        f"One run: {workload.size_bytes / 10**12:g} TB in {workload.object_count} objects every "
        f"{duration_text(workload.every_seconds)}, for {workload.months} months; {workload.milestones_per_month} a month "
        f"are milestones, {workload.reads_per_month:g} are read back."
    )
    return [
        what,
        *book.said,
        f"SSD : {standard.title} is {times:.2g} : 1 in this book. --prices FILE takes a book of your own.",
        *(f"{outcome.scenario.name}: {note}" for outcome in outcomes for note in outcome.notes),
    ]

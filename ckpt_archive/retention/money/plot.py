"""A chart of what policies cost, for people who decide. The only module that knows matplotlib, and only when it draws."""

import io
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money.grid import duration_text, grids
from ckpt_archive.retention.money.prices import SSD, STANDARD, PriceBook
from ckpt_archive.retention.money.simulate import Outcome
from ckpt_archive.retention.money.workload import Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#1f2933"
_FAINT = "#7b8794"
_RULE = "#d9dee4"
# The dearest first; told apart by people who do not tell red from green, too.
_LINES = ("#c0341d", "#e08e0b", "#0b63a5", "#0a8a6a", "#7b4fa3", "#52606d", "#8a6d3b", "#3e4c59")
# What is kept for a short time is pale, what is kept for long is dark.
_LAYERS = ("#cfe3f5", "#8fbfe6", "#4a90c9", "#1d5f97", "#0b3358", "#5b3a7e", "#2b1b45")
_GAP = 0.115  # between two labels of two lines, as a share of the axes' height
_MOST_LINES = 8
_MOST_LAYERS = 3
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 12.5,
    "svg.hashsalt": "ckpt-archive",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw(outcomes: Sequence[Outcome], workload: Workload, book: PriceBook, image_format: str) -> bytes:
    """Cumulated cost of all, and what the policies store, month by month.

    Args:
        outcomes: Everything on SSD first; then what is kept for ever; then the policies.
        workload: What was reckoned with.
        book: The prices.
        image_format: ``svg`` or ``png``.

    Raises:
        InvalidInputError: If matplotlib is not installed, or there are too many policies for one chart.
    """
    if len(outcomes) > _MOST_LINES:
        raise InvalidInputError(
            f"{len(outcomes)} lines are too many for one chart", hint=f"Compare at most {_MOST_LINES - 2} policies."
        )
    try:
        import matplotlib as mpl  # noqa: PLC0415  (loaded only where something is drawn)
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise InvalidInputError(
            "a plot needs matplotlib, which is not installed here", hint="pip install 'ckpt-archive[plot]'"
        ) from error
    with mpl.rc_context(rc=_STYLE):
        figure = Figure(figsize=(13.33, 7.5), dpi=108)
        _cost(figure.add_axes((0.085, 0.165, 0.33, 0.6)), outcomes, workload)
        layered = sorted(outcomes[1:], key=lambda item: item.last.total_bytes)[:_MOST_LAYERS]
        layered = [item for item in outcomes if item in layered]
        height = 0.585 / len(layered)
        for index, outcome in enumerate(layered):
            bottom = 0.165 + height * (len(layered) - 1 - index)
            axes = figure.add_axes((0.675, bottom, 0.168, height * 0.72))
            color = _LINES[outcomes.index(outcome)]
            _stored(axes, outcome, workload, color, is_last=index == len(layered) - 1)
        _words(figure, outcomes, workload, book)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=image_format, metadata={"Date": None} if image_format == "svg" else None)
    return buffer.getvalue()


def _cost(axes: "Axes", outcomes: Sequence[Outcome], workload: Workload) -> None:
    """Cumulated cost, on a log scale, each line with its name and its sum at its end."""
    months = [month.number for month in outcomes[0].months]
    axes.set_yscale("log")
    for outcome, color in zip(outcomes, _LINES, strict=False):
        axes.plot(months, [month.cumulated_usd for month in outcome.months], color=color, linewidth=2.8)
    _month_axis(axes, workload.months)
    axes.yaxis.set_major_formatter(lambda value, _: f"${_short(value)}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.tick_params(axis="y", which="minor", length=0)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title("Cost so far, in USD (log scale)", loc="left", fontsize=14, fontweight="bold", pad=11)
    axes.set_xlabel("months of training")
    low, high = axes.get_ylim()
    ends = [outcome.last.cumulated_usd for outcome in outcomes]
    heights = [math.log(max(end, low) / low) / math.log(high / low) for end in ends]
    for outcome, color, end, place in zip(outcomes, _LINES, ends, _apart(heights, _GAP), strict=False):
        times = ends[0] / end
        beside = (
            "" if outcome is outcomes[0] else f", 1/{times:,.0f} of SSD" if times >= 2 else f", {1 / times:.2f} of SSD"
        )
        axes.text(
            1.025,
            place,
            f"{outcome.scenario.name}",
            transform=axes.transAxes,
            color=color,
            fontweight="bold",
            va="bottom",
        )
        axes.text(
            1.025, place, f"${_short(end)}{beside}", transform=axes.transAxes, color=color, va="top", fontsize=11.5
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Places near these heights, a gap apart at least, and all of them within 0 to 1 if they fit there."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    places = [heights[index] for index in order]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    ceiling = max(1 - gap / 2, (len(places) - 0.5) * gap)
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    found = [0.0] * len(heights)
    for index, place in zip(order, places, strict=True):
        found[index] = place
    return found


def _stored(axes: "Axes", outcome: Outcome, workload: Workload, color: str, *, is_last: bool) -> None:
    """What is stored, in layers: by storage class if there are several, else by retention class."""
    # The mean of a month stands in its middle.
    months = [0.0, *(month.number - 0.5 for month in outcome.months), float(workload.months)]
    layers = [(name, [0.0, *numbers, numbers[-1]]) for name, numbers in _layers(outcome, workload)]
    fills = [_LAYERS[index % len(_LAYERS)] for index in range(len(layers))]
    axes.stackplot(months, *(numbers for _, numbers in layers), colors=fills, linewidth=0)
    _month_axis(axes, workload.months)
    top = 1.08 * max(sum(numbers[index] for _, numbers in layers) for index in range(len(months)))
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.locator_params(axis="y", nbins=3)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    total = sum(numbers[-1] for _, numbers in layers)
    axes.set_title(
        f"{outcome.scenario.name}: {_short(total)} TB", loc="left", fontsize=13, fontweight="bold", color=color, pad=5
    )
    if is_last:
        axes.set_xlabel("months of training")
    else:
        axes.tick_params(axis="x", labelbottom=False)
    ends = list(itertools.accumulate(numbers[-1] for _, numbers in layers))
    middles = [(end - numbers[-1] / 2) / top for end, (_, numbers) in zip(ends, layers, strict=True)]
    for (name, numbers), place, fill in zip(layers, _apart(middles, 0.19), fills, strict=True):
        axes.text(1.03, place, "\u25a0", transform=axes.transAxes, color=fill, va="center", fontsize=14)
        axes.text(1.11, place, f"{name} {_short(numbers[-1])}", transform=axes.transAxes, va="center", fontsize=11)


def _layers(outcome: Outcome, workload: Workload) -> list[tuple[str, list[float]]]:
    """Name and mean TB by month, in the order in which they lie on each other."""
    if len(outcome.last.mean_bytes) > 1:
        names = dict.fromkeys(name for month in outcome.months for name in month.mean_bytes)
        return [(name, [month.mean_bytes.get(name, 0.0) / 10**12 for month in outcome.months]) for name in names]
    terabytes = workload.size_bytes / 10**12
    order = {"": -1, **{item.name: index for index, item in enumerate(outcome.scenario.policy.classes)}}
    found = sorted({name for month in outcome.months for name in month.mean_checkpoints}, key=lambda name: order[name])
    return [
        (name or "kept", [month.mean_checkpoints.get(name, 0.0) * terabytes for month in outcome.months])
        for name in found
    ]


def _month_axis(axes: "Axes", months: int) -> None:
    axes.set_xlim(0, months)
    step = 12 if months > 24 else 6 if months > 12 else 3 if months > 6 else 1
    axes.set_xticks(list(range(0, months + 1, step)))


def _words(figure: "Figure", outcomes: Sequence[Outcome], workload: Workload, book: PriceBook) -> None:
    ssd = outcomes[0].last.cumulated_usd
    cheapest = min(outcomes, key=lambda item: item.last.cumulated_usd)
    shown = next((item for item in outcomes if item.scenario.name == "default"), cheapest)
    size = _size(workload.size_bytes)
    figure.text(
        0.03,
        0.935,
        f"Every checkpoint on SSD: ${_short(ssd)}.  With the policy '{shown.scenario.name}': "
        f"${_short(shown.last.cumulated_usd)}.",
        fontsize=21,
        fontweight="bold",
    )
    figure.text(
        0.03,
        0.885,
        f"{size} per checkpoint, one archived every {duration_text(workload.every_seconds)}, {workload.months} months, "
        f"{outcomes[0].archived:,} checkpoints.",
        fontsize=14,
    )
    points = ", ".join(grid.said for grid in grids(shown.scenario.policy, workload.every_seconds))
    figure.text(0.03, 0.845, f"'{shown.scenario.name}' keeps {points}.", fontsize=14)
    ratio = book.price(SSD).usd_per_tb_month / book.price(STANDARD).usd_per_tb_month
    prices = (
        f"Prices '{book.name}' of {book.written.isoformat()}: {book.price(STANDARD).title} "
        f"{book.price(STANDARD).usd_per_tb_month:.4g} and SSD {book.price(SSD).usd_per_tb_month:.4g} USD per TB and month "
        f"({ratio:.2g} times as much).  A TB is 10^12 bytes.  Records and volume discounts are not counted."
    )
    figure.text(0.03, 0.055, prices, fontsize=10, color=_FAINT)
    figure.text(0.03, 0.025, "ckpt-archive retention simulate", fontsize=10.5, color=_FAINT, family="monospace")
    figure.text(0.675, 0.787, "What is stored, mean TB", fontsize=14, fontweight="bold")


def _short(value: float) -> str:
    """Such as ``682 M``, ``0.95 M``, ``27,900``."""
    for unit, name in ((1e12, " T"), (1e9, " bn"), (1e6, " M")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    rounded = float(f"{value:.3g}") if value < 1000 or value >= 10_000 else round(value)
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:.3g}"


def _size(size_bytes: int) -> str:
    for unit, name in ((10**15, "PB"), (10**12, "TB"), (10**9, "GB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:g} {name}"
    return f"{size_bytes / 10**6:g} MB"

"""Makes a failing life simpler: fewer kinds of faults, fewer chances, and it still breaks a promise."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ckpt_archive.testing.simulation.faults import Options
from ckpt_archive.testing.simulation.search import Life, run_life

_CHANCES = (
    "disk_fault_chance", "store_fault_chance", "power_loss_chance", "kill_chance", "pause_chance", "clock_jump_chance",
    "clock_skew_seconds",
)  # fmt: skip


def shrink(life: Life, seed: int, options: Options) -> Options:
    """The simplest options found with which the life of a seed still ends in an error of the same kind.

    Whatever is left out lets the rest of the story go another way, so this is a walk and no proof: it takes each step that
    leads to such an error too, until there is none left.

    Args:
        life: Which fails.
        seed: Of it.
        options: With which it fails.

    Returns:
        `options`, or simpler ones.
    """
    wanted = _outcome(life, seed, options)
    if wanted is None:
        return options
    found = options
    while simpler := next((less for less in _simpler(found) if _outcome(life, seed, less) == wanted), None):
        found = simpler
    return found


def _outcome(life: Life, seed: int, options: Options) -> type[Exception] | None:
    try:
        run_life(life, seed, options)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return type(error)
    return None


def _simpler(options: Options) -> Iterator[Options]:
    usual = Options()
    for name in _CHANCES:
        if getattr(options, name):
            none: dict[str, Any] = {name: 0.0}
            yield replace(options, **none)
    for name in ("checksums_enforced", "conditional_complete"):
        if not getattr(options, name):
            good: dict[str, Any] = {name: True}
            yield replace(options, **good)
    for number in range(len(options.crashes)):
        yield replace(options, crashes=options.crashes[:number] + options.crashes[number + 1 :])
    if options.store_fault_chance or options.disk_fault_chance:
        for fault in sorted(options.faults, key=lambda item: item.name):
            yield replace(options, faults=options.faults - {fault})
    if options.switch_chance != usual.switch_chance:
        yield replace(options, switch_chance=usual.switch_chance)

"""Makes a failing life simpler: fewer things go wrong in it, and it fails all the same.

What happens in a life is drawn from its seed; what goes wrong in it is drawn too, one thing after the other. So first whole
kinds of trouble are left out, then all that chance sends after some moment, then one thing after the other before it. What
is left is what the violation needs, and `spelled` tells it so that it can be told again.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from ckpt_archive.testing.simulation.faults import Fault, Options
from ckpt_archive.testing.simulation.search import Life
from ckpt_archive.testing.simulation.world import World

_CHANCES = (
    "disk_fault_chance",
    "store_fault_chance",
    "power_loss_chance",
    "kill_chance",
    "pause_chance",
    "clock_jump_chance",
    "clock_skew_seconds",
)


class NothingBrokenError(Exception):
    """The life that was to be made simpler breaks no promise."""


def shrink(life: Life, seed: int, options: Options) -> Options:
    """Options with as little in them as the life of a seed needs to break the same promise.

    Args:
        life: What.
        seed: Of it.
        options: In which it breaks a promise.

    Raises:
        NothingBrokenError: If it breaks none.
    """
    broken, troubles = _lived(life, seed, options)
    if broken is None:
        raise NothingBrokenError(f"the life of seed {seed} breaks no promise")

    def still(tried: Options) -> bool:
        found, _ = _lived(life, seed, tried)
        return found is not None and _words(found) == _words(broken)

    while (calmer := _first_simpler(options, _calmer(options), still)) is not options:
        options = calmer
    for fault in Fault:
        if fault in options.faults:
            options = _first_simpler(options, [replace(options, faults=options.faults - {fault})], still)
    _, troubles = _lived(life, seed, options)
    options = _fewest_first(options, troubles, still)
    for number in range(options.most_troubles or 0, 0, -1):
        if number not in options.spared_troubles:
            options = _first_simpler(
                options, [replace(options, spared_troubles=options.spared_troubles | {number})], still
            )
    return options


def spelled(options: Options) -> str:
    """Options as Python text that makes them again: only what is not as usual."""
    usual = Options()
    parts = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value == getattr(usual, field.name):
            continue
        text = repr(value)
        if field.name == "faults":
            text = f"frozenset(({''.join(f'Fault.{fault.name}, ' for fault in Fault if fault in value)}))"
        elif field.name == "crashes":
            points = (f"CrashPoint({at.io}, When.{at.when.name}, Crash.{at.what.name}), " for at in value)
            text = f"({''.join(points)})"
        elif field.name == "spared_troubles":
            text = f"frozenset({sorted(value)})"
        parts.append(f"{field.name}={text}")
    return f"Options({', '.join(parts)})"


def _lived(life: Life, seed: int, options: Options) -> tuple[str | None, int]:
    """What the life breaks, None if nothing; and how many things chance has sent until then."""
    with World(seed, options) as world:
        try:
            life(world)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is to be told
            return f"{type(error).__name__}: {error}", world.troubles
    return None, world.troubles


def _words(text: str) -> list[str]:
    """What tells one way of breaking a promise from another: the first words, whatever the names and numbers are."""
    return [word for word in text.split() if word.isalpha()][:8]


def _first_simpler(options: Options, ways: list[Options], still: Callable[[Options], bool]) -> Options:
    return next((way for way in ways if still(way)), options)


def _calmer(options: Options) -> list[Options]:
    """Without all of one kind of trouble; a life that is drawn anew then, but perhaps a far simpler one."""
    used = [name for name in _CHANCES if getattr(options, name)]
    pairs = [(name, other) for name in used for other in used if name < other]
    sets: list[tuple[str, ...]] = [tuple(used), *pairs, *((name,) for name in used)]
    ways: list[dict[str, Any]] = [dict.fromkeys(names, 0.0) for names in sets if names]
    ways += [{name: True} for name in ("checksums_enforced", "conditional_complete") if not getattr(options, name)]
    return [replace(options, **way) for way in ways]


def _fewest_first(options: Options, troubles: int, still: Callable[[Options], bool]) -> Options:
    """With as few of the first troubles as it needs; where that is not monotonic, with some number that is enough."""
    low, high = 0, troubles
    while low < high:
        middle = (low + high) // 2
        if still(replace(options, most_troubles=middle)):
            high = middle
        else:
            low = middle + 1
    tried = replace(options, most_troubles=high)
    return tried if still(tried) else options

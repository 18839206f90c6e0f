"""Times and sizes as a policy file spells them. A mistake is a `ValueError` that says what would be right."""

import re

_YEARS = 100
_MOST_DAYS = 36_525
_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18} | {
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "PiB": 1 << 50,
}


def read_days(value: object) -> int:
    """Whole days of ``"14d"``, ``"2w"`` or ``"1y"``.

    A year counts as long as years can be: n of them are 365.25 n days, rounded up, which is what n calendar years have at
    most (10 years: 3,653 days). So what must be kept for years never ends a day early.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        raise ValueError(f'a number alone is no time; write "{value}d" for {value} days')
    if not isinstance(value, str):
        raise ValueError('a time is a text such as "14d", "2w" or "1y"')  # noqa: TRY004 - the value is wrong, not its use
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*([A-Za-z]*)\s*", value)
    if found is None:
        raise ValueError('that is no time; write whole days, weeks or years, such as "14d", "2w" or "1y"')
    number, unit = int(found[1]), found[2].lower()
    if unit in ("h", "hour", "hours", "min", "minute", "minutes", "s"):
        raise ValueError(
            f'lifecycle engines count whole days, from midnight to midnight UTC; write "{_as_days(number, unit)}d"'
        )
    if unit in ("m", "mo", "month", "months"):
        raise ValueError(
            f'months have no fixed length; write days: "{max(1, number) * 31}d" for {max(1, number)} months'
        )
    if found[2] not in ("d", "w", "y") or value != value.strip() or " " in value:
        good = unit[:1] if unit[:1] in ("d", "w", "y") else "d"
        raise ValueError(f'the units are d, w and y, right behind the number; write "{max(1, number)}{good}"')
    if number == 0:
        raise ValueError(f'it must be at least one day; write "1{unit}"')
    days = number if unit == "d" else number * 7 if unit == "w" else -(-number * 1461 // 4)
    if days > _MOST_DAYS:
        raise ValueError(f'that is more than {_YEARS} years; keep it "forever", or for at most "{_YEARS}y"')
    return days


def _as_days(number: int, unit: str) -> int:
    hours = number if unit.startswith("h") else number / 60
    return max(1, -(-int(hours) // 24))


def read_bytes(value: object) -> int:
    """Bytes of ``"50TB"`` or ``"1.5TiB"``.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, str):
        raise ValueError('a size is a text such as "500GB" or "50TB"')  # noqa: TRY004 - the value is wrong, not its use
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)", value)
    if found is None or found[2] not in _BYTES:
        units = ", ".join(_BYTES)
        raise ValueError(f'that is no size; write a number and a unit, such as "50TB" (units: {units})')
    size = round(float(found[1]) * _BYTES[found[2]])
    if size < 1:
        raise ValueError('it must be more than nothing; write a size such as "500GB", or leave the line out')
    return size

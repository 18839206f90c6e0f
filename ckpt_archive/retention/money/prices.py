"""What storing, asking, moving and reading back costs: a price book as values, made of TOML. No I/O but the books shipped.

A TB is 10^12 bytes, a GB 10^9, a month `MONTH_SECONDS`. Prices are those of the day that the book names.
"""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib import resources

from ckpt_archive.errors import InvalidInputError

MONTH_SECONDS = 2_629_800
"""A twelfth of a year of 365.25 days."""

STANDARD = "STANDARD"
"""The storage class into which everything is written first."""

SSD = "SSD"
"""What `STANDARD` is compared with; every book has both."""

BOOKS = ("hdd", "aws")
"""The books that are shipped; the first one is the default."""

_TB = 10**12
_GB = 10**9


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Reading back from a storage class, at one speed.

    Attributes:
        tier: Its name, such as ``Standard`` or ``Bulk``.
        usd_per_gb: Of what is read.
        usd_per_1000: Objects asked for.
        hours: Until they can be read.
    """

    tier: str
    usd_per_gb: float = 0.0
    usd_per_1000: float = 0.0
    hours: float = 0.0

    def usd(self, size_bytes: float, objects: float) -> float:
        """What it costs to read so much back."""
        return size_bytes / _GB * self.usd_per_gb + objects / 1000 * self.usd_per_1000


@dataclass(frozen=True, slots=True)
class StoragePrice:
    """What a storage class costs.

    Attributes:
        storage_class: As S3 spells it, ``SSD``, or ``COLD``.
        title: For people.
        usd_per_tb_month: Of what is stored.
        min_days: Whoever deletes or moves an object sooner pays for the rest.
        min_object_bytes: Smaller objects are billed as if they had that size.
        overhead_bytes: Billed beside each object, at the price of this class.
        overhead_standard_bytes: Billed beside each object, at the price of `STANDARD`.
        min_transition_bytes: Smaller objects are not moved here by lifecycle rules.
        put_usd_per_1000: Writes, also of tags and of parts.
        list_usd_per_1000: Listings.
        get_usd_per_1000: Reads.
        transition_usd_per_1000: Objects that are moved here by lifecycle rules.
        retrieval: By tier, in the order of the file; none: read as it is, for nothing.
    """

    storage_class: str
    title: str
    usd_per_tb_month: float
    min_days: int = 0
    min_object_bytes: int = 0
    overhead_bytes: int = 0
    overhead_standard_bytes: int = 0
    min_transition_bytes: int = 0
    put_usd_per_1000: float = 0.0
    list_usd_per_1000: float = 0.0
    get_usd_per_1000: float = 0.0
    transition_usd_per_1000: float = 0.0
    retrieval: Mapping[str, Retrieval] = field(default_factory=dict)

    def billed_bytes(self, size_bytes: float, objects: int) -> float:
        """What is billed at the price of this class for so many bytes in objects of equal size."""
        return max(size_bytes, objects * self.min_object_bytes) + objects * self.overhead_bytes

    def tier(self, name: str = "") -> Retrieval:
        """A tier; by default ``Standard``, else the first one. Where nothing is to be paid or awaited: one that is free.

        Raises:
            InvalidInputError: If there are tiers, and none of that name.
        """
        if not self.retrieval:
            return Retrieval(name or "Immediate")
        if not name:
            return self.retrieval.get("Standard") or next(iter(self.retrieval.values()))
        found = self.retrieval.get(name)
        if found is None:
            raise InvalidInputError(
                f"{self.storage_class} has no retrieval tier {name!r}", hint=f"It has {_listed(self.retrieval)}."
            )
        return found


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The prices of a place to store things.

    Attributes:
        name: Of the book, or of the file it came from.
        written: When its prices were true.
        assumptions: Sentences for people, to be shown with everything that is reckoned with it.
        storage: By storage class.
    """

    name: str
    written: date
    assumptions: tuple[str, ...]
    storage: Mapping[str, StoragePrice]

    def price(self, storage_class: str) -> StoragePrice:
        """Of a storage class.

        Raises:
            InvalidInputError: If the book does not have it.
        """
        found = self.storage.get(storage_class)
        if found is None:
            raise InvalidInputError(
                f"the price book {self.name} has no price for the storage class {storage_class}",
                hint=f"Add [storage.{storage_class}] to it, or use --prices with one that has it; it has "
                f"{_listed(self.storage)}.",
            )
        return found

    def usd_a_month(self, storage_class: str, size_bytes: float, objects: int = 1) -> float:
        """What storing so many bytes, in so many objects of equal size, costs a month.

        Raises:
            InvalidInputError: If the book does not have the storage class.
        """
        price = self.price(storage_class)
        billed = price.billed_bytes(size_bytes, objects) * price.usd_per_tb_month
        beside = objects * price.overhead_standard_bytes * self.storage[STANDARD].usd_per_tb_month
        return (billed + beside) / _TB

    @property
    def said(self) -> tuple[str, ...]:
        """What has to be said with every sum of money."""
        return (f"Prices: {self.name}, of {self.written.isoformat()}, in USD.", *self.assumptions)


def shipped(name: str = BOOKS[0]) -> PriceBook:
    """A book that comes with this release.

    Raises:
        InvalidInputError: If there is none of that name.
    """
    if name not in BOOKS:
        raise InvalidInputError(
            f"there is no price book {name!r}", hint=f"There are {_listed(BOOKS)}; or name a file of your own."
        )
    text = resources.files(__package__).joinpath("books", f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, name)


def parse(text: str, name: str) -> PriceBook:
    """Read a price book.

    Args:
        text: TOML.
        name: For people: the file it is.

    Raises:
        InvalidInputError: If it is not one; the message names the key, its value and what would be right.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{name} is not TOML: {error}", hint="Mend the line that is named.") from error
    top = _Table(name, "", document)
    written = top.day("written")
    assumptions = top.texts("assumptions")
    storage = {key: _storage(table, key) for key, table in top.tables("storage").items()}
    top.refuse_others()
    for needed in (STANDARD, SSD):
        if needed not in storage:
            raise InvalidInputError(
                f"{name} has no [storage.{needed}]",
                hint=f"Every price book has {STANDARD}, into which all is written, and {SSD}, with which it is compared.",
            )
    return PriceBook(name, written, assumptions, storage)


def _storage(table: "_Table", name: str) -> StoragePrice:
    price = StoragePrice(
        storage_class=name,
        title=table.text("title", name),
        usd_per_tb_month=table.number("usd_per_tb_month"),
        min_days=table.whole("min_days"),
        min_object_bytes=table.whole("min_object_bytes"),
        overhead_bytes=table.whole("overhead_bytes"),
        overhead_standard_bytes=table.whole("overhead_standard_bytes"),
        min_transition_bytes=table.whole("min_transition_bytes"),
        put_usd_per_1000=table.number("put_usd_per_1000", 0.0),
        list_usd_per_1000=table.number("list_usd_per_1000", 0.0),
        get_usd_per_1000=table.number("get_usd_per_1000", 0.0),
        transition_usd_per_1000=table.number("transition_usd_per_1000", 0.0),
        retrieval={key: _retrieval(tier, key) for key, tier in table.tables("retrieval").items()},
    )
    table.refuse_others()
    return price


def _retrieval(table: "_Table", name: str) -> Retrieval:
    tier = Retrieval(
        tier=name,
        usd_per_gb=table.number("usd_per_gb", 0.0),
        usd_per_1000=table.number("usd_per_1000", 0.0),
        hours=table.number("hours", 0.0),
    )
    table.refuse_others()
    return tier


class _Table:
    """A table of the file: hands out its values by name, and refuses what nobody asked for."""

    def __init__(self, file: str, path: str, members: Mapping[str, object]) -> None:
        self._file = file
        self._path = path
        self._members = members
        self._asked: set[str] = set()

    def number(self, key: str, default: float | None = None) -> float:
        """A number from 0 on."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self._wrong(key, value, "a number from 0 on, such as 0.023")
        return float(value)

    def whole(self, key: str) -> int:
        """An integer from 0 on; 0 where there is none."""
        value = self._value(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(key, value, "an integer from 0 on")
        return value

    def text(self, key: str, default: str) -> str:
        """A text that is not empty."""
        value = self._value(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, value, 'a text, such as "HDD"')
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Texts; none where there is no such key."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, value, 'texts, such as ["SSD is assumed to cost 6 times as much"]')
        return tuple(value)

    def day(self, key: str) -> date:
        """A date."""
        value = self._value(key, None)
        if isinstance(value, datetime) or not isinstance(value, date):
            raise self._wrong(key, value, "the day on which these prices were true, such as 2026-11-24, without quotes")
        return value

    def tables(self, key: str) -> dict[str, "_Table"]:
        """The tables in a table; none where there is none."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, value, f"tables, such as [{self._named(key)}.NAME]")
        for name, item in value.items():
            if not isinstance(item, dict):
                raise self._wrong(f"{key}.{name}", item, f"a table: [{self._named(key)}.{name}]")
        return {name: _Table(self._file, self._named(f"{key}.{name}"), item) for name, item in value.items()}

    def refuse_others(self) -> None:
        """Refuse keys that mean nothing."""
        for key in self._members:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, 1)
                raise InvalidInputError(
                    f"{self._file}: {self._named(key)} means nothing in a price book",
                    hint=f"Did you mean {near[0]}?" if near else f"Here may stand {_listed(sorted(self._asked))}.",
                )

    def _value(self, key: str, default: object) -> object:
        self._asked.add(key)
        return self._members.get(key, default)

    def _named(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _wrong(self, key: str, value: object, right: str) -> InvalidInputError:
        there = "is missing" if value is None else f"is {value!r}"
        return InvalidInputError(f"{self._file}: {self._named(key)} {there}", hint=f"It must be {right}.")


def _listed(names: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)

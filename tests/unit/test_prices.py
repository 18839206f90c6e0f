"""Price books: what is in them, and what is said about one that is wrong."""

import re
from datetime import date
from pathlib import Path

import pytest

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money import prices
from ckpt_archive.retention.money.prices import BOOKS, SSD, STANDARD, Retrieval, parse, shipped
from ckpt_archive.retention.policy.storage_classes import STORAGE_CLASSES

LEAST = """
written = 2026-11-24
[storage.STANDARD]
usd_per_tb_month = 20
[storage.SSD]
usd_per_tb_month = 120
"""
GIB_PER_GB = 10**9 / 2**30


@pytest.mark.parametrize("name", BOOKS)
def test_the_books_that_are_shipped(name: str) -> None:
    book = shipped(name)
    assert book.name == name
    assert book.written >= date(2026, 11, 24)
    assert {STANDARD, SSD} <= book.storage.keys()
    assert any("SSD" in sentence for sentence in book.assumptions)
    assert book.written.isoformat() in book.said[0]


def test_ssd_is_six_times_hdd_and_says_so() -> None:
    book = shipped()
    assert book.price(SSD).usd_per_tb_month == 6 * book.price(STANDARD).usd_per_tb_month == 120
    assert any("6 times" in sentence for sentence in book.assumptions)


def test_aws_bills_binary_gigabytes() -> None:
    book = shipped("aws")
    listed = {STANDARD: 0.023, SSD: 0.145, "STANDARD_IA": 0.0125, "ONEZONE_IA": 0.01, "GLACIER_IR": 0.004}
    listed |= {"GLACIER": 0.0036, "DEEP_ARCHIVE": 0.00099}
    for name, usd_per_gib in listed.items():
        assert book.price(name).usd_per_tb_month == pytest.approx(usd_per_gib * GIB_PER_GB * 1000, abs=1e-6)
    retrievals = {
        ("GLACIER", "Expedited"): 0.03, ("GLACIER", "Standard"): 0.01, ("GLACIER", "Bulk"): 0.0,
        ("DEEP_ARCHIVE", "Standard"): 0.02, ("DEEP_ARCHIVE", "Bulk"): 0.0025, ("GLACIER_IR", "Immediate"): 0.03,
    }  # fmt: skip
    for (name, tier), usd_per_gib in retrievals.items():
        assert book.price(name).tier(tier).usd_per_gb == pytest.approx(usd_per_gib * GIB_PER_GB, abs=1e-9)
    assert any("check" in sentence for sentence in book.assumptions)


def test_aws_minimums_are_those_of_the_policy_file() -> None:
    book = shipped("aws")
    for name, price in book.storage.items():
        if name in STORAGE_CLASSES:
            assert price.min_days == STORAGE_CLASSES[name].minimum_days


def test_an_archived_object_pays_for_its_40_kilobytes() -> None:
    book = shipped("aws")
    deep, standard = book.price("DEEP_ARCHIVE").usd_per_tb_month, book.price(STANDARD).usd_per_tb_month
    assert book.usd_a_month("DEEP_ARCHIVE", 10_000, 10) == pytest.approx(
        ((10_000 + 10 * 32_768) * deep + 10 * 8_192 * standard) / 10**12
    )
    assert book.usd_a_month("GLACIER_IR", 10_000, 10) == pytest.approx(
        10 * 131_072 * book.price("GLACIER_IR").usd_per_tb_month / 10**12
    )
    assert book.usd_a_month(STANDARD, 10**12, 63) == pytest.approx(standard)


def test_tiers() -> None:
    book = shipped("aws")
    glacier = book.price("GLACIER")
    assert glacier.tier().tier == "Standard"
    assert glacier.tier("Bulk").hours == 12
    assert book.price("GLACIER_IR").tier().tier == "Immediate"
    assert book.price(STANDARD).tier() == Retrieval("Immediate")
    assert glacier.tier().usd(10**12, 1000) == pytest.approx(1000 * 0.0093132258 + 0.05)
    with pytest.raises(InvalidInputError, match="no retrieval tier 'Fast'") as error:
        glacier.tier("Fast")
    assert error.value.hint == "It has Expedited, Standard, Bulk."


def test_the_least_book() -> None:
    book = parse(LEAST, "my.toml")
    assert book.assumptions == ()
    assert book.price(STANDARD).title == STANDARD
    assert book.usd_a_month(STANDARD, 10**12) == 20
    with pytest.raises(InvalidInputError, match=r"my\.toml has no price for the storage class GLACIER"):
        book.price("GLACIER")


def wrong(old: str, new: str) -> str:
    assert old in LEAST
    return LEAST.replace(old, new)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", "my.toml is not TOML: "),
        ("", "my.toml: written is missing. It must be the day on which"),
        (wrong("2026-11-24", '"2026-11-24"'), "my.toml: written is '2026-11-24'. It must be the day"),
        (wrong("2026-11-24", "2026-11-24T10:00:00"), "my.toml: written is datetime.datetime"),
        (wrong("written", "assumptions = 1\nwritten"), "my.toml: assumptions is 1. It must be texts"),
        (wrong("written", "assumptions = [1]\nwritten"), "my.toml: assumptions is [1]. It must be texts"),
        (
            wrong("written", "writen = 1\nwritten"),
            "my.toml: writen means nothing in a price book. Did you mean written?",
        ),
        (
            wrong("written", "zzz = 1\nwritten"),
            "zzz means nothing in a price book. Here may stand assumptions, storage, w",
        ),
        (wrong("[storage.SSD]", "[storage.SDD]"), "my.toml has no [storage.SSD]. Every price book has STANDARD"),
        ("written = 2026-11-24", "my.toml has no [storage.STANDARD]"),
        ("written = 2026-11-24\nstorage = 3", "my.toml: storage is 3. It must be tables, such as [storage.NAME]"),
        ("written = 2026-11-24\nstorage.STANDARD = 3", "storage.STANDARD is 3. It must be a table: [storage.STANDARD]"),
        (wrong("month = 20", "month = -20"), "storage.STANDARD.usd_per_tb_month is -20. It must be a number from 0 on"),
        (wrong("month = 20", "month = inf"), "storage.STANDARD.usd_per_tb_month is inf"),
        (wrong("month = 20", "month = nan"), "storage.STANDARD.usd_per_tb_month is nan"),
        (wrong("month = 20", "month = true"), "storage.STANDARD.usd_per_tb_month is True"),
        (wrong("month = 20", 'month = "20"'), "storage.STANDARD.usd_per_tb_month is '20'"),
        (wrong("usd_per_tb_month = 20", ""), "storage.STANDARD.usd_per_tb_month is missing"),
        (
            wrong("month = 20", "month = 20\nmin_days = 1.5"),
            "storage.STANDARD.min_days is 1.5. It must be an integer from 0 on",
        ),
        (wrong("month = 20", "month = 20\nmin_days = true"), "storage.STANDARD.min_days is True"),
        (wrong("month = 20", "month = 20\ntitle = ' '"), "storage.STANDARD.title is ' '. It must be a text"),
        (
            wrong("month = 20", "month = 20\nmin_day = 1"),
            "storage.STANDARD.min_day means nothing in a price book. Did you mean min_days?",
        ),
        (wrong("month = 20", "month = 20\nretrieval = 1"), "storage.STANDARD.retrieval is 1. It must be tables"),
        (
            wrong("month = 20", "month = 20\nretrieval.Bulk.hour = 1"),
            "storage.STANDARD.retrieval.Bulk.hour means nothing",
        ),
        (wrong("month = 20", "month = 20\nretrieval.Bulk.hours = -1"), "storage.STANDARD.retrieval.Bulk.hours is -1"),
    ],
)
def test_what_is_said_about_a_wrong_book(text: str, says: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse(text, "my.toml")
    assert says in str(error.value)
    assert error.value.hint


def test_a_book_that_is_not_there() -> None:
    with pytest.raises(InvalidInputError, match=r"there is no price book 'gold'\. There are hdd, aws"):
        shipped("gold")
    assert prices.shipped() == prices.shipped("hdd")


def test_the_book_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "retention.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```toml\n(written.*?)^```", page, re.DOTALL | re.MULTILINE)
    book = parse(text, "page")
    assert book.price("COLD").tier().hours == 4
    assert {STANDARD, SSD, "COLD"} == book.storage.keys()

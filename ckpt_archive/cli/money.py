"""What several verbs say about money: the option that names the prices, and how sums are shown."""

import os

import click

from ckpt_archive.cli.columns import Column
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money.prices import BOOKS, PriceBook, parse, shipped

_MOST_BYTES = 1 << 20

prices_option = click.option(
    "--prices",
    default=BOOKS[0],
    show_default=True,
    metavar=f"FILE|{'|'.join(BOOKS)}",
    help="A price book, as TOML: one of those that come with this release, or your own.",
)


def price_book(said: str) -> PriceBook:
    """The price book that somebody means.

    Raises:
        InvalidInputError: If there is no such file, or something is wrong with it.
    """
    if said in BOOKS:
        return shipped(said)
    if not os.path.isfile(said):
        raise InvalidInputError(
            f"there is no price book {said!r}",
            hint=f"Use {' or '.join(BOOKS)}, or a file made like {os.path.join('retention', 'prices', 'hdd.toml')}.",
        )
    with open(said, "rb") as file:
        data = file.read(_MOST_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{said} is not UTF-8 text", hint="Save it as UTF-8.") from error
    return parse(text, said)


def usd_text(usd: float) -> str:
    """Money for people, such as ``1,940`` or ``0.37``."""
    return f"{usd:,.0f}" if usd >= 100 else f"{usd:,.2f}"


def usd_column(name: str) -> Column:
    """Money."""
    return Column(name, lambda usd: "" if usd is None else usd_text(usd), numeric=True)

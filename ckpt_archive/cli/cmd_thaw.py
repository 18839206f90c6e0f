"""`ckpt-archive thaw`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.asking import go_on
from ckpt_archive.cli.columns import Value
from ckpt_archive.cli.money import price_book, usd_text
from ckpt_archive.cli.parameters import attempt_option, run_argument
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop
from ckpt_archive.commit import catalog
from ckpt_archive.commit.endings import check_not_over
from ckpt_archive.restore.selection import Selection
from ckpt_archive.retention import thawing
from ckpt_archive.retention.money.prices import BOOKS, PriceBook
from ckpt_archive.retention.thawing import Share
from ckpt_archive.settings import Environment
from ckpt_archive.store.bucket import Warmth


@verb("thaw", example="ckpt-archive thaw llama-7b 1500 --tier Bulk --days 7 --wait", exits=(3, 4, 6, 7))
@run_argument
@click.argument("step", metavar="STEP", type=click.IntRange(min=0))
@attempt_option
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="Only what this writer contributed.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only files whose path matches; may be repeated.")
@click.option(
    "--tier",
    type=click.Choice(thawing.TIERS),
    default=thawing.TIERS[0],
    show_default=True,
    help="How fast, and how dear.",
)
@click.option(
    "--days",
    type=click.IntRange(1, thawing.MAX_DAYS),
    default=7,
    show_default=True,
    metavar="N",
    help="How long it stays readable.",
)
@click.option(
    "--prices", metavar=f"FILE|{'|'.join(BOOKS)}", help="A price book; else one that has these storage classes."
)
@click.option("--yes", is_flag=True, help="Ask for it without a question.")
@click.option("--wait", is_flag=True, help="Wait until it can be read: hours.")
def command(
    frame: Frame,
    /,
    *,
    run: str,
    step: int,
    attempt: int | None,
    rank: int | None,
    include: tuple[str, ...],
    tier: str,
    days: int,
    prices: str | None,
    yes: bool,
    wait: bool,
) -> None:
    """Ask for data that lies in a cold storage class.

    Says first how many objects and bytes that is, what it costs and how long it takes; then asks. May be repeated: what was
    asked for, or is thawed, is counted and left alone. A file in an object that holds many small ones brings all of it.
    """
    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    actor = Environment.read().actor
    place = catalog.find(connection.store, run, step, attempt)
    frame.screen.note(check_not_over(connection.store, place))
    thawer = thawing.thawer_of(connection)
    share = thawing.look(machine, connection, thawer, place, Selection.of(include, rank))
    cold = share.of(Warmth.COLD)
    usd: float | None = None
    if cold:
        book = _book(share, prices)
        cold_bytes = sum(item.size_bytes for item in cold)
        costs = thawing.estimate(cold, book, tier)
        usd = costs.usd
        frame.screen.note(
            f"{place}: {len(cold)} of {len(share.items)} objects are cold, {size_text(cold_bytes)}. "
            f"Thawing them ({tier}, for {days} days) costs about {usd_text(costs.usd)} USD, and beside it their storage "
            f"meanwhile; they can be read {thawing.hours_text(costs.hours)}."
        )
        for sentence in book.said:
            frame.screen.note(sentence)
        if not go_on(frame.screen, f"Thaw {len(cold)} objects?", yes=yes):
            return
    with Stop() as stop, frame.screen.progress() as progress:
        requested = thawing.request(
            machine, connection, thawer, share, days=days, tier=tier, actor=actor, progress=progress
        )
        before = share
        if requested or (wait and not share.is_readable):
            share = thawing.follow(machine, thawer, share, wait=wait, should_stop=stop, progress=progress)
    if share.is_readable and not before.is_readable:
        thawing.tell_thawed(machine, connection, share, actor=actor)
    frame.screen.result(_text(share, requested), _row(share, requested, usd))


def _book(share: Share, said: str | None) -> PriceBook:
    """The book that somebody named; else the first one that has all storage classes in which something is cold."""
    if said is not None:
        return price_book(said)
    classes = {item.storage_class for item in share.of(Warmth.COLD)}
    books = [price_book(name) for name in BOOKS]
    return next((book for book in books if classes <= book.storage.keys()), books[0])


def _state(share: Share) -> str:
    return "readable" if share.is_readable else "thawing" if not share.of(Warmth.COLD) else "cold"


def _text(share: Share, requested: int) -> str:
    if share.is_readable:
        until = "" if share.until_at is None else f" until {share.until_at:%Y-%m-%d %H:%M} UTC"
        return f"{share.place} can be read{until}:\n  {thawing.restore_command(share)}"
    thawing_now = len(share.of(Warmth.THAWING))
    asked = f"{requested} objects were asked for now; " if requested else ""
    place = share.place
    return (
        f"{share.place} is thawing: {asked}{thawing_now} of {len(share.items)} objects can not be read yet.\n"
        f"  ckpt-archive thaw {place.run} {place.step} --attempt {place.attempt} --wait"
    )


def _row(share: Share, requested: int, usd: float | None) -> dict[str, Value]:
    place = share.place
    return {
        "run": place.run,
        "step": place.step,
        "attempt": place.attempt,
        "state": _state(share),
        "objects": len(share.items),
        "size_bytes": sum(item.size_bytes for item in share.items),
        "cold": len(share.of(Warmth.COLD)),
        "thawing": len(share.of(Warmth.THAWING)),
        "thawed": len(share.of(Warmth.THAWED)),
        "requested": requested,
        "usd": usd,
        "until_at": share.until_at,
        "command": thawing.restore_command(share) if share.is_readable else "",
    }

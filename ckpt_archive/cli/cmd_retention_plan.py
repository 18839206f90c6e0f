"""`ckpt-archive retention plan`."""

import os

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.money import price_book, prices_option
from ckpt_archive.cli.parameters import archive_url
from ckpt_archive.cli.retention_parameters import policy_option, read_policy
from ckpt_archive.cli.retention_show import show_plan
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.commit.event import store_time
from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.retention.engineless.orphans import find_orphans
from ckpt_archive.retention.passes.apply import tags_in_use
from ckpt_archive.retention.plans.lacking import lacking
from ckpt_archive.retention.plans.planning import CKPT_ARCHIVE, SHOWN, make_plan
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.retention.rules.tfvars import FILE_NAME, encode, variables_file

_TERRAFORM = "terraform"


@verb(
    "retention plan",
    example="ckpt-archive retention plan\nckpt-archive retention plan --policy retention.toml --format terraform",
    exits=(3, 4, 6),
)
@policy_option
@prices_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", _TERRAFORM]),
    default="table",
    show_default=True,
    help="What to make: something to read, or variables of the Terraform module.",
)
@click.option("--out", metavar="FILE", help=f"Where to write the variables; else {FILE_NAME}. '-' prints them.")
def command(frame: Frame, /, policy: str | None, prices: str, form: str, out: str | None) -> None:
    """Show what the policy would change, with reasons, bytes and money.

    First the lifecycle rules of the bucket: added (+), changed (~), removed (-), not ours (=). Then what becomes of how many
    checkpoints of each class, and the first 20 of these with their reasons; -v and --json show all. At last what belongs to
    no checkpoint and costs money all the same: `retention run --orphans` removes it. Nothing is changed, and exit 0 says
    nothing about whether there is anything to change. `apply --plan ID` does exactly this, without the orphans.

    Costs, for each run, one listing per 1,000 checkpoints, per 1,000 statements about them, and two per 1,000 of their
    folders; for each checkpoint that changes, or has no class yet, two requests.
    """
    chosen = read_policy(policy)
    if form == _TERRAFORM:
        _terraform(frame, chosen, out or FILE_NAME)
        return
    if out is not None:
        raise click.UsageError("--out is for --format terraform")
    connection = Archive.open(frame.archive_url).connection
    show = None if frame.as_json or frame.verbosity > 0 else SHOWN
    machine, book = compose.system_machine(), price_book(prices)
    plan = make_plan(machine, connection, chosen, prices=book, show=show)
    show_plan(frame.screen, plan, find_orphans(connection, machine, store_time(connection.store)), book)
    for text in lacking(chosen, connection.bucket):
        frame.screen.note(text)


def _terraform(frame: Frame, policy: Policy, out: str) -> None:
    prefix, in_use = _bucket(frame)
    text = encode(variables_file(policy, prefix, sorted(in_use)))
    if out == "-":
        click.echo(text, nl=False)
        return
    path = os.path.abspath(out)
    part = f"{path}.new"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)
    rules = len(variables_file(policy, prefix, sorted(in_use))["lifecycle_rules"])
    frame.screen.result(f"{out} has {rules} lifecycle rules", {"file": path, "rules": rules})
    if policy.lifecycle_owner == CKPT_ARCHIVE:
        frame.screen.note(
            f'the policy {policy.name!r} says that apply writes the rules: write lifecycle_owner = "terraform" into it'
        )


def _bucket(frame: Frame) -> tuple[str, frozenset[str]]:
    """The archive's prefix in its bucket, and the tags that are in use; none if the bucket is still to be made."""
    url = archive_url(frame.archive_url)
    if not url.startswith("s3://"):
        raise InvalidInputError(
            f"{url} is in no bucket, so there are no rules for Terraform", hint="Use s3://bucket/prefix."
        )
    try:
        connection = Archive.open(url).connection
    except NotFoundError:
        prefix = url.removeprefix("s3://").partition("/")[2].strip("/")
        frame.screen.note(f"there is no archive at {url} yet: the rules are those of the policy alone")
        return f"{prefix}/" if prefix else "", frozenset()
    prefix = "" if connection.bucket is None else connection.bucket.prefix
    return prefix, tags_in_use(connection)

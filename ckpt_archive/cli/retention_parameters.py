"""The options by which verbs are told the policy, checkpoints and a reason, and what they mean."""

import re

import click

from ckpt_archive.commit.connection import Connection
from ckpt_archive.retention.policy.file import FILE_NAME, MAX_FILE_BYTES, PRESETS, find_policy
from ckpt_archive.retention.policy.in_force import policy_in_force, read_in_force
from ckpt_archive.retention.policy.values import Policy


def step_range(text: str) -> tuple[int, int]:
    """The first and the last step of ``100`` or ``100-900``."""
    found = re.fullmatch(r"([0-9]{1,12})(?:-([0-9]{1,12}))?", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is neither a step such as 100 nor steps such as 100-900")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise click.BadParameter(f"{text!r}: write the smaller step first, {last}-{first}")
    return first, last


policy_option = click.option(
    "--policy",
    metavar="FILE",
    help=f"The policy: a file, or a preset ({', '.join(PRESETS)}); else {FILE_NAME} if it is here, else default.",
)

reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why: it is recorded for good.")
steps_option = click.option("--steps", type=step_range, metavar="N|N-M", help="A step, or all from one to another.")


def read_policy(said: str | None) -> Policy:
    """The policy that `policy_option` says.

    Raises:
        InvalidInputError: If there is no such file, or something is wrong with it.
    """
    return find_policy(said, _read)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            # One more than may be there: what is longer is refused, and not read whole.
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None


def counting_policy(connection: Connection, said: str | None = None) -> tuple[Policy, bool]:
    """The policy that counts for an archive, and whether one is in force there.

    Args:
        connection: The archive.
        said: As `policy_option` says, which counts more; None: the one in force, else as `policy_option` says.

    Raises:
        InvalidInputError: If there is no such file, or something is wrong with it.
        IntegrityError: If what is stored of the one in force is damaged.
        UnavailableError: If the store does not answer.
    """
    if said is None:
        policy = policy_in_force(connection.store, connection.archive_id)
        return (read_policy(None), False) if policy is None else (policy, True)
    return read_policy(said), read_in_force(connection.store, connection.archive_id).applied is not None

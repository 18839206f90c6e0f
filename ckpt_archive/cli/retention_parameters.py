"""The option by which verbs are told the policy, and what it means."""

import click

from ckpt_archive.retention.policy import Policy
from ckpt_archive.retention.policy_file import FILE_NAME, MAX_FILE_BYTES, PRESETS, find_policy

policy_option = click.option(
    "--policy",
    metavar="FILE",
    help=f"The policy: a file, or a preset ({', '.join(PRESETS)}); else {FILE_NAME} if it is here, else default.",
)


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

"""Parameter types of the command line, and parameters that several verbs share."""

import math
import os
import re
from dataclasses import replace

import click

from ckpt_archive import settings
from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.settings import Environment
from ckpt_archive.transfer.settings import TransferSettings

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
# Longer ones would be infinite, or no number that anybody means.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def duration(text: str) -> float:
    """Seconds from a number with a unit: ``90``, ``90s``, ``25m``, ``1.5h``, ``2d``."""
    match = re.fullmatch(rf"({_NUMBER})([smhd]?)", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 25m or 1.5h")
    return float(match[1]) * _UNITS[match[2]]


def byte_count(text: str) -> int:
    """Bytes from a number with a binary unit: ``500000``, ``64K``, ``100M``, ``1.5G``."""
    match = re.fullmatch(rf"({_NUMBER})([KMG]?)(?:iB)?", text)
    if match is None or int(float(match[1]) * _BYTES[match[2]]) < 1:
        raise click.BadParameter(f"{text!r} is not a number of bytes such as 500000, 64K, 100M or 1.5G")
    return int(float(match[1]) * _BYTES[match[2]])


def named_text(text: str) -> tuple[str, str]:
    """Name and value of ``name=value``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def named_number(text: str) -> tuple[str, float]:
    """Name and value of ``name=number``."""
    name, value = named_text(text)
    try:
        number = float(value)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {value!r} is not a number") from error
    if not math.isfinite(number):
        raise click.BadParameter(f"{text!r}: the number must be finite")
    return name, int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else number


def step_choice(text: str) -> int | str:
    """A step, ``latest`` or ``latest-archived``."""
    if text in ("latest", "latest-archived"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"{text!r} is neither a step nor 'latest' nor 'latest-archived'")
    return int(text)


run_argument = click.argument("run", metavar="RUN")
step_argument = click.argument("step", metavar="[STEP]", required=False, type=step_choice)
attempt_option = click.option(
    "--attempt", type=click.IntRange(min=0), metavar="N", help="The attempt; else the newest one that has the step."
)
bandwidth_option = click.option(
    "--bandwidth",
    type=byte_count,
    metavar="BYTES",
    help="The most bytes a second to send, such as 100M; else no limit.",
)
part_size_option = click.option(
    "--part-size", type=byte_count, metavar="BYTES", help="Size of the parts of an upload, such as 16M; else 64M."
)
network_staging_option = click.option(
    "--network-staging", is_flag=True, help="Allow a staging folder on a network file system, where locks may not lock."
)
maintain_option = click.option(
    "--maintain",
    type=click.Choice(["auto", "external"]),
    default="auto",
    show_default=True,
    help="Who brings what is archived into the log and the index: this command beside its work, or something else.",
)
staging_option = click.option(
    "--staging", metavar="DIR", help=f"The staging folder of this node; else {settings.STAGING}."
)


def staging_folder(given: str | None, *, must_exist: bool = False) -> str:
    """The staging folder, absolute.

    Raises:
        InvalidInputError: If neither the option nor the environment names one.
        NotFoundError: If it must exist, and does not.
    """
    folder = given or Environment.read().staging
    if not folder:
        raise InvalidInputError("no staging folder was named", hint=f"Use --staging DIR, or set {settings.STAGING}.")
    path = os.path.abspath(folder)
    if must_exist and not os.path.isdir(path):
        named_by = "--staging" if given else settings.STAGING
        raise NotFoundError(f"there is no staging folder {path}", hint=f"Check {named_by}.")
    return path


def transfer_settings(bandwidth: int | None, part_size: int | None) -> TransferSettings:
    """What `bandwidth_option` and `part_size_option` say."""
    settings = TransferSettings(bandwidth_bytes_per_second=bandwidth)
    return settings if part_size is None else replace(settings, part_size_bytes=part_size)


def archive_url(given: str | None) -> str:
    """The archive's URL for verbs that do not open it.

    Raises:
        InvalidInputError: If neither the option nor the environment names one.
    """
    url = given or Environment.read().archive_url
    if not url:
        raise InvalidInputError("no archive was named", hint=f"Use --archive URL, or set {settings.ARCHIVE_URL}.")
    return url

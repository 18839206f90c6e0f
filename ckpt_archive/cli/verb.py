"""What all commands have in common: options, an example at the end of the help, the exit codes, the screen they print to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import click

from ckpt_archive import settings
from ckpt_archive.cli.exits import MEANINGS
from ckpt_archive.cli.output import Screen

P = ParamSpec("P")
Body = Callable[Concatenate["Frame", P], int | None]


@dataclass(frozen=True, slots=True)
class Frame:
    """What was said before or after the verb.

    Attributes:
        archive_url: ``--archive``; None leaves it to the environment.
        as_json: ``--json``.
        verbosity: How many ``-v``; ``-q`` is -1.
    """

    archive_url: str | None = None
    as_json: bool = False
    verbosity: int = 0

    @property
    def screen(self) -> Screen:
        """Where results and notes go."""
        return Screen(as_json=self.as_json, verbosity=self.verbosity)

    def joined(self, *, archive: str | None, json: bool, verbose: int, quiet: bool) -> "Frame":
        """With options that were said in another place; the later one counts."""
        return Frame(
            archive_url=archive or self.archive_url,
            as_json=json or self.as_json,
            verbosity=-1 if quiet else verbose or self.verbosity,
        )


def common_options() -> list[click.Parameter]:
    """The options that stand before or after the verb."""
    return [
        click.Option(
            ["--archive"], metavar="URL", help=f"s3://bucket/prefix or file:///path; else {settings.ARCHIVE_URL}."
        ),
        click.Option(["--json"], is_flag=True, help="Print one JSON document: a list of objects."),
        click.Option(["-v", "--verbose"], count=True, help="Say more; twice for everything."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Say nothing but results and errors."),
    ]


class Verb(click.Command):
    """A command that takes the common options too, and hands its body a `Frame`."""

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        before = ctx.obj if isinstance(ctx.obj, Frame) else Frame()
        said = {name: ctx.params.pop(name) for name in ("archive", "json", "verbose", "quiet")}
        ctx.obj = before.joined(**said)
        ctx.obj.screen.prepare_logging()
        return super().invoke(ctx)


def verb(name: str, *, example: str, exits: Sequence[int]) -> Callable[[Body[P]], Verb]:
    """Make a command of a function that takes a `Frame` and its parameters, and returns an exit code or None.

    Args:
        name: The verb.
        example: Lines that end its help.
        exits: The exit codes it may have beside 0 and 2.
    """

    def decorate(body: Body[P]) -> Verb:
        parameters = list(reversed(getattr(body, "__click_params__", [])))
        return Verb(
            name,
            callback=click.pass_obj(body),
            params=[*parameters, *common_options()],
            help=(body.__doc__ or "").strip(),
            epilog=f"{exit_codes(exits)}\n\n\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
        )

    return decorate


def exit_codes(exits: Sequence[int]) -> str:
    """A paragraph for the help, marked so that click does not join its lines."""
    codes = sorted({0, 2, *exits})
    return "\b\nExit codes:\n" + "\n".join(f"  {code}  {MEANINGS[code]}" for code in codes)

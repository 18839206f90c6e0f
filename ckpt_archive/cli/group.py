"""Groups of verbs that know them by name alone: a verb's module is loaded when it is run or asked for its own help."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from ckpt_archive.cli.verb import Frame, common_options, exit_codes


class Verbs(click.Group):
    """A group of verbs.

    Args:
        verbs: The first sentence of each verb's help, by its name.
        module: What the names of their modules begin with.
        attributes: See `click.Group`.
    """

    def __init__(self, *arguments: Any, verbs: Mapping[str, str], module: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.verbs = verbs
        self._module = module

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        del ctx
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        del ctx
        if cmd_name not in self.verbs:
            return None
        module = importlib.import_module(f"{self._module}{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group.format_commands`."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))


def begin(ctx: click.Context, /, archive: str | None, json: bool, verbose: int, quiet: bool) -> None:
    """What a group does before its verb: the common options may stand here too."""
    before = ctx.obj if isinstance(ctx.obj, Frame) else Frame()
    ctx.obj = before.joined(archive=archive, json=json, verbose=verbose, quiet=quiet)


def subgroup(name: str, *, verbs: Mapping[str, str], text: str, example: str, exits: list[int]) -> Verbs:
    """A verb that is a group of verbs, each in a module ``cmd_<name>_<verb>``.

    Args:
        name: The verb.
        verbs: See `Verbs`.
        text: Its help.
        example: Lines that end its help.
        exits: The exit codes that its verbs may have beside 0 and 2.
    """
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return Verbs(
        name,
        verbs=verbs,
        module=f"ckpt_archive.cli.cmd_{name}_",
        callback=click.pass_context(begin),
        params=common_options(),
        no_args_is_help=False,
        help=text,
        epilog=f"{exit_codes(exits)}\n\n\b\nExample:\n{lines}",
    )

"""The command `ckpt-archive`: finds the verb, runs it, and turns what it raises into a message and an exit code."""

import importlib.metadata
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

import click

from ckpt_archive.cli import exits, interrupt
from ckpt_archive.cli.group import Verbs, begin
from ckpt_archive.cli.verb import common_options, exit_codes
from ckpt_archive.errors import CkptArchiveError

# A verb's module is loaded when it is run or asked for its own help; `--help` needs none of them.
VERBS: Mapping[str, str] = MappingProxyType(
    {
        "init": "Create an archive, and see what its store can do.",
        "demo": "See the whole story on this machine: train, kill, resume, verify.",
        "dev-server": "Run a real S3 server on this machine, for trying things.",
        "doctor": "Find what is wrong, and the command that mends it.",
        "status": "Show this node's checkpoints, offline and without credentials.",
        "push": "Archive one directory now.",
        "agent": "Archive what is staged on this node, until stopped.",
        "drain": "Wait until this node's promoted checkpoints are archived.",
        "ls": "List runs, or the checkpoints of a run.",
        "show": "Show a checkpoint's files, or a script that fetches them without us.",
        "restore": "Fetch a checkpoint and verify every byte.",
        "verify": "Check that what is archived is what was staged.",
        "index": "Make the index, compare it with the archive, keep it small.",
        "query": "Ask the index a question in SQL.",
        "retention": "How long what is kept: one policy, priced, planned, applied, compared.",
        "usage": "Show who stores how much, and what it costs.",
        "drop": "Let checkpoints end that nobody wants any more.",
        "undrop": "Take a drop back while there is time.",
        "thaw": "Ask for data that lies in a cold storage class.",
        "import": "Adopt objects that are in the bucket already, in place.",
        "copy": "Copy a run to another archive, byte for byte.",
        "maintain": "Do all that is to be done periodically, within a budget.",
    }
)


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    del parameter
    if wanted and not ctx.resilient_parsing:
        click.echo(f"ckpt-archive {importlib.metadata.version('ckpt-archive')}")
        ctx.exit()


_VERSION = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)


group = Verbs(
    "ckpt-archive",
    verbs=VERBS,
    module="ckpt_archive.cli.cmd_",
    callback=click.pass_context(begin),
    params=[*common_options(), _VERSION],
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "From a training job's local SSD to object storage, provably."
        "\n\nThe options below may stand before or after the verb."
    ),
    epilog=f"{exit_codes(range(8))}\n\n\b\nExample:\n  ckpt-archive --archive s3://bucket/prefix ls",
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    if not arguments:
        _run(["--help"])
        return exits.USAGE
    as_json = "--json" in arguments
    try:
        return _run(arguments)
    except click.ClickException as error:
        failure = exits.from_click(error)
    except (KeyboardInterrupt, click.Abort):
        # Where the signal does not end the process itself: see `interrupt`.
        if not as_json:
            sys.stderr.write("interrupted\n")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it; the interpreter must not complain about it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.READER_GONE
    except CkptArchiveError as error:
        failure = error
    except OSError as error:
        failure = exits.from_os(error)
    sys.stderr.write(exits.describe(failure, as_json=as_json))
    return failure.exit_code


def _run(arguments: Sequence[str]) -> int:
    # Not `group.main`: it answers a closed pipe with 1, which means something else here.
    try:
        with group.make_context("ckpt-archive", list(arguments)) as context:
            answer = group.invoke(context)
    except click.exceptions.Exit as end:
        answer = end.exit_code
    sys.stdout.flush()
    return answer if isinstance(answer, int) else 0


def main() -> NoReturn:
    """The entry point."""
    interrupt.leave_at_once()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""`ckpt-archive show`."""

import sys
from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import digest_column, key_column, number_column, size_column, text_column
from ckpt_archive.cli.parameters import attempt_option, run_argument, step_argument
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.scripts import SCRIPTS, ScriptFile
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.commit.endings import check_not_over
from ckpt_archive.place import Place

_FILES = (
    text_column("path"),
    size_column("size_bytes"),
    digest_column("sha256"),
    number_column("rank"),
    key_column("key"),
    number_column("offset"),
)


@verb(
    "show",
    example="ckpt-archive show llama-7b latest\nckpt-archive show llama-7b 1500 --as aws | sh",
    exits=(3, 4, 6),
)
@run_argument
@step_argument
@attempt_option
@click.option("--as", "script", type=click.Choice(sorted(SCRIPTS)), help="Print what fetches or checks it without us.")
def command(frame: Frame, /, run: str, step: int | str | None, attempt: int | None, script: str | None) -> None:
    """Show a checkpoint's files, or a script that fetches them without us.

    STEP is a number or 'latest' (the default).

    --as sha256sum prints lines for `sha256sum --check`; --as aws and --as curl print a shell script that fetches every file
    into the current folder and checks it.
    """
    if script and frame.as_json:
        raise click.UsageError("--as prints a script, --json a document: choose one")
    archive = Archive.open(frame.archive_url)
    details = archive.show(run, step, attempt=attempt)
    info = details.info
    title = f"{info.run} step {info.step} (attempt {info.attempt})"
    if script:
        warning = check_not_over(archive.connection.store, Place(info.run, info.attempt, info.step))
        if warning:
            frame.screen.note(warning)
        files = [
            ScriptFile(file.path, file.size_bytes, file.sha256, file.key or None, file.offset) for file in details.files
        ]
        sys.stdout.write(SCRIPTS[script](archive.url, f"{title} of {archive.url}", files))
        return
    rows = [asdict(file) for file in details.files]
    if frame.as_json:
        frame.screen.document([{**asdict(info), "manifest": details.manifest, "contents": rows}])
        return
    committed = f", committed {info.committed_at:%Y-%m-%d %H:%M:%SZ}" if info.committed_at else ""
    frame.screen.note(f"{title}{committed}, {info.writers} writers, {size_text(info.size_bytes)}")
    for name, members in (("metrics", info.metrics), ("labels", info.labels)):
        if members:
            frame.screen.note(f"{name}: " + " ".join(f"{key}={value}" for key, value in sorted(members.items())))
    frame.screen.note(f"manifest sha256: {info.manifest_sha256}")
    if info.state != "kept" or info.held:
        by = f" by class {info.retention_class}" if info.retention_class else ""
        day = f" on {info.ends_at:%Y-%m-%d}" if info.ends_at else ""
        end = {"kept": "", "ending": f"ends{day}{by}", "ended": f"its data has ended{day}{by}"}[info.state]
        frame.screen.note(", ".join(filter(None, [end, "held" if info.held else ""])))
    frame.screen.rows(_FILES, rows)

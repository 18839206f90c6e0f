"""`ckpt-archive doctor`."""

from dataclasses import asdict

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.store.probe import Capability, State
from ckpt_archive.strictjson import Json

_COLUMNS = (text_column("severity"), text_column("what"), text_column("detail"), text_column("command"))

# What the archive can not do without; everything else is done in another way.
_NEEDED = ("conditional_create", "create_race", "multipart")


@verb("doctor", example="ckpt-archive doctor --archive s3://bucket/prefix", exits=(1, 3, 4, 6))
def command(frame: Frame, /) -> int:
    """Find what is wrong, and the command that mends it.

    Tries what the store can do, looks for checkpoints that nobody committed and for uploads that nobody goes on with. Notes
    alone are no findings: exit 0.
    """
    archive = Archive.open(frame.archive_url)
    rows: list[dict[str, Json]] = [_limitation(item) for item in archive.probe().capabilities if item.state is State.NO]
    rows += [asdict(finding) for finding in archive.doctor()]
    frame.screen.rows(_COLUMNS, rows, nothing=f"{archive.url}: nothing is wrong.")
    return FINDINGS if any(row["severity"] != "note" for row in rows) else 0


def _limitation(capability: Capability) -> dict[str, Json]:
    return {
        "severity": "error" if capability.name in _NEEDED else "note",
        "what": f"no {capability.name.replace('_', ' ')}",
        "detail": f"the store: {capability.meaning}",
        "command": "",
    }

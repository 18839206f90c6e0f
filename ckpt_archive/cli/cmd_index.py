"""`ckpt-archive index`: a group of verbs."""

from collections.abc import Mapping
from types import MappingProxyType

from ckpt_archive.cli.group import subgroup

VERBS: Mapping[str, str] = MappingProxyType(
    {
        "sync": "Bring what is new into the log and the index.",
        "rebuild": "Make the index anew from the log.",
        "check": "Compare the index with the records of the archive.",
        "reconcile": "Look for records that no marker has told of.",
        "compact": "Join the small files of the index.",
        "vacuum": "Remove files that the index does not name any more.",
        "ddl": "Print what makes the tables known to an engine.",
    }
)

command = subgroup(
    "index",
    verbs=VERBS,
    text=(
        "Make the index, compare it with the archive, keep it small."
        "\n\nThe index is derived: it can be thrown away and made again. Any number of these verbs may run at once, on any "
        "machines, be killed anywhere, and be run again. To ask it: ckpt-archive query."
    ),
    example="ckpt-archive index sync\nckpt-archive index check --all",
    exits=[1, 3, 4, 5, 6],
)

"""`ckpt-archive retention`: a group of verbs."""

from collections.abc import Mapping
from types import MappingProxyType

from ckpt_archive.cli.group import subgroup

VERBS: Mapping[str, str] = MappingProxyType(
    {
        "plan": "Show what the policy would change, with reasons, bytes and money.",
        "apply": "Do exactly what a plan shows.",
        "drift": "Compare the bucket with the policy, both ways.",
        "assign": "Give a checkpoint a class.",
        "run": "Carry out what has ended, where the store does not do it itself.",
        "hold": "Keep a run or a checkpoint, whatever its class, until it is released.",
        "release": "Take a hold back.",
        "simulate": "Show what a policy costs over the years.",
    }
)

command = subgroup(
    "retention",
    verbs=VERBS,
    text=(
        "How long what is kept: one policy, priced, planned, applied, compared."
        "\n\nThe policy is a file, retention.toml; without one the preset 'default' counts. Nothing is deleted that was not "
        "announced, and nothing that is held. If nobody runs these verbs, things cost money and nothing is lost."
    ),
    example="ckpt-archive retention simulate\nckpt-archive retention plan\nckpt-archive retention apply --yes",
    exits=[1, 3, 4, 5, 6],
)

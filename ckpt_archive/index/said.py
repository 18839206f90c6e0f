"""What is said freely in records, as columns: labels, lineage, sources. Nothing in here decides anything."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckpt_archive.index import limits
from ckpt_archive.strictjson import Json, encode

_MOST = 2**63
_NOT_NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "nan": "nan", "inf": "inf", "-inf": "-inf"}

Source = Mapping[str, str | int | None]
"""The columns of `run_sources` that say what a source is."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a run.

    Attributes:
        columns: Those of `runs` that say what a run is.
        digest: Of these.
    """

    columns: Mapping[str, str | None]
    digest: int

    @classmethod
    def of(cls, labels: Mapping[str, Json]) -> "Labels":
        """From the member of a record."""
        columns = {name: text(labels.get(name)) for name in ("project", "owner", "purpose", "risk_class")}
        columns["labels"] = limits.json_text(labels)
        return cls(columns, run_digest(columns.values()))

    @property
    def project(self) -> str | None:
        """The label `project`."""
        return self.columns["project"]

    @property
    def text(self) -> str | None:
        """All, as JSON."""
        return self.columns["labels"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a checkpoint came from.

    Attributes:
        code_commit: See the columns of `checkpoints`, as for all but the last two.
        code_dirty: …
        config_sha256: …
        environment_sha256: …
        text: …
        sources: At most as many as the index lists.
        source_count: How many there are.
    """

    code_commit: str | None
    code_dirty: bool | None
    config_sha256: str | None
    environment_sha256: str | None
    text: str | None
    sources: Sequence[Source]
    source_count: int

    @classmethod
    def of(cls, lineage: Mapping[str, Json]) -> "Lineage":
        """From the member of a record."""
        code, config, environment = (_mapping(lineage.get(name)) for name in ("code", "config", "environment"))
        said = lineage.get("sources")
        named = said if isinstance(said, list) else []
        dirty = code.get("dirty")
        return cls(
            code_commit=text(code.get("commit")),
            code_dirty=dirty if isinstance(dirty, bool) else None,
            config_sha256=text(config.get("sha256")),
            environment_sha256=text(environment.get("sha256")),
            text=limits.json_text({name: value for name, value in lineage.items() if name != "sources"}),
            sources=[_source(item) for item in named[: limits.MAX_SOURCES] if isinstance(item, str | dict)],
            source_count=len(named),
        )


def run_digest(said: Iterable[str | None]) -> int:
    """Of what is said about a run: so many bits that two will not be taken for one."""
    return int.from_bytes(hashlib.blake2b(encode(list(said)), digest_size=16).digest())


def source_columns(said: Mapping[str, Json]) -> dict[str, str | int | None]:
    """A source as columns."""
    rest = {
        name: value for name, value in said.items() if name not in ("uri", "version", "digest", "licence", "records")
    }
    return {
        "uri": text(said.get("uri")),
        "version": text(said.get("version")),
        "digest": text(said.get("digest")),
        "licence": text(said.get("licence")),
        "records": integer(said.get("records")),
        "details": limits.json_text(rest),
    }


def text(value: Json) -> str | None:
    """A text, or a number as one; None for anything else, and for the empty text."""
    if type(value) is str:
        return limits.text(value) or None
    if type(value) is float or (type(value) is int and abs(value) < _MOST):
        return str(value)
    return None


def integer(value: Json) -> int | None:
    """An integer of 64 bits; None for anything else."""
    return value if type(value) is int and -_MOST <= value < _MOST else None


def number(value: Json) -> float | None:
    """A number, also one that is spelled as a text because JSON has none such; None for anything else."""
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value) if abs(value) < 10**300 else None
    return float(_NOT_NUMBERS[value]) if type(value) is str and value in _NOT_NUMBERS else None


def _source(item: Json) -> Source:
    return source_columns({"uri": item} if isinstance(item, str) else item)


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}

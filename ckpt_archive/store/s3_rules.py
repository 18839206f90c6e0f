"""Lifecycle rules between S3's XML and ours: as the SDK reads them, and the proof that it has read all there was.

The SDK drops without a word what its version does not know. A rule that comes back without one of its conditions does more
than it did, and it may be somebody else's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from ckpt_archive.errors import InvalidInputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_EVENT = "before-parse.s3.GetBucketLifecycleConfiguration"
_SENT = "CkptArchiveSent"


def keep_what_is_sent(client: "S3Client") -> None:
    """Let the answers of a new client that bring rules hold what the server sent, for `rules_of`."""
    client.meta.events.register(_EVENT, _keep)


def rules_of(answer: Any, bucket: str) -> list[dict[str, Any]]:
    """The rules of an answer, times as texts.

    Args:
        answer: The SDK's.
        bucket: For messages.

    Raises:
        InvalidInputError: If the server sent something that the SDK did not read.
        KeyError: If the answer has no rules.
    """
    rules = answer["Rules"]
    lost = Counter(_sent_leaves(answer[_SENT])) - Counter(_leaves(rules))
    if lost:
        raise InvalidInputError(
            f"the lifecycle rules of {bucket} say {', '.join(sorted(lost))}, which the installed boto3 does not know:"
            " writing them back would lose it",
            hint="Update boto3 (pip install --upgrade boto3), then repeat this.",
        )
    return [_plain(rule) for rule in rules]


def _keep(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    customized_response_dict[_SENT] = response_dict["body"]


def _sent_leaves(sent: bytes) -> Iterator[str]:
    """The names of all elements without children below the rules."""
    # The SDK has read the same bytes with the same parser.
    for child in ET.fromstring(sent) if sent else ():  # noqa: S314
        if _local(child.tag) == "Rule":
            yield from (_local(element.tag) for element in child.iter() if not len(element))


def _leaves(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return value

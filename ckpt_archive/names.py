"""Which names are allowed: runs, files inside a checkpoint, digests. Rules only, no I/O.

The same functions run when a checkpoint is sealed and when one is restored, so whatever can be archived can be restored,
and a manifest from an untrusted bucket can name nothing that a seal would have refused.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable

from ckpt_archive.errors import InvalidInputError

RUN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
CLASS_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
MILESTONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
EVENT_KIND = re.compile(r"[a-z][a-z-]{0,31}")
EVENT_ID = re.compile(r"[0-9a-f]{32}")

TRASH_CLASS = "trash"
"""The retention class of what somebody dropped: nothing is saved in it."""

MAX_STEP = 10**12 - 1
MAX_ATTEMPT = 10**8 - 1
MAX_RANK = 10**6 - 1
MAX_WRITERS = MAX_RANK + 1

# 255 bytes is the longest name that ext4, xfs, btrfs and every measured object store's key segment accept;
# the whole path stays below S3's key limit of 1,024 bytes, the depth below any tool's recursion.
MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 1_000
MAX_PATH_DEPTH = 32


def check_run_name(name: str) -> str:
    """Return `name` if it may name a run.

    Raises:
        InvalidInputError: If it does not match ``[a-z0-9][a-z0-9._-]{0,127}``; the hint proposes a name that would.
    """
    if isinstance(name, str) and RUN_NAME.fullmatch(name):
        return name
    proposal = re.sub(r"[^a-z0-9._-]+", "-", str(name)[:1_000].lower()).lstrip("._-")[:128]
    hint = "A run name is 1 to 128 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit."
    if RUN_NAME.fullmatch(proposal):
        hint += f" Try {proposal!r}."
    raise InvalidInputError(f"the run name {name!r} is not allowed", hint=hint)


def _check_number(value: int, what: str, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise InvalidInputError(f"the {what} {value!r} is not allowed", hint=f"Use an integer from 0 to {largest}.")
    return value


def check_step(step: int) -> int:
    """Return `step` if it is an integer from 0 to 10^12 - 1, else raise `InvalidInputError`."""
    return _check_number(step, "step", MAX_STEP)


def check_attempt(attempt: int) -> int:
    """Return `attempt` if it is an integer from 0 to 10^8 - 1, else raise `InvalidInputError`."""
    return _check_number(attempt, "attempt", MAX_ATTEMPT)


def check_rank(rank: int) -> int:
    """Return `rank` if it is an integer from 0 to 10^6 - 1, else raise `InvalidInputError`."""
    return _check_number(rank, "rank", MAX_RANK)


def check_writers(writers: int) -> int:
    """Return `writers` if it is an integer from 1 to 10^6, else raise `InvalidInputError`."""
    if isinstance(writers, bool) or not isinstance(writers, int) or not 1 <= writers <= MAX_WRITERS:
        raise InvalidInputError(
            f"writers = {writers!r} is not allowed", hint=f"Use an integer from 1 to {MAX_WRITERS}."
        )
    return writers


def check_file_path(path: str) -> str:
    """Return `path` if it may name a file inside a checkpoint.

    Allowed is a relative POSIX path in Unicode NFC whose components are 1 to 255 bytes of UTF-8 without control
    characters or backslashes, and never ``.`` or ``..``.

    Raises:
        InvalidInputError: Naming the path and the first rule it breaks.
    """
    problem = _path_problem(path)
    if problem is None:
        return path
    raise InvalidInputError(f"the file name {path!r} is not allowed: {problem}", hint="Rename the file.")


def _path_problem(path: str) -> str | None:
    try:
        length = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if not path:
        return "it is empty"
    if length > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path:
        return "it contains a backslash"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in path):
        return "it contains a control or invisible character"
    if unicodedata.normalize("NFC", path) != path:
        return "it is not in Unicode normal form NFC"
    components = path.split("/")
    if len(components) > MAX_PATH_DEPTH:
        return f"it is nested deeper than {MAX_PATH_DEPTH} folders"
    for component in components:
        if component in ("", ".", ".."):
            return f"it has the component {component!r}"
        if len(component.encode("utf-8")) > MAX_COMPONENT_BYTES:
            return f"a component is longer than {MAX_COMPONENT_BYTES} bytes"
    return None


def check_file_tree(paths: Iterable[str]) -> None:
    """Check that all `paths` are allowed and can stand in one folder together.

    Raises:
        InvalidInputError: If a path is not allowed, occurs twice, differs from another only in case (also as a folder),
            or is used both as a file and as a folder.
    """
    names = [check_file_path(path) for path in paths]
    # With a separator below all characters that a name may have, what lies in one folder, whatever its case, is side by
    # side, and a file comes before what would lie in a folder of its name.
    names.sort(key=lambda name: name.casefold().replace("/", "\0"))
    for before, name in itertools.pairwise(names):
        _check_neighbours(before, name)


def _check_neighbours(before: str, name: str) -> None:
    if before == name:
        raise InvalidInputError(f"the file name {name!r} occurs twice", hint="Each file is contributed once.")
    components = before.split("/")
    for depth, (first, second) in enumerate(zip(components, name.split("/"), strict=False), start=1):
        if first.casefold() != second.casefold():
            return
        if first != second:
            folder = components[: depth - 1]
            raise InvalidInputError(
                f"the file names {'/'.join([*folder, first])!r} and {'/'.join([*folder, second])!r} differ only in case",
                hint="Rename one: they could not be restored into every file system.",
            )
    raise InvalidInputError(f"{before!r} is both a file and a folder", hint="Rename one of them.")


def check_sha256(text: str) -> str:
    """Return `text` if it is 64 lower-case hexadecimal digits, else raise `InvalidInputError`."""
    if isinstance(text, str) and SHA256_HEX.fullmatch(text):
        return text
    raise InvalidInputError(f"{text!r} is not a SHA-256 digest", hint="Expected 64 lower-case hexadecimal digits.")


def check_class_name(text: str) -> str:
    """Return `text` if it may name a retention class that is given to a checkpoint, else raise `InvalidInputError`."""
    if isinstance(text, str) and CLASS_NAME.fullmatch(text) and text != TRASH_CLASS:
        return text
    hint = "A class is 1 to 32 characters of a-z, 0-9 and '-', a letter first, such as 'daily'."
    if text == TRASH_CLASS:
        hint = "What is not wanted any more is dropped: ckpt-archive drop."
    raise InvalidInputError(f"the retention class {text!r} is not allowed", hint=hint)


def check_milestone(text: str) -> str:
    """Return `text` if it may name a milestone, else raise `InvalidInputError`."""
    if isinstance(text, str) and MILESTONE.fullmatch(text):
        return text
    raise InvalidInputError(
        f"the milestone {text!r} is not allowed",
        hint="A name is 1 to 128 of letters, digits, '.', '_', '+' and '-', such as 'v1-rc1'.",
    )


def check_event_kind(text: str) -> str:
    """Return `text` if it may be the kind of an event, else raise `InvalidInputError`."""
    if isinstance(text, str) and EVENT_KIND.fullmatch(text):
        return text
    raise InvalidInputError(
        f"the kind of event {text!r} is not allowed",
        hint="A kind is 1 to 32 characters of a-z and '-'; a letter first.",
    )


def check_event_id(text: str) -> str:
    """Return `text` if it is 32 lower-case hexadecimal digits, else raise `InvalidInputError`."""
    if isinstance(text, str) and EVENT_ID.fullmatch(text):
        return text
    raise InvalidInputError(f"{text!r} is not an event's id", hint="Expected 32 lower-case hexadecimal digits.")


# S3's limit (Amazon S3 User Guide, "Object key names").
MAX_KEY_BYTES = 1024


def is_object_key(key: str) -> bool:
    """Whether it is a relative path of plain components, as every key of a store of ours is."""
    if len(key) > MAX_KEY_BYTES or "\0" in key or any("\ud800" <= character <= "\udfff" for character in key):
        return False  # file systems may hold names that are not UTF-8, and S3 takes none of these
    return len(key.encode()) <= MAX_KEY_BYTES and {"", ".", ".."}.isdisjoint(key.split("/"))


def check_object_key(key: str) -> str:
    """Return `key` if it is a relative path of plain components, as every key of a store of ours is.

    Raises:
        InvalidInputError: If it is empty, too long, or has a component that is empty, '.' or '..'.
    """
    if is_object_key(key):
        return key
    raise InvalidInputError(
        f"the key {key!r} is not allowed",
        hint=f"A key is a relative path of at most {MAX_KEY_BYTES} bytes without '.', '..' or empty components.",
    )

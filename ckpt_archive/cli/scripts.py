"""Scripts that fetch and check a checkpoint with nothing of ours. Text only, no I/O.

Every file is read by range, so packed files and whole objects are treated alike; the digests are compared with
`sha256sum` at the end. Credentials, region and endpoint come from the SDK's own environment variables when the script runs.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from ckpt_archive.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """A file as a script sees it.

    Attributes:
        path: Relative, '/'-separated.
        size_bytes: Length.
        sha256: Of the whole file.
        key: Of the object that holds it, relative to the archive, or whole with a '/' before it; None for an empty file.
        offset: Where it begins there.
    """

    path: str
    size_bytes: int
    sha256: str
    key: str | None
    offset: int


def sha256sum(files: Iterable[ScriptFile]) -> str:
    """Lines that `sha256sum --check` reads."""
    return "".join(f"{file.sha256}  {file.path}\n" for file in files)


def aws(url: str, title: str, files: Sequence[ScriptFile]) -> str:
    """A POSIX shell script around ``aws s3api get-object``."""
    bucket, prefix = _bucket(url)
    get = f"""
get() {{  # KEY FIRST-LAST FILE
  aws s3api get-object --bucket {shlex.quote(bucket)} --key "$1" --range "bytes=$2" "$3" >/dev/null
}}
"""
    needs = "aws and sha256sum; the usual AWS_... variables"
    return _script(title, needs, get, files, lambda key: shlex.quote(_full(prefix, key)))


def curl(url: str, title: str, files: Sequence[ScriptFile]) -> str:
    """A POSIX shell script around ``curl --aws-sigv4``."""
    bucket, prefix = _bucket(url)
    get = f"""
: "${{AWS_ACCESS_KEY_ID:?}}" "${{AWS_SECRET_ACCESS_KEY:?}}"
region=${{AWS_REGION:-${{AWS_DEFAULT_REGION:-us-east-1}}}}
base=${{AWS_ENDPOINT_URL_S3:-${{AWS_ENDPOINT_URL:-https://s3.$region.amazonaws.com}}}}
get() {{  # KEY FIRST-LAST FILE; the credentials go through a pipe, where no list of processes shows them
  {{
    printf 'user = "%s:%s"\\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
    [ -z "${{AWS_SESSION_TOKEN:-}}" ] || printf 'header = "x-amz-security-token: %s"\\n' "$AWS_SESSION_TOKEN"
  }} | curl --config - --fail --silent --show-error --retry 5 --globoff --aws-sigv4 "aws:amz:$region:s3" \\
    --range "$2" --output "$3" "${{base%/}}"/{quote(bucket)}/"$1"
}}
"""
    return _script(
        title,
        "curl 7.86 or newer, sha256sum; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL if it is not AWS",
        get,
        files,
        lambda key: shlex.quote(quote(_full(prefix, key))),
    )


SCRIPTS: Mapping[str, Callable[[str, str, Sequence[ScriptFile]], str]] = MappingProxyType(
    {
        "sha256sum": lambda _url, _title, files: sha256sum(files),
        "aws": aws,
        "curl": curl,
    }
)


def _script(title: str, needs: str, get: str, files: Sequence[ScriptFile], spell_key: Callable[[str], str]) -> str:
    lines = [
        "#!/bin/sh",
        f"# Fetches {title} into the current folder and checks every byte, without ckpt-archive.",
        f"# Needs {needs}.",
        "set -eu",
        get.strip(),
        "",
    ]
    folders = sorted({file.path.rpartition("/")[0] for file in files} - {""})
    lines += [f"mkdir -p {_local(folder)}" for folder in folders]
    for file in files:
        if file.key is None or file.size_bytes == 0:
            lines.append(f": >{_local(file.path)}")
        else:
            span = f"{file.offset}-{file.offset + file.size_bytes - 1}"
            lines.append(f"get {spell_key(file.key)} {span} {_local(file.path)}")
    return "\n".join(lines) + f"\n\nsha256sum --check --quiet --strict <<'END'\n{sha256sum(files)}END\n"


def _local(path: str) -> str:
    # The "./" keeps a name that begins with "-" from being an option.
    return shlex.quote(f"./{path}")


def _full(prefix: str, key: str) -> str:
    """The key in the bucket; what was adopted in place has a whole one, with a '/' before it."""
    return key[1:] if key.startswith("/") else prefix + key


def _bucket(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise InvalidInputError(
            f"{url} is not an S3 bucket",
            hint="Each key of a file:// archive is a plain file of the same path; check copies with --as sha256sum.",
        )
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""

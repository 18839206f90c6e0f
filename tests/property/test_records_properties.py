"""Whatever happens to the bytes of a stored record: it is read, or refused as what it is. Soon, and in little memory."""

import copy
import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive import record, strictjson
from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.decision import Decision
from ckpt_archive.commit.event import Event
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.errors import CkptArchiveError, IntegrityError, InvalidInputError
from ckpt_archive.local import gaps, share_facts
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.launch_records import LocalAttempt, LocalLaunch, Resume
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.sealed import Seal
from ckpt_archive.local.staging import Staging
from ckpt_archive.log.batch import Batch
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.staged import local_machine

GOLDEN = Path(__file__).parents[1] / "fixtures" / "format-1"
MACHINE = local_machine()

Decode = Callable[[bytes, str], object]

DECODERS: Mapping[str, Decode] = {
    "archive": ArchiveRecord.decode,
    "archived": share_facts.decode_archived,
    "decision": Decision.decode,
    "event": Event.decode,
    "digests": lambda data, what: Share.from_json(record.decode("digests", data, what)),
    "gap": share_facts.decode_gap,
    "launch": Launch.decode,
    "local-attempt": LocalAttempt.decode,
    "local-launch": LocalLaunch.decode,
    "local-resume": Resume.decode,
    "manifest": Manifest.decode,
    "marker": Marker.decode,
    "missed-save": gaps._decode,
    "promote": share_facts.decode_promotion,
    "receipt": Receipt.decode,
    "seal": Seal.decode,
    "sequence": Batch.decode,
}
"""How each kind is read."""

FORGIVING = ("agent-handover", "agent-status", "quarantine")
"""Kinds on which nothing depends: their readers pass over what they can not read."""

LONGEST_MESSAGE = 10_000
LONGEST_CPU_SECONDS = 1.0


def _golden() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for path in sorted((*GOLDEN.rglob("*.json"), *(GOLDEN / "archive" / "log" / "seq").iterdir())):
        if "files" not in path.parts:
            data = path.read_bytes()
            found.setdefault(str(json.loads(data)["format"]).removeprefix("ckpt-archive/"), []).append(data)
    return found


EXAMPLES = _golden()


def test_every_kind_is_here() -> None:
    assert EXAMPLES.keys() == {*DECODERS, *FORGIVING}


def read_or_refuse(decode: Decode, data: bytes) -> object:
    """What it says, or the error by which it was refused."""
    began = time.thread_time()
    try:
        found = decode(data, "the key")
    except (IntegrityError, InvalidInputError) as error:
        found = error
    assert time.thread_time() - began < LONGEST_CPU_SECONDS
    if isinstance(found, CkptArchiveError):
        assert "the key" in found.message
        assert len(str(found)) < LONGEST_MESSAGE
    return found


PIECES = [
    b"", b"\x00", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"0", b"-0", b"-1", b"1.0",
    b"1e3", b"1e999", b"-1e999", b"1e-999", b"NaN", b"Infinity", b"-Infinity", b"9" * 19, b"9" * 400, b"9" * 5_000,
    b"9" * 50_000, b"0." + b"9" * 50_000, b"1" + b"0" * 50_000 + b".5", b'"\\ud800"', b'"\\u0000"', b"\xef\xbb\xbf",
    b"[]", b"{}", b"[" * 15 + b"]" * 15, b"[" * 17 + b"]" * 17, b"[" * 50_000 + b"]" * 50_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes flipped, cut off, taken out and put in; members twice."""
    mutated = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(mutated)))
        match draw(st.sampled_from(["flip", "cut", "splice", "value", "twice"])):
            case "flip" if position < len(mutated):
                mutated[position] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del mutated[position:]
            case "splice":
                removed = draw(st.integers(0, 12))
                mutated[position : position + removed] = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
            case "value":
                # From some colon to the next comma: most often a whole value.
                colon, comma = mutated.find(b":", position), mutated.find(b",", position)
                if 0 <= colon < comma:
                    mutated[colon + 1 : comma] = draw(st.sampled_from(PIECES))
            case "twice":
                brace, comma = mutated.find(b"{", position), mutated.find(b",", position)
                if 0 <= brace < comma:
                    mutated[brace + 1 : brace + 1] = mutated[brace + 1 : comma + 1]
    return bytes(mutated)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_a_record_with_mutated_bytes_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    example = data.draw(st.sampled_from(EXAMPLES[kind]))
    found = read_or_refuse(DECODERS[kind], data.draw(mutations(example)))
    encode = getattr(found, "encode", None)
    if encode is not None:
        # What is read can be written, and says the same again.
        written = encode()
        assert DECODERS[kind](written, "the key") == found
        assert DECODERS[kind](written, "the key").encode() == written  # type: ignore[attr-defined]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ODD: list[Json] = [
    -1, 2**63, 1.5, True, "", "..", "../x", "/", "a\\b", "0" * 64, "0" * 8, "٣" * 8, "2026-03-01T12:00:00.000000Z",
    "2026-3-1T12:0:0.0Z", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:60.000000Z", [], {}, [[]], [{}], [0, 0], ["x"],
    10**400, -(10**4000), "x" * 100_000, ["requires"],
]  # fmt: skip


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_a_record_with_any_member_replaced_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    members = strictjson.decode(data.draw(st.sampled_from(EXAMPLES[kind])), "it")
    for _ in range(data.draw(st.integers(1, 2))):
        container, name = data.draw(st.sampled_from(list(slots(members))))
        container[name] = copy.deepcopy(data.draw(values | st.sampled_from(ODD)))
    try:
        written = json.dumps(members, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return
    read_or_refuse(DECODERS[kind], written)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_a_record_without_a_member_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    members = strictjson.decode(data.draw(st.sampled_from(EXAMPLES[kind])), "it")
    container, name = data.draw(st.sampled_from(list(slots(members))))
    del container[name]
    read_or_refuse(DECODERS[kind], record.with_checksum(members))


def slots(value: Json) -> Iterator[tuple[Json, Json]]:
    """Every place in a JSON value that can be replaced: (container, key)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield value, name
        yield from slots(inner)


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Staging:
    staging = Staging(MACHINE, str(tmp_path_factory.mktemp("ssd")), allow_network=True)
    staging.run("run").prepare()
    return staging


@given(data=st.data())
def test_what_nothing_depends_on_is_passed_over(staging: Staging, data: st.DataObject) -> None:
    root = Path(staging.root)

    def mutated(kind: str) -> bytes:
        return data.draw(mutations(EXAMPLES[kind][0]))

    (root / "agent.status.json").write_bytes(mutated("agent-status"))
    read_status(staging)

    (root / "agent.handover.json").write_bytes(mutated("agent-handover"))
    settings = AgentSettings()
    daemon = Daemon(MACHINE, Agent(MACHINE, staging, lambda _: pytest.fail("nobody is asked"), settings), settings)
    assert daemon._newer_wants_it() in (True, False)

    folder = Path(staging.run("run").quarantine) / "it"
    folder.mkdir(exist_ok=True)
    (folder / "content").touch()
    (folder / "reason.json").write_bytes(mutated("quarantine"))
    assert [found.name for found in quarantined(staging.run("run"))] == ["it"]


# --- large ones ----------------------------------------------------------------------------------------------------------

SIZE = 1 << 20
HEAD = b'{"format":"ckpt-archive/receipt","version":1,"x":'


def many_files() -> bytes:
    """A receipt whose files lie as deep as names allow, all in different folders."""
    members = json.loads(EXAMPLES["receipt"][0])
    folder = "/".join("folder" for _ in range(30))
    members["files"] = [
        {"path": f"{number:05d}/{folder}/f", "size": 0, "sha256": "0" * 64} for number in range(SIZE // 330)
    ]
    return json.dumps(members).encode()


def many_writers() -> bytes:
    members = json.loads(EXAMPLES["manifest"][0])
    count = SIZE // 120
    members["writers"] = count
    members["receipts"] = [{"rank": rank, "sha256": "0" * 64, "size": 1} for rank in range(count)]
    return json.dumps(members).encode()


LARGE: Mapping[str, bytes] = {
    "nested lists": HEAD + b"[" * SIZE,
    "nested lists that end": HEAD + b"[" * (SIZE // 2) + b"]" * (SIZE // 2) + b"}",
    "nested objects": HEAD + b'{"a":' * (SIZE // 5),
    "one text": HEAD + b'"' + b"x" * SIZE + b'"}',
    "one text of escapes": HEAD + b'"' + b"\\u00e9" * (SIZE // 6) + b'"}',
    "one text that never ends": HEAD + b'"' + b"x" * SIZE,
    "an integer": HEAD + b"9" * SIZE + b"}",
    "a fraction": HEAD + b"0." + b"9" * SIZE + b"}",
    "an exponent": HEAD + b"1e" + b"9" * SIZE + b"}",
    "a number and zeros": HEAD + b"1" + b"0" * SIZE + b".5e-1048576}",
    "zeros": HEAD + b"[" + b"0," * (SIZE // 2) + b"0]}",
    "objects": HEAD + b"[" + b"{}," * (SIZE // 3) + b"{}]}",
    "the last key twice": HEAD
    + b"{"
    + b"".join(b'"%d":0,' % number for number in range(SIZE // 10))
    + b'"1":0,"1":0}}',
    "a path": EXAMPLES["receipt"][0].replace(b'"path":"', b'"path":"' + b"x/" * (SIZE // 2), 1),
    "a time": EXAMPLES["receipt"][0].replace(b'"staged_at":"', b'"staged_at":"' + b"1" * SIZE, 1),
    "a format": b'{"format":"' + b"x" * SIZE + b'","version":1}',
    "requirements": EXAMPLES["receipt"][0].replace(b"{", b'{"requires":[' + b'"x",' * (SIZE // 4) + b'"x"],', 1),
    "spaces": b" " * SIZE + EXAMPLES["receipt"][0] + b" " * SIZE,
    "noise": random.Random(1).randbytes(SIZE),
    "files": many_files(),
    "writers": many_writers(),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_record_is_soon_read_or_refused(name: str) -> None:
    decode = Manifest.decode if name == "writers" else Receipt.decode
    read_or_refuse(decode, LARGE[name])


@pytest.mark.parametrize("name", LARGE)
def test_a_large_record_takes_a_bounded_amount_of_memory(name: str) -> None:
    decode = Manifest.decode if name == "writers" else Receipt.decode
    tracemalloc.start()
    try:
        with suppress(IntegrityError, InvalidInputError):
            decode(LARGE[name], "the key")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # An empty object takes three bytes as JSON, and some 70 with its place in a list.
    assert peak < 40 * len(LARGE[name]) + SIZE


def test_longer_records_are_refused_unread() -> None:
    with pytest.raises(IntegrityError, match="more than the 10"):
        strictjson.decode(EXAMPLES["archive"][0], "it", limit_bytes=10)

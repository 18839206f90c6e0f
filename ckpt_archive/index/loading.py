"""The state at one batch, read back from the tables that hold it: what a projector needs to go on."""

from collections.abc import Mapping

from ckpt_archive.index.reading import rows
from ckpt_archive.index.said import run_digest
from ckpt_archive.index.schema import LAUNCHES, LINEAGE_CLOSURE, LOG_SEQ, RUN_SOURCES, RUNS, TENSOR_LAYOUTS
from ckpt_archive.index.state import State, Way, source_key
from ckpt_archive.index.tables import OpenTable
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store

STATEFUL = (RUNS.name, LAUNCHES.name, RUN_SOURCES.name, LINEAGE_CLOSURE.name, TENSOR_LAYOUTS.name)
"""The tables that hold it."""

_SAID = ("project", "owner", "purpose", "risk_class", "labels")
_SOURCE = ("uri", "version", "digest", "licence", "records", "details")
_LEAVES = ("ancestor_run", "ancestor_attempt", "ancestor_step")


def load_state(store: Store, tables: Mapping[str, OpenTable], number: int) -> State:
    """What all batches up to `number` said. All tables that hold it must have seen that batch; what came since is left out.

    Raises:
        IntegrityError: If a file of a table is missing or damaged.
        UnavailableError: If the store does not answer.
    """
    state = State(number)
    if not number:
        return state
    assert all(tables[name].number >= number for name in STATEFUL)
    newest: dict[str, int] = {}
    for run, log_seq, *said in rows(store, tables[RUNS.name], ("run", LOG_SEQ, *_SAID)):
        if newest.get(run, 0) < log_seq <= number:
            newest[run] = log_seq
            state.runs[run] = run_digest(said)
    for run, attempt, line, log_seq in rows(store, tables[LAUNCHES.name], ("run", "attempt", "line_attempt", LOG_SEQ)):
        if log_seq <= number:
            state.lines[run, attempt] = line
    of_source = ("run", "attempt", "from_step", "declared_by", LOG_SEQ, *_SOURCE)
    for run, attempt, step, declared_by, log_seq, *said in rows(store, tables[RUN_SOURCES.name], of_source):
        if log_seq <= number and declared_by is None:
            key = source_key(run, attempt, said)
            state.sources[key] = min(step, state.sources.get(key, step))
    of_way = ("descendant", "ancestor", "depth", LOG_SEQ, *_LEAVES)
    for descendant, ancestor, depth, log_seq, *leaves in rows(store, tables[LINEAGE_CLOSURE.name], of_way):
        if log_seq <= number:
            state.closure.load(Way(descendant, ancestor, depth, None if leaves[0] is None else Place(*leaves)))
    for sha256, log_seq in rows(store, tables[TENSOR_LAYOUTS.name], ("layout_sha256", LOG_SEQ)):
        if log_seq <= number:
            state.layouts.add(sha256)
    return state

"""The made-up index: the same for the same seed, wide and deep enough, and Delta tables like those of a sync."""

from pathlib import Path

import pytest
from deltalake import DeltaTable

from ckpt_archive.commit.event import KINDS
from ckpt_archive.index import schema
from ckpt_archive.testing.indexed.rows import Rows
from ckpt_archive.testing.indexed.runs import DEEP, RANKS_OF_THE_WIDEST
from ckpt_archive.testing.indexed.tables import arrow_tables, made_up, write_delta


def test_the_same_seed_makes_the_same_rows() -> None:
    assert made_up(3, runs=5) == made_up(3, runs=5)
    assert made_up(3, runs=5) != made_up(4, runs=5)


@pytest.mark.parametrize("seed", range(5))
def test_it_has_what_questions_are_about(seed: int) -> None:
    rows = made_up(seed)
    assert all(rows[name] for name in schema.TABLES)
    assert {row["kind"] for row in rows["events"]} > KINDS.keys() | {"gap", "promote"}
    assert max(int(str(row["depth"])) for row in rows["lineage_closure"]) >= DEEP >= 50
    assert max(int(str(row["writers"])) for row in rows["checkpoints"]) == RANKS_OF_THE_WIDEST
    assert {row["relation"] for row in rows["lineage"]} >= {"fork", "rollback", "merge", "output", "dataset"}


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_moment_are_in_one_batch_and_no_file_is_twice_in_a_checkpoint(seed: int) -> None:
    rows = made_up(seed)
    batches: dict[object, object] = {}
    for name, table in schema.TABLES.items():
        for row in rows[name]:
            assert (
                batches.setdefault(row[table.known_at], row[schema.LOG_SEQ]) == row[schema.LOG_SEQ]
                or name == "sync_log"
            )
    assert [row[schema.LOG_SEQ] for row in rows["sync_log"]] == list(range(1, len(rows["sync_log"]) + 1))
    paths = [(row["run"], row["attempt"], row["step"], row["path"]) for row in rows["files"]]
    assert len(paths) == len(set(paths))


def test_a_column_that_is_not_in_the_schema_is_refused() -> None:
    with pytest.raises(KeyError):
        Rows(None).add("runs", run="r", colour="red")  # type: ignore[arg-type]  # nothing is drawn here


def test_delta_tables_carry_the_number_of_the_log_and_the_schema(tmp_path: Path) -> None:
    tables = arrow_tables(made_up(runs=4))
    write_delta(tables, tmp_path, commits=3)
    newest = tables["sync_log"].num_rows
    for name, table in tables.items():
        handle = DeltaTable(str(tmp_path / name))
        assert handle.version() == 3
        assert handle.transaction_version(schema.APP) == newest
        assert handle.metadata().configuration == {schema.VERSION_KEY: str(schema.VERSION)}
        assert handle.protocol().min_reader_version == 1
        assert handle.get_add_actions().num_rows >= min(1, table.num_rows)

-- title: What was declared after the fact
-- for: an auditor who weighs statements: sources and ancestors that somebody added later, and who.
-- answers: a source of a run, or an edge of the lineage, that was not recorded by the training itself
-- param since date = 2000-01-01: recorded on this day or later
SELECT recorded_at, declared_by, 'source' AS what, run AS child, uri AS parent, attempt, from_step AS step, digest
FROM run_sources
WHERE declared_by IS NOT NULL AND recorded_at >= CAST(:since AS date)
UNION ALL
SELECT recorded_at, declared_by, relation, child, parent, parent_attempt, parent_step, NULL
FROM lineage
WHERE declared_by IS NOT NULL AND recorded_at >= CAST(:since AS date)
ORDER BY recorded_at, what, child, parent, attempt, step

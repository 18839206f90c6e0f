-- title: Which models saw a data source
-- for: the data protection officer or a lawyer who is told that a source may not be used, or was not licensed.
-- answers: a launch that was trained on the source and committed a checkpoint between the dates, with the first and last such checkpoint
-- param source text: URI of the source; % stands for anything
-- param since date = 2000-01-01: committed on this day or later
-- param before date = today+1: committed before this day
WITH named AS (
  SELECT run, attempt, uri, version, digest, licence, declared_by, MIN(COALESCE(from_step, 0)) AS from_step
  FROM run_sources
  WHERE uri LIKE :source
  GROUP BY run, attempt, uri, version, digest, licence, declared_by
),
trained AS (
  SELECT run, attempt, MIN(step) AS first_step, MAX(step) AS last_step, MAX(committed_at) AS last_committed_at
  FROM checkpoints
  WHERE month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND month <= SUBSTR(CAST(:before AS varchar), 1, 7)
    AND committed_at >= CAST(:since AS date) AND committed_at < CAST(:before AS date)
    AND run IN (SELECT run FROM named)
  GROUP BY run, attempt
),
described AS (
  SELECT
    run,
    project,
    owner,
    purpose,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
)
SELECT
  n.uri,
  n.version,
  n.digest,
  n.licence,
  t.run,
  t.attempt,
  GREATEST(n.from_step, t.first_step) AS first_step,
  t.last_step,
  t.last_committed_at,
  n.declared_by,
  d.project,
  d.owner,
  d.purpose
FROM named AS n
JOIN trained AS t ON t.run = n.run AND t.attempt = COALESCE(n.attempt, t.attempt) AND t.last_step >= n.from_step
LEFT JOIN described AS d ON d.run = n.run AND d.newness = 1
ORDER BY n.uri, n.version, n.digest, t.run, t.attempt, n.from_step, n.licence, n.declared_by

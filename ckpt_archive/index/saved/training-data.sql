-- title: All data that a checkpoint was trained on
-- for: an auditor who asks what a model saw, in its own run and in everything that it was forked from.
-- answers: a source, which launch saw it, from which step on, and how many forks back that was
-- param run text: run name
-- param attempt integer: number of the launch
-- param step integer: training step
WITH here AS (
  SELECT 'line:' || run || '/' || CAST(line_attempt AS varchar) AS node
  FROM launches
  WHERE run = :run AND attempt = CAST(:attempt AS bigint)
),
reached AS (
  SELECT 0 AS depth, :run AS run, CAST(:attempt AS bigint) AS attempt, CAST(:step AS bigint) AS step
  UNION ALL
  SELECT c.depth, c.ancestor_run, c.ancestor_attempt, c.ancestor_step
  FROM lineage_closure AS c
  JOIN here AS h ON h.node = c.descendant
  WHERE c.ancestor LIKE 'line:%'
),
legs AS (
  -- Every launch of a line up to the one where it was left.
  SELECT r.depth, r.run, l.attempt, r.attempt AS last_attempt, r.step, l.line_attempt
  FROM reached AS r
  JOIN launches AS last ON last.run = r.run AND last.attempt = r.attempt
  JOIN launches AS l ON l.run = r.run AND l.line_attempt = last.line_attempt AND l.attempt <= r.attempt
),
bounded AS (
  -- What a launch did after the step that a later one went on from was left behind.
  SELECT g.depth, g.run, g.attempt, MIN(LEAST(g.step, COALESCE(n.resume_step, g.step))) AS upto_step
  FROM legs AS g
  LEFT JOIN launches AS n
    ON n.run = g.run AND n.line_attempt = g.line_attempt AND n.attempt > g.attempt AND n.attempt <= g.last_attempt
  GROUP BY g.depth, g.run, g.attempt
)
SELECT
  s.uri,
  s.version,
  s.digest,
  s.licence,
  s.records,
  b.depth,
  b.run,
  b.attempt,
  s.from_step,
  b.upto_step,
  s.declared_by
FROM bounded AS b
JOIN run_sources AS s ON s.run = b.run AND COALESCE(s.attempt, b.attempt) = b.attempt
WHERE COALESCE(s.from_step, 0) <= b.upto_step
UNION ALL
SELECT SUBSTR(c.ancestor, 8), NULL, NULL, NULL, NULL, c.depth, NULL, NULL, NULL, NULL, 'lineage'
FROM lineage_closure AS c
JOIN here AS h ON h.node = c.descendant
WHERE c.ancestor LIKE 'source:%'
ORDER BY depth, run, attempt, uri, version, digest, from_step, declared_by

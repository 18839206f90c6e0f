-- title: What a checkpoint was made from
-- for: an auditor who asks for the ancestry of a model: launches, artifacts and sources, however many forks back.
-- answers: an ancestor, with the last checkpoint of it that was inherited; what came later in it is no ancestor
-- param run text: run name
-- param attempt integer: number of the launch
WITH here AS (
  SELECT 'line:' || run || '/' || CAST(line_attempt AS varchar) AS node
  FROM launches
  WHERE run = :run AND attempt = CAST(:attempt AS bigint)
)
SELECT
  c.depth,
  c.ancestor,
  c.ancestor_run,
  c.ancestor_attempt,
  c.ancestor_step,
  MIN(l.started_at) AS launch_started_at,
  MIN(c.recorded_at) AS recorded_at
FROM lineage_closure AS c
JOIN here AS h ON h.node = c.descendant
LEFT JOIN launches AS l ON l.run = c.ancestor_run AND l.attempt = c.ancestor_attempt
GROUP BY c.depth, c.ancestor, c.ancestor_run, c.ancestor_attempt, c.ancestor_step
ORDER BY c.depth, c.ancestor, c.ancestor_run, c.ancestor_attempt, c.ancestor_step

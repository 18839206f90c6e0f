-- title: What was made from a checkpoint
-- for: whoever found a checkpoint to be bad, and must find every model that goes back to it.
-- answers: a line of launches or an artifact that goes back to the checkpoint, and where it left the checkpoint's own line
-- param run text: run name
-- param attempt integer: number of the launch
-- param step integer: training step
WITH here AS (
  SELECT run, line_attempt, 'line:' || run || '/' || CAST(line_attempt AS varchar) AS node
  FROM launches
  WHERE run = :run AND attempt = CAST(:attempt AS bigint)
),
rewound AS (
  -- Where later launches of the line went on from: what is beyond that step was left behind.
  SELECT l.attempt, l.resume_step
  FROM launches AS l
  JOIN here AS h ON h.run = l.run AND h.line_attempt = l.line_attempt
  WHERE l.attempt > CAST(:attempt AS bigint) AND l.resume_run = :run
),
below AS (
  SELECT c.depth, c.descendant, c.ancestor_attempt, c.ancestor_step, c.recorded_at
  FROM lineage_closure AS c
  JOIN here AS h ON h.node = c.ancestor
  WHERE c.ancestor_run = :run
    AND c.ancestor_attempt >= CAST(:attempt AS bigint)
    AND c.ancestor_step >= CAST(:step AS bigint)
),
lost AS (
  SELECT DISTINCT b.descendant, b.ancestor_attempt
  FROM below AS b
  JOIN rewound AS r ON r.attempt <= b.ancestor_attempt
  WHERE r.resume_step < CAST(:step AS bigint)
)
SELECT b.depth, b.descendant, b.ancestor_attempt AS left_at_attempt, b.ancestor_step AS left_at_step, b.recorded_at
FROM below AS b
LEFT JOIN lost AS x ON x.descendant = b.descendant AND x.ancestor_attempt = b.ancestor_attempt
WHERE x.descendant IS NULL
ORDER BY b.depth, b.descendant, b.ancestor_attempt, b.ancestor_step

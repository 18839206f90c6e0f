-- title: Gaps in the cadence of runs
-- for: an engineer or auditor who asks where checkpoints are missing that the promotion rule called for, and whether anybody said why.
-- answers: a stretch of a line of launches without the checkpoints that the rule called for, between the two around it
-- param run text = '': only this run; empty: all
-- param since date = today-90: committed on this day or later
WITH lines AS (
  SELECT run, attempt, MIN(line_attempt) AS line_attempt
  FROM launches
  WHERE (:run = '' OR run = :run)
  GROUP BY run, attempt
),
saved AS (
  SELECT
    c.run,
    l.line_attempt,
    c.promotion_ordinal,
    MIN(c.step) AS step,
    MIN(c.staged_at) AS staged_at
  FROM checkpoints AS c
  JOIN lines AS l ON l.run = c.run AND l.attempt = c.attempt
  WHERE (:run = '' OR c.run = :run)
    AND c.month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND c.committed_at >= CAST(:since AS date)
    AND c.promotion_rule = 'every'
  GROUP BY c.run, l.line_attempt, c.promotion_ordinal
),
neighbours AS (
  SELECT
    run,
    line_attempt,
    LAG(step) OVER (PARTITION BY run, line_attempt ORDER BY promotion_ordinal) AS from_step,
    step AS to_step,
    promotion_ordinal - LAG(promotion_ordinal) OVER (PARTITION BY run, line_attempt ORDER BY promotion_ordinal) - 1
      AS missing,
    LAG(staged_at) OVER (PARTITION BY run, line_attempt ORDER BY promotion_ordinal) AS from_at,
    staged_at AS to_at
  FROM saved
),
gaps AS (
  SELECT * FROM neighbours WHERE missing > 0
),
told AS (
  SELECT g.run, g.line_attempt, g.from_step, COUNT(DISTINCT e.step) AS given_up
  FROM gaps AS g
  JOIN events AS e ON e.run = g.run AND e.step > g.from_step AND e.step < g.to_step
  JOIN lines AS l ON l.run = e.run AND l.attempt = e.attempt AND l.line_attempt = g.line_attempt
  WHERE e.kind = 'gap'
  GROUP BY g.run, g.line_attempt, g.from_step
)
SELECT
  g.run,
  g.line_attempt,
  g.from_step,
  g.to_step,
  g.missing,
  COALESCE(t.given_up, 0) AS given_up,
  g.from_at,
  g.to_at
FROM gaps AS g
LEFT JOIN told AS t ON t.run = g.run AND t.line_attempt = g.line_attempt AND t.from_step = g.from_step
ORDER BY g.run, g.line_attempt, g.from_step

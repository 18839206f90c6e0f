-- title: Is every chain whole?
-- for: an auditor of the whole archive: does the checkpoint exist that each launch says it went on from?
-- answers: a launch whose chain is broken, and how; no rows: all chains are whole
-- param run text = '': only launches of this run; empty: all
WITH links AS (
  SELECT run, attempt, started_at, resume_run, resume_attempt, resume_step
  FROM launches
  WHERE resume_run IS NOT NULL AND (:run = '' OR run = :run)
),
wanted AS (
  SELECT DISTINCT resume_run AS run, resume_attempt AS attempt, resume_step AS step FROM links
),
present AS (
  SELECT c.run, c.attempt, c.step
  FROM checkpoints AS c
  JOIN wanted AS w ON w.run = c.run AND w.attempt = c.attempt AND w.step = c.step
),
gone AS (
  SELECT e.run, e.attempt, e.step, MIN(e.recorded_at) AS ended_at
  FROM events AS e
  JOIN wanted AS w ON w.run = e.run AND w.attempt = e.attempt AND w.step = e.step
  WHERE e.kind = 'ended'
  GROUP BY e.run, e.attempt, e.step
)
SELECT
  l.run,
  l.attempt,
  l.started_at,
  l.resume_run,
  l.resume_attempt,
  l.resume_step,
  CASE WHEN p.run IS NULL THEN 'never archived' ELSE 'data was removed' END AS problem,
  g.ended_at
FROM links AS l
LEFT JOIN present AS p ON p.run = l.resume_run AND p.attempt = l.resume_attempt AND p.step = l.resume_step
LEFT JOIN gone AS g ON g.run = l.resume_run AND g.attempt = l.resume_attempt AND g.step = l.resume_step
WHERE p.run IS NULL OR g.run IS NOT NULL
ORDER BY l.run, l.attempt

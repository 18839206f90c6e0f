-- title: Storage and what it costs, by project, class and month
-- for: whoever pays: how many bytes were written, how many are still kept, and what these cost a month.
-- answers: the checkpoints of a project and class that were committed in a month; kept is what was neither removed nor dropped
-- param price number = 23: of a terabyte (10^12 bytes) for a month
-- param project text = '': only this project; empty: all
WITH changes AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (PARTITION BY run, attempt, step ORDER BY recorded_at DESC, event_id DESC) AS newness
  FROM events
  WHERE kind IN ('dropped', 'undropped')
),
gone AS (
  SELECT run, attempt, step FROM changes WHERE newness = 1 AND kind = 'dropped'
  UNION
  SELECT run, attempt, step FROM events WHERE kind = 'ended'
),
classes AS (
  SELECT
    run,
    attempt,
    step,
    outcome,
    ROW_NUMBER() OVER (PARTITION BY run, attempt, step ORDER BY recorded_at DESC, event_id DESC) AS newness
  FROM events
  WHERE kind = 'classed'
)
SELECT
  COALESCE(c.project, '') AS project,
  COALESCE(k.outcome, c.retention_class, '') AS class,
  c.month,
  COUNT(*) AS checkpoints,
  CAST(SUM(c.stored_bytes) AS bigint) AS written_bytes,
  SUM(CASE WHEN g.run IS NULL THEN 1 ELSE 0 END) AS kept_checkpoints,
  CAST(SUM(CASE WHEN g.run IS NULL THEN c.stored_bytes ELSE 0 END) AS bigint) AS kept_bytes,
  CAST(SUM(CASE WHEN g.run IS NULL THEN c.stored_bytes ELSE 0 END) AS double) / 1e12 * CAST(:price AS double)
    AS cost_per_month
FROM checkpoints AS c
LEFT JOIN gone AS g ON g.run = c.run AND g.attempt = c.attempt AND g.step = c.step
LEFT JOIN classes AS k ON k.run = c.run AND k.attempt = c.attempt AND k.step = c.step AND k.newness = 1
WHERE (:project = '' OR c.project = :project)
GROUP BY COALESCE(c.project, ''), COALESCE(k.outcome, c.retention_class, ''), c.month
ORDER BY project, class, c.month

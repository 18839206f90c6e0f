-- title: What is about to be removed
-- for: whoever wants to object in time: data that a retention class or somebody's decision will remove soon.
-- answers: a checkpoint whose removal is announced for before the day, why, and whether a legal hold stands against it
-- param before date = today+30: the day
-- param project text = '': only this project; empty: all
WITH changes AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    outcome,
    reason,
    until_at,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step
      ORDER BY CASE WHEN kind = 'ended' THEN 0 ELSE 1 END, recorded_at DESC, event_id DESC
    ) AS newness
  FROM events
  WHERE kind IN ('ending', 'ended', 'dropped', 'undropped')
),
announced AS (
  SELECT run, attempt, step, kind, outcome, reason, until_at
  FROM changes
  WHERE newness = 1 AND kind IN ('ending', 'dropped') AND until_at < CAST(:before AS date)
),
cases AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (PARTITION BY run, attempt, step, subject ORDER BY recorded_at DESC, event_id DESC) AS newness
  FROM events
  WHERE kind IN ('held', 'released')
),
held AS (
  SELECT DISTINCT run, attempt, step FROM cases WHERE newness = 1 AND kind = 'held'
)
SELECT
  a.until_at AS ends_at,
  c.run,
  c.attempt,
  c.step,
  c.project,
  a.kind AS announced_as,
  COALESCE(NULLIF(a.outcome, ''), c.retention_class) AS class,
  a.reason,
  c.size_bytes,
  (h.run IS NOT NULL OR w.run IS NOT NULL) AS held
FROM announced AS a
JOIN checkpoints AS c ON c.run = a.run AND c.attempt = a.attempt AND c.step = a.step
LEFT JOIN held AS h ON h.run = a.run AND h.attempt = a.attempt AND h.step = a.step
LEFT JOIN held AS w ON w.run = a.run AND w.attempt IS NULL
WHERE (:project = '' OR c.project = :project)
ORDER BY ends_at, c.run, c.attempt, c.step

-- title: What is about to be removed
-- for: whoever wants to object in time: data that a retention class or somebody's decision will remove soon.
-- answers: a checkpoint whose removal is announced for before the day, why, and whether a legal hold stands against it
-- param before date = today+30: the day
-- param project text = '': only this project; empty: all
WITH told AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step, kind, outcome, reason, until_at, recorded_at, happened_at, event_id
  FROM events
  WHERE kind = 'ending'
  UNION ALL
  SELECT run, attempt, step, kind, outcome, reason, until_at, recorded_at, happened_at, event_id
  FROM events
  WHERE kind = 'dropped'
  UNION ALL
  SELECT run, attempt, step, kind, outcome, reason, until_at, recorded_at, happened_at, event_id
  FROM events
  WHERE kind = 'undropped'
),
gone AS (
  SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'ended'
),
changes AS (
  SELECT
    t.run,
    t.attempt,
    t.step,
    t.kind,
    t.outcome,
    t.reason,
    t.until_at,
    ROW_NUMBER() OVER (
      PARTITION BY t.run, t.attempt, t.step ORDER BY t.recorded_at DESC, t.happened_at DESC, t.event_id DESC
    ) AS newness
  FROM told AS t
  LEFT JOIN gone AS g ON g.run = t.run AND g.attempt = t.attempt AND g.step = t.step
  WHERE g.run IS NULL
),
cases AS (
  SELECT run, attempt, step, subject, kind, recorded_at, happened_at, event_id FROM events WHERE kind = 'held'
  UNION ALL
  SELECT run, attempt, step, subject, kind, recorded_at, happened_at, event_id FROM events WHERE kind = 'released'
),
holds AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step, subject ORDER BY recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM cases
),
held AS (
  SELECT DISTINCT run, attempt, step FROM holds WHERE newness = 1 AND kind = 'held'
),
described AS (
  SELECT
    run,
    project,
    owner,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
)
SELECT
  c.until_at AS ends_at,
  c.run,
  c.attempt,
  c.step,
  d.project,
  d.owner,
  c.kind AS announced_as,
  c.outcome AS class,
  c.reason,
  (h.run IS NOT NULL OR w.run IS NOT NULL) AS held
FROM changes AS c
LEFT JOIN held AS h ON h.run = c.run AND h.attempt = c.attempt AND h.step = c.step
LEFT JOIN held AS w ON w.run = c.run AND w.attempt IS NULL
LEFT JOIN described AS d ON d.run = c.run AND d.newness = 1
WHERE c.newness = 1 AND c.kind <> 'undropped' AND c.until_at < CAST(:before AS date)
  AND (:project = '' OR d.project = :project)
ORDER BY ends_at, c.run, c.attempt, c.step

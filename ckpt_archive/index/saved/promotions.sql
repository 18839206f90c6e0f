-- title: Promoted, given up, dropped, removed: the balance of every run
-- for: the archive's operator and auditors: does what was to be archived add up?
-- answers: a run: checkpoints archived, of them by decision of somebody, given up, dropped now, removed
-- param project text = '': only this project; empty: all
WITH archived AS (
  SELECT run, COUNT(*) AS checkpoints, MIN(committed_at) AS first_at, MAX(committed_at) AS last_at
  FROM checkpoints
  GROUP BY run
),
told AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step, kind, recorded_at, event_id FROM events WHERE kind = 'dropped'
  UNION ALL
  SELECT run, attempt, step, kind, recorded_at, event_id FROM events WHERE kind = 'undropped'
),
changes AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (PARTITION BY run, attempt, step ORDER BY recorded_at DESC, event_id DESC) AS newness
  FROM told
),
gone AS (
  SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'ended'
),
counted AS (
  SELECT run, 'ended' AS kind, COUNT(*) AS places FROM gone GROUP BY run
  UNION ALL
  SELECT c.run, 'dropped', COUNT(*)
  FROM changes AS c
  LEFT JOIN gone AS g ON g.run = c.run AND g.attempt = c.attempt AND g.step = c.step
  WHERE c.newness = 1 AND c.kind = 'dropped' AND g.run IS NULL
  GROUP BY c.run
  UNION ALL
  SELECT run, 'promote', COUNT(*)
  FROM (SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'promote') AS promoted
  GROUP BY run
  UNION ALL
  SELECT run, 'gap', COUNT(*)
  FROM (SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'gap') AS given_up
  GROUP BY run
),
summed AS (
  SELECT
    run,
    SUM(CASE WHEN kind = 'promote' THEN places ELSE 0 END) AS promoted_by_decision,
    SUM(CASE WHEN kind = 'gap' THEN places ELSE 0 END) AS given_up,
    SUM(CASE WHEN kind = 'dropped' THEN places ELSE 0 END) AS dropped,
    SUM(CASE WHEN kind = 'ended' THEN places ELSE 0 END) AS ended
  FROM counted
  GROUP BY run
),
described AS (
  SELECT
    run,
    project,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
)
SELECT
  a.run,
  d.project,
  a.checkpoints,
  CAST(COALESCE(s.promoted_by_decision, 0) AS bigint) AS promoted_by_decision,
  CAST(COALESCE(s.given_up, 0) AS bigint) AS given_up,
  CAST(COALESCE(s.dropped, 0) AS bigint) AS dropped,
  CAST(COALESCE(s.ended, 0) AS bigint) AS ended,
  a.first_at,
  a.last_at
FROM archived AS a
LEFT JOIN summed AS s ON s.run = a.run
LEFT JOIN described AS d ON d.run = a.run AND d.newness = 1
WHERE (:project = '' OR d.project = :project)
ORDER BY a.run

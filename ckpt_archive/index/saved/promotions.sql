-- title: Promoted, given up, dropped, removed: the balance of every run
-- for: the archive's operator and auditors: does what was to be archived add up?
-- answers: a run: checkpoints archived, of them by decision of somebody, given up, dropped now, removed
-- param project text = '': only this project; empty: all
WITH archived AS (
  SELECT run, MIN(project) AS project, COUNT(*) AS checkpoints, MIN(committed_at) AS first_at, MAX(committed_at) AS last_at
  FROM checkpoints
  WHERE (:project = '' OR project = :project)
  GROUP BY run
),
changes AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step
      ORDER BY CASE WHEN kind = 'ended' THEN 0 ELSE 1 END, recorded_at DESC, event_id DESC
    ) AS newness
  FROM events
  WHERE kind IN ('dropped', 'undropped', 'ended')
),
counted AS (
  SELECT run, kind, COUNT(*) AS places
  FROM changes
  WHERE newness = 1 AND kind <> 'undropped'
  GROUP BY run, kind
  UNION ALL
  SELECT run, kind, COUNT(*)
  FROM (SELECT DISTINCT run, attempt, step, kind FROM events WHERE kind IN ('promote', 'gap')) AS decided
  GROUP BY run, kind
),
told AS (
  SELECT
    run,
    SUM(CASE WHEN kind = 'promote' THEN places ELSE 0 END) AS promoted_by_decision,
    SUM(CASE WHEN kind = 'gap' THEN places ELSE 0 END) AS given_up,
    SUM(CASE WHEN kind = 'dropped' THEN places ELSE 0 END) AS dropped,
    SUM(CASE WHEN kind = 'ended' THEN places ELSE 0 END) AS ended
  FROM counted
  GROUP BY run
)
SELECT
  a.run,
  a.project,
  a.checkpoints,
  CAST(COALESCE(t.promoted_by_decision, 0) AS bigint) AS promoted_by_decision,
  CAST(COALESCE(t.given_up, 0) AS bigint) AS given_up,
  CAST(COALESCE(t.dropped, 0) AS bigint) AS dropped,
  CAST(COALESCE(t.ended, 0) AS bigint) AS ended,
  a.first_at,
  a.last_at
FROM archived AS a
LEFT JOIN told AS t ON t.run = a.run
ORDER BY a.run

-- title: Storage and what it costs, by project, class and month
-- for: whoever pays: how many bytes were written, how many are still kept, and what these cost a month.
-- answers: the checkpoints of a project and class that were committed in a month; kept is what was neither removed nor dropped
-- param price number = 23: of a terabyte (10^12 bytes) for a month
-- param project text = '': only this project; empty: all
WITH told AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step, kind, recorded_at, happened_at, event_id FROM events WHERE kind = 'dropped'
  UNION ALL
  SELECT run, attempt, step, kind, recorded_at, happened_at, event_id FROM events WHERE kind = 'undropped'
),
changes AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step ORDER BY recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM told
),
classes AS (
  SELECT
    run,
    attempt,
    step,
    outcome,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step ORDER BY recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM events
  WHERE kind = 'classed'
),
facts AS (
  SELECT run, attempt, step, 1 AS gone, CAST(NULL AS varchar) AS class FROM events WHERE kind = 'ended'
  UNION ALL
  SELECT run, attempt, step, 1, CAST(NULL AS varchar) FROM changes WHERE newness = 1 AND kind = 'dropped'
  UNION ALL
  SELECT run, attempt, step, 0, outcome FROM classes WHERE newness = 1
),
states AS (
  SELECT run, attempt, step, MAX(gone) AS gone, MAX(class) AS class
  FROM facts
  GROUP BY run, attempt, step
),
parts AS (
  SELECT
    c.project,
    c.retention_class,
    c.month,
    s.class,
    COALESCE(s.gone, 0) AS gone,
    COUNT(*) AS checkpoints,
    SUM(c.stored_bytes) AS stored_bytes
  FROM checkpoints AS c
  LEFT JOIN states AS s ON s.run = c.run AND s.attempt = c.attempt AND s.step = c.step
  WHERE (:project = '' OR c.project = :project)
  GROUP BY c.project, c.retention_class, c.month, s.class, COALESCE(s.gone, 0)
)
SELECT
  COALESCE(project, '') AS project,
  COALESCE(class, retention_class, '') AS class,
  month,
  CAST(SUM(checkpoints) AS bigint) AS checkpoints,
  CAST(SUM(stored_bytes) AS bigint) AS written_bytes,
  CAST(SUM(CASE WHEN gone = 0 THEN checkpoints ELSE 0 END) AS bigint) AS kept_checkpoints,
  CAST(SUM(CASE WHEN gone = 0 THEN stored_bytes ELSE 0 END) AS bigint) AS kept_bytes,
  CAST(SUM(CASE WHEN gone = 0 THEN stored_bytes ELSE 0 END) AS double) / 1e12 * CAST(:price AS double)
    AS cost_per_month
FROM parts
GROUP BY COALESCE(project, ''), COALESCE(class, retention_class, ''), month
ORDER BY project, class, month

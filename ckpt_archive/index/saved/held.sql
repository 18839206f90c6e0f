-- title: What is under legal hold now
-- for: lawyers and the archive's operator: what must not be removed, for which case, since when.
-- answers: a checkpoint, or a whole run (attempt and step are NULL), and one case that holds it
-- param case text = '': only this case; empty: all
WITH told AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step, subject, kind, recorded_at, happened_at, actor, reason, until_at, event_id
  FROM events
  WHERE kind = 'held' AND (:case = '' OR subject = :case)
  UNION ALL
  SELECT run, attempt, step, subject, kind, recorded_at, happened_at, actor, reason, until_at, event_id
  FROM events
  WHERE kind = 'released' AND (:case = '' OR subject = :case)
),
cases AS (
  SELECT
    run,
    attempt,
    step,
    subject,
    kind,
    recorded_at,
    actor,
    reason,
    until_at,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step, subject ORDER BY recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM told
)
SELECT run, attempt, step, subject AS case_id, recorded_at AS held_since, actor, reason, until_at
FROM cases
WHERE newness = 1 AND kind = 'held'
ORDER BY case_id, run, attempt, step

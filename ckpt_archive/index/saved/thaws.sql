-- title: Thaws that are not done yet
-- for: whoever waits for data from a cold storage class.
-- answers: a checkpoint that was asked for and is not readable yet, since when and until when it was promised
-- param run text = '': only this run; empty: all
WITH told AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step, kind, recorded_at, happened_at, actor, subject, until_at, event_id
  FROM events
  WHERE kind = 'thaw-requested' AND (:run = '' OR run = :run)
  UNION ALL
  SELECT run, attempt, step, kind, recorded_at, happened_at, actor, subject, until_at, event_id
  FROM events
  WHERE kind = 'thawed' AND (:run = '' OR run = :run)
),
asked AS (
  SELECT
    run,
    attempt,
    step,
    kind,
    recorded_at,
    actor,
    subject,
    until_at,
    ROW_NUMBER() OVER (
      PARTITION BY run, attempt, step ORDER BY recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM told
)
SELECT recorded_at AS requested_at, actor, run, attempt, step, subject AS tier, until_at AS promised_at
FROM asked
WHERE newness = 1 AND kind = 'thaw-requested'
ORDER BY requested_at, run, attempt, step

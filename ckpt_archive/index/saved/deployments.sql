-- title: Which checkpoint serves where
-- for: whoever answers for systems in use: what each of them runs, and since when.
-- answers: a system and the checkpoint that was put into it last
WITH put AS (
  SELECT
    subject,
    outcome,
    run,
    attempt,
    step,
    recorded_at,
    actor,
    reason,
    event_id,
    ROW_NUMBER() OVER (
      PARTITION BY subject ORDER BY recorded_at DESC, event_id DESC, run DESC, attempt DESC, step DESC
    ) AS newness
  FROM events
  WHERE kind = 'deployed'
)
SELECT subject AS deployed_to, outcome AS environment, run, attempt, step, recorded_at AS deployed_at, actor, reason
FROM put
WHERE newness = 1
ORDER BY deployed_to

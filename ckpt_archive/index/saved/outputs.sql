-- title: What models produced, and what was trained on it
-- for: whoever watches for models that are trained on the output of models.
-- answers: an output of a checkpoint and a launch that was trained on it (NULL: none is known)
-- param run text = '': only outputs of this run; empty: all
WITH made AS (
  SELECT event_id, recorded_at, actor, run, attempt, step, subject AS uri, digest, reason
  FROM events
  WHERE kind = 'output' AND (:run = '' OR run = :run)
),
used AS (
  SELECT m.event_id, m.run AS of_run, m.attempt AS of_attempt, m.step AS of_step, s.run, s.attempt, MIN(s.from_step) AS from_step
  FROM made AS m
  JOIN run_sources AS s ON s.digest = m.digest
  GROUP BY m.event_id, m.run, m.attempt, m.step, s.run, s.attempt
  UNION
  SELECT m.event_id, m.run, m.attempt, m.step, s.run, s.attempt, MIN(s.from_step)
  FROM made AS m
  JOIN run_sources AS s ON s.uri = m.uri
  GROUP BY m.event_id, m.run, m.attempt, m.step, s.run, s.attempt
)
SELECT
  m.recorded_at,
  m.run,
  m.attempt,
  m.step,
  m.uri,
  m.digest,
  m.reason,
  m.actor,
  u.run AS trained_run,
  u.attempt AS trained_attempt,
  u.from_step AS trained_from_step
FROM made AS m
LEFT JOIN used AS u
  ON u.event_id = m.event_id AND u.of_run = m.run AND u.of_attempt = m.attempt AND u.of_step = m.step
ORDER BY m.recorded_at, m.event_id, m.run, m.attempt, m.step, trained_run, trained_attempt, trained_from_step

-- title: Checkpoints of a run that nobody has looked at for long
-- for: the archive's operator, who picks what to verify next.
-- answers: a checkpoint, still kept and committed before the day, that was not verified, scrubbed or rehearsed since; when it last was
-- param run text: run name
-- param since date = today-90: the day
WITH proofs AS (
  SELECT attempt, step, MAX(recorded_at) AS last_proof_at
  FROM events
  WHERE kind IN ('verified', 'scrubbed', 'drilled') AND outcome = 'ok' AND run = :run
  GROUP BY attempt, step
),
gone AS (
  SELECT DISTINCT attempt, step FROM events WHERE kind = 'ended' AND run = :run
)
SELECT c.run, c.attempt, c.step, c.retention_class, c.size_bytes, c.committed_at, p.last_proof_at
FROM checkpoints AS c
LEFT JOIN proofs AS p ON p.attempt = c.attempt AND p.step = c.step
LEFT JOIN gone AS g ON g.attempt = c.attempt AND g.step = c.step
WHERE c.run = :run AND c.committed_at < CAST(:since AS date)
  AND (p.last_proof_at IS NULL OR p.last_proof_at < CAST(:since AS date))
  AND g.attempt IS NULL
ORDER BY c.attempt, c.step

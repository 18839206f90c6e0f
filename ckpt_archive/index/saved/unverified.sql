-- title: Runs with checkpoints that nobody has looked at for long
-- for: the archive's operator, who wants every byte read again within a time, and sees where that is not so.
-- answers: a run, how many of its checkpoints (still kept, committed before the day) were not verified, scrubbed or rehearsed since
-- param since date = today-90: the day
-- param project text = '': only this project; empty: all
WITH proofs AS (
  SELECT DISTINCT run, attempt, step
  FROM events
  WHERE kind IN ('verified', 'scrubbed', 'drilled') AND outcome = 'ok'
    AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
),
gone AS (
  SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'ended'
)
SELECT
  c.run,
  c.project,
  COUNT(*) AS unverified,
  CAST(SUM(c.size_bytes) AS bigint) AS size_bytes,
  MIN(c.committed_at) AS oldest_committed_at
FROM checkpoints AS c
LEFT JOIN proofs AS p ON p.run = c.run AND p.attempt = c.attempt AND p.step = c.step
LEFT JOIN gone AS g ON g.run = c.run AND g.attempt = c.attempt AND g.step = c.step
WHERE p.run IS NULL AND g.run IS NULL
  AND c.month <= SUBSTR(CAST(:since AS varchar), 1, 7) AND c.committed_at < CAST(:since AS date)
  AND (:project = '' OR c.project = :project)
GROUP BY c.run, c.project
ORDER BY unverified DESC, c.run, c.project

-- title: Runs with checkpoints that nobody has looked at for long
-- for: the archive's operator, who wants every byte read again within a time, and sees where that is not so.
-- answers: a run, how many of its checkpoints (still kept, committed before the day) were not verified, scrubbed or rehearsed since
-- param since date = today-90: the day
-- param project text = '': only this project; empty: all
WITH seen AS (
  -- One kind at a time: rows lie by kind, so each of these reads its own rows only.
  SELECT run, attempt, step FROM events WHERE kind = 'ended'
  UNION ALL
  SELECT run, attempt, step
  FROM events
  WHERE kind = 'verified' AND outcome = 'ok'
    AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
  UNION ALL
  SELECT run, attempt, step
  FROM events
  WHERE kind = 'scrubbed' AND outcome = 'ok'
    AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
  UNION ALL
  SELECT run, attempt, step
  FROM events
  WHERE kind = 'drilled' AND outcome = 'ok'
    AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
),
counted AS (
  SELECT
    c.run,
    COUNT(*) AS unverified,
    CAST(SUM(c.size_bytes) AS bigint) AS size_bytes,
    MIN(c.committed_at) AS oldest_committed_at
  FROM checkpoints AS c
  LEFT JOIN seen AS s ON s.run = c.run AND s.attempt = c.attempt AND s.step = c.step
  WHERE s.run IS NULL
    AND c.month <= SUBSTR(CAST(:since AS varchar), 1, 7) AND c.committed_at < CAST(:since AS date)
  GROUP BY c.run
),
described AS (
  SELECT
    run,
    project,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
)
SELECT c.run, d.project, c.unverified, c.size_bytes, c.oldest_committed_at
FROM counted AS c
LEFT JOIN described AS d ON d.run = c.run AND d.newness = 1
WHERE (:project = '' OR d.project = :project)
ORDER BY c.unverified DESC, c.run

-- title: Checkpoints without a signature
-- for: whoever releases models, and the auditor who asks which ones could be exchanged unnoticed.
-- answers: a checkpoint, still kept, that no event says was signed
-- param run text = '': only this run; empty: all
-- param class text = '': only checkpoints that were written in this class; empty: all
-- param since date = today-30: committed on this day or later
WITH signed AS (
  SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'signed' AND (:run = '' OR run = :run)
),
gone AS (
  SELECT DISTINCT run, attempt, step FROM events WHERE kind = 'ended' AND (:run = '' OR run = :run)
)
SELECT c.run, c.attempt, c.step, c.project, c.retention_class, c.committed_at, c.manifest_sha256
FROM checkpoints AS c
LEFT JOIN signed AS s ON s.run = c.run AND s.attempt = c.attempt AND s.step = c.step
LEFT JOIN gone AS g ON g.run = c.run AND g.attempt = c.attempt AND g.step = c.step
WHERE s.run IS NULL AND g.run IS NULL
  AND (:run = '' OR c.run = :run)
  AND (:class = '' OR c.retention_class = :class)
  AND c.month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND c.committed_at >= CAST(:since AS date)
ORDER BY c.run, c.attempt, c.step

-- title: Checkpoints that were only assumed to be complete
-- for: whoever relies on a checkpoint: no writer of these said itself that it had written all it wanted to.
-- answers: a checkpoint with at least one such share
-- param since date = today-365: committed on this day or later
-- param project text = '': only this project; empty: all
SELECT run, attempt, step, project, retention_class, writers, committed_at, manifest_sha256
FROM checkpoints
WHERE completeness = 'assumed'
  AND (:project = '' OR project = :project)
  AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND committed_at >= CAST(:since AS date)
ORDER BY run, attempt, step

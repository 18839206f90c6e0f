-- title: Checkpoints whose code can not be found again
-- for: an auditor of reproducibility: trained with uncommitted changes, or by code that nobody named.
-- answers: a launch and a commit (or none), with its checkpoints of that kind
-- param since date = today-365: committed on this day or later
-- param project text = '': only this project; empty: all
SELECT
  run,
  attempt,
  project,
  code_commit,
  code_dirty,
  COUNT(*) AS checkpoints,
  MIN(step) AS first_step,
  MAX(step) AS last_step
FROM checkpoints
WHERE (code_dirty OR COALESCE(code_commit, '') = '')
  AND (:project = '' OR project = :project)
  AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND committed_at >= CAST(:since AS date)
GROUP BY run, attempt, project, code_commit, code_dirty
ORDER BY run, attempt, project, code_commit, code_dirty

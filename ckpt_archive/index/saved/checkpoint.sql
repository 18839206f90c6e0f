-- title: One checkpoint: what it is and what made it
-- for: an auditor or engineer who must reconstruct a model: its root of digests, code, configuration, environment, launch and state.
-- answers: the checkpoint, with the key of its manifest and whether its data is still there
-- param run text: run name
-- param attempt integer: number of the launch
-- param step integer: training step
WITH wanted AS (
  SELECT *
  FROM checkpoints
  WHERE run = :run AND attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint)
),
changes AS (
  SELECT
    kind,
    until_at,
    ROW_NUMBER() OVER (
      ORDER BY CASE WHEN kind = 'ended' THEN 0 ELSE 1 END, recorded_at DESC, happened_at DESC, event_id DESC
    ) AS newness
  FROM events
  WHERE kind IN ('ending', 'ended', 'dropped', 'undropped')
    AND run = :run AND attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint)
)
SELECT
  w.run,
  w.attempt,
  w.step,
  'manifests/' || w.run || '/' || LPAD(CAST(99999999 - w.attempt AS varchar), 8, '0') || '/'
    || LPAD(CAST(999999999999 - w.step AS varchar), 12, '0') || '.json' AS manifest_key,
  w.manifest_sha256,
  w.committed_at,
  w.staged_at,
  w.writers,
  w.files,
  w.size_bytes,
  w.retention_class,
  w.completeness,
  w.promotion,
  w.code_commit,
  w.code_dirty,
  w.config_sha256,
  w.environment_sha256,
  w.lineage,
  w.labels,
  l.launch_key,
  l.started_at,
  l.resume_run,
  l.resume_attempt,
  l.resume_step,
  CASE
    WHEN s.kind = 'ended' THEN 'ended'
    WHEN s.kind = 'dropped' THEN 'dropped'
    WHEN s.kind = 'ending' THEN 'ending'
    ELSE 'kept'
  END AS state,
  s.until_at AS ends_at
FROM wanted AS w
LEFT JOIN launches AS l ON l.run = w.run AND l.attempt = w.attempt
LEFT JOIN changes AS s ON s.newness = 1
ORDER BY w.run, w.attempt, w.step

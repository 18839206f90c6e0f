-- title: All that happened to a checkpoint
-- for: an auditor who follows one model from its commit on: checks, signatures, holds, restores, its end.
-- answers: an event about the checkpoint, or about its whole run, oldest first
-- param run text: run name
-- param attempt integer: number of the launch
-- param step integer: training step
WITH told AS (
  SELECT
    recorded_at,
    happened_at,
    kind,
    actor,
    node,
    subject,
    digest,
    outcome,
    reason,
    until_at,
    size_bytes,
    details,
    event_id
  FROM events
  WHERE run = :run
    AND (
      (attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint))
      OR (attempt IS NULL AND step IS NULL)
    )
  UNION ALL
  SELECT
    committed_at,
    committed_at AS happened_at,
    'committed',
    '',
    '',
    launch_key,
    manifest_sha256,
    completeness,
    promotion,
    NULL,
    size_bytes,
    lineage,
    ''
  FROM checkpoints
  WHERE run = :run AND attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint)
)
SELECT
  recorded_at,
  kind,
  actor,
  node,
  subject,
  digest,
  outcome,
  reason,
  until_at,
  size_bytes,
  details,
  event_id
FROM told
ORDER BY recorded_at, happened_at, event_id

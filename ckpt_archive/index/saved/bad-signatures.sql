-- title: Signatures that do not count
-- for: the auditor of releases: a key may have been stolen, not have been valid yet, or not any more.
-- answers: a signature and what is wrong with its key; the times are those of the store, not of the signer
-- param run text = '': only this run; empty: all
-- param since date = 2000-01-01: signed on this day or later
WITH published AS (
  SELECT
    key_id,
    owner,
    valid_from,
    valid_until,
    ROW_NUMBER() OVER (PARTITION BY key_id ORDER BY recorded_at DESC, log_seq DESC, owner DESC) AS newness
  FROM signers
  WHERE state = 'published'
),
latest AS (
  SELECT
    key_id,
    state,
    recorded_at,
    ROW_NUMBER() OVER (PARTITION BY key_id ORDER BY recorded_at DESC, log_seq DESC, state DESC) AS newness
  FROM signers
),
signatures AS (
  SELECT
    e.run,
    e.attempt,
    e.step,
    e.subject AS key_id,
    p.owner AS key_owner,
    e.recorded_at AS signed_at,
    e.actor,
    CASE WHEN n.state = 'revoked' THEN n.recorded_at END AS revoked_at,
    CASE
      WHEN n.key_id IS NULL THEN 'key was never published'
      WHEN n.state = 'revoked' AND e.recorded_at >= n.recorded_at THEN 'key was revoked before'
      WHEN n.state = 'revoked' THEN 'key was revoked later'
      WHEN e.recorded_at < p.valid_from THEN 'key was not valid yet'
      WHEN e.recorded_at >= p.valid_until THEN 'key was not valid any more'
    END AS problem,
    e.event_id
  FROM events AS e
  LEFT JOIN published AS p ON p.key_id = e.subject AND p.newness = 1
  LEFT JOIN latest AS n ON n.key_id = e.subject AND n.newness = 1
  WHERE e.kind = 'signed'
    AND (:run = '' OR e.run = :run)
    AND e.month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND e.recorded_at >= CAST(:since AS date)
)
SELECT run, attempt, step, problem, key_id, key_owner, signed_at, revoked_at, actor
FROM signatures
WHERE problem IS NOT NULL
ORDER BY run, attempt, step, signed_at, event_id

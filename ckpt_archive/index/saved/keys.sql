-- title: The register of keys as of a date
-- for: an auditor who checks a signature: which keys counted then, and what was known about them.
-- answers: a key that had been published or revoked by then, and whether its signatures counted at that moment
-- param before date = today+1: as known before this day (in UTC)
WITH told AS (
  SELECT
    key_id,
    state,
    reason,
    recorded_at,
    ROW_NUMBER() OVER (PARTITION BY key_id ORDER BY recorded_at DESC, log_seq DESC, state DESC) AS newness
  FROM signers
  WHERE recorded_at < CAST(:before AS date)
),
published AS (
  SELECT
    key_id,
    owner,
    algorithm,
    valid_from,
    valid_until,
    recorded_at,
    ROW_NUMBER() OVER (PARTITION BY key_id ORDER BY recorded_at DESC, log_seq DESC, owner DESC) AS newness
  FROM signers
  WHERE state = 'published' AND recorded_at < CAST(:before AS date)
)
SELECT
  t.key_id,
  p.owner,
  p.algorithm,
  CASE
    WHEN t.state = 'revoked' THEN 'revoked'
    WHEN p.valid_from >= CAST(:before AS date) THEN 'not valid yet'
    WHEN p.valid_until < CAST(:before AS date) THEN 'not valid any more'
    ELSE 'valid'
  END AS status,
  p.valid_from,
  p.valid_until,
  p.recorded_at AS published_at,
  CASE WHEN t.state = 'revoked' THEN t.recorded_at END AS revoked_at,
  CASE WHEN t.state = 'revoked' THEN t.reason END AS revoked_because
FROM told AS t
LEFT JOIN published AS p ON p.key_id = t.key_id AND p.newness = 1
WHERE t.newness = 1
ORDER BY p.owner, t.key_id

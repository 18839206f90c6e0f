-- title: Where these bytes are
-- for: whoever holds a file or a manifest and asks which checkpoints have exactly these bytes, and what was said about them.
-- answers: a place where the digest occurs: a manifest, a file, a source of data, or an event
-- param digest text: SHA-256, 64 lower-case hexadecimal digits
SELECT
  'manifest' AS what,
  run,
  attempt,
  step,
  CAST(NULL AS bigint) AS rank,
  '' AS name,
  size_bytes,
  committed_at AS known_at
FROM checkpoints
WHERE manifest_sha256 = :digest
UNION ALL
SELECT 'file', run, attempt, step, rank, path, size_bytes, committed_at
FROM files
WHERE sha256 = :digest
UNION ALL
SELECT 'source', run, attempt, from_step, CAST(NULL AS bigint), uri, CAST(NULL AS bigint), recorded_at
FROM run_sources
WHERE digest = :digest
UNION ALL
SELECT kind, run, attempt, step, rank, subject, size_bytes, recorded_at
FROM events
WHERE digest = :digest
ORDER BY what, run, attempt, step, rank, name, known_at

-- title: Runs whose documentation has gaps
-- for: whoever answers for the technical documentation: runs without owner, purpose, risk class or sources, or with sources without a licence.
-- answers: a run in which something is missing, and what
-- param project text = '': only this project; empty: all
WITH described AS (
  SELECT
    run,
    project,
    owner,
    purpose,
    risk_class,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
),
sources AS (
  SELECT
    run,
    COUNT(DISTINCT uri) AS sources,
    COUNT(DISTINCT CASE WHEN COALESCE(licence, '') = '' THEN uri END) AS without_licence
  FROM run_sources
  GROUP BY run
)
SELECT
  d.run,
  d.project,
  d.owner,
  d.purpose,
  d.risk_class,
  COALESCE(s.sources, 0) AS sources,
  COALESCE(s.without_licence, 0) AS sources_without_licence
FROM described AS d
LEFT JOIN sources AS s ON s.run = d.run
WHERE d.newness = 1
  AND (:project = '' OR d.project = :project)
  AND (
    COALESCE(d.owner, '') = '' OR COALESCE(d.purpose, '') = '' OR COALESCE(d.risk_class, '') = ''
    OR s.sources IS NULL OR s.without_licence > 0
  )
ORDER BY d.run

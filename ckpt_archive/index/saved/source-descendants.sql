-- title: Models that go back to a data source
-- for: whoever must withdraw a source, and needs the models that inherited it through forks, not only those that read it.
-- answers: a line of launches or an artifact, the source, and the launch through which it came
-- param source text: URI of the source; % stands for anything
WITH named AS (
  SELECT s.run, s.attempt, s.uri, s.version, MIN(COALESCE(s.from_step, 0)) AS from_step
  FROM run_sources AS s
  WHERE s.uri LIKE :source
  GROUP BY s.run, s.attempt, s.uri, s.version
),
saw AS (
  SELECT
    n.run,
    l.attempt,
    l.line_attempt,
    n.uri,
    n.version,
    n.from_step,
    'line:' || n.run || '/' || CAST(l.line_attempt AS varchar) AS node
  FROM named AS n
  JOIN launches AS l ON l.run = n.run AND l.attempt = COALESCE(n.attempt, l.attempt)
),
left_at AS (
  -- Where a line was left, and the earliest step that one of its launches went back to until then.
  SELECT
    s.node,
    s.uri,
    s.version,
    s.run,
    s.attempt,
    s.from_step,
    c.descendant,
    c.depth,
    MIN(COALESCE(l.resume_step, c.ancestor_step)) AS earliest_step
  FROM saw AS s
  JOIN lineage_closure AS c ON c.ancestor = s.node
  LEFT JOIN launches AS l
    ON l.run = s.run AND l.line_attempt = s.line_attempt AND l.attempt > s.attempt AND l.attempt <= c.ancestor_attempt
  WHERE c.ancestor_attempt >= s.attempt AND c.ancestor_step >= s.from_step
  GROUP BY s.node, s.uri, s.version, s.run, s.attempt, s.from_step, c.descendant, c.depth
),
found AS (
  SELECT node AS descendant, 0 AS depth, uri, version, run, attempt
  FROM saw
  UNION ALL
  SELECT descendant, depth, uri, version, run, attempt
  FROM left_at
  WHERE earliest_step >= from_step
  UNION ALL
  SELECT descendant, depth, SUBSTR(ancestor, 8), NULL, NULL, NULL
  FROM lineage_closure
  WHERE ancestor LIKE 'source:' || :source
)
SELECT descendant, MIN(depth) AS depth, uri, version, run AS through_run, MIN(attempt) AS through_attempt
FROM found
GROUP BY descendant, uri, version, run
ORDER BY depth, descendant, uri, version, through_run

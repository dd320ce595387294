CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"scd2","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse"},"columns":{}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount","10002":"_commit_lsn","10003":"_ordinal","10006":"valid_from","10007":"valid_to","10008":"is_current"},"pending":null}', 'sluice.epoch' = 'EPOCH')
AS SELECT r.* FROM (
SELECT CAST(NULL AS BIGINT) AS `id`, CAST(NULL AS STRING) AS `name`, CAST(NULL AS DOUBLE) AS `amount`, CAST(NULL AS TIMESTAMP) AS `valid_from`, CAST(NULL AS TIMESTAMP) AS `valid_to`, CAST(NULL AS BOOLEAN) AS `is_current`, CAST(NULL AS BIGINT) AS `_commit_lsn`, CAST(NULL AS BIGINT) AS `_ordinal`
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH RECURSIVE changes AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`),
moves AS (SELECT _commit_lsn AS _move_lsn, _ordinal + 1 AS _move_ordinal FROM changes WHERE _op = 3),
linked AS (SELECT changes.*, _move_lsn IS NOT NULL AS _moved FROM changes
  LEFT JOIN moves ON _commit_lsn = _move_lsn AND _ordinal = _move_ordinal),
followed AS (SELECT *, lag(_op) OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal) AS _before FROM linked),
segmented AS (SELECT *, max(IF(_moved OR _op = 0 OR _before IS NULL OR _before IN (2, 3), named_struct('l', _commit_lsn, 'o', _ordinal, 'c1', c1), NULL))
  OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _segment FROM followed),
links AS (SELECT s._segment AS _segment, p._segment AS _previous FROM segmented s JOIN segmented p
  ON s._moved AND p._commit_lsn = s._commit_lsn AND p._ordinal = s._ordinal - 1),
chains AS (SELECT l._segment, l._previous AS _row FROM links l LEFT ANTI JOIN links b ON l._previous = b._segment
  UNION ALL SELECT l._segment, c._row FROM links l JOIN chains c ON l._previous = c._segment),
chained AS (SELECT s.*, coalesce(c._row, s._segment) AS _row FROM segmented s LEFT JOIN chains c ON s._segment = c._segment),
valued AS (SELECT *, bool_or(_op IN (0, 1)) OVER past AS _known, last_value(IF(NOT _op IN (2, 3) AND NOT contains(coalesce(_unchanged, ''), ',2,'), named_struct('v', c2), NULL), true) OVER past AS _value2, first_value(c1) OVER past AS _key1
  FROM chained WINDOW past AS (PARTITION BY _row ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
resolved AS (SELECT r.*, o._old2, _known OR coalesce(o._there, false) AS _found FROM valued r
  LEFT JOIN (SELECT `t`.`id` AS _key1_own, `t`.`name` AS _old2, true AS _there FROM `main`.`lake`.`orders` t WHERE t.is_current) o ON _op IN (0, 1) AND (NOT _known OR _value2 IS NULL) AND o._key1_own <=> r._key1),
told AS (SELECT _op, _commit_lsn, _ordinal, _commit_time, c1, c3, IF(_op IN (2, 3), c2, IF(_value2 IS NULL, _old2, _value2.v)) AS c2 FROM resolved),
closed AS (SELECT `o`.`id` AS c1, max(o.valid_from) AS _since
  FROM `main`.`lake`.`orders` o WHERE o.is_current GROUP BY `o`.`id`),
lives AS (SELECT *, coalesce(count_if(_op IN (2, 3)) OVER
  (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS _life FROM told),
timed AS (SELECT e.*, greatest(c._since, max(e._commit_time) OVER (PARTITION BY e.c1, e._life
  ORDER BY e._commit_lsn, e._ordinal)) AS _begins FROM lives e LEFT JOIN closed c ON e._life = 0 AND e.c1 <=> c.c1),
spans AS (SELECT *, lead(_begins) OVER later AS _ends, row_number() OVER later AS _number
  FROM timed WINDOW later AS (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal))
SELECT *, true AS _closes FROM spans WHERE _number = 1
UNION ALL SELECT *, false FROM spans WHERE _op IN (0, 1)
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/1', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:1/1' AND s._closes AND t.is_current AND `t`.`id` <=> s.c1
WHEN MATCHED THEN UPDATE SET valid_to = s._begins, is_current = false
WHEN NOT MATCHED AND NOT s._closes THEN INSERT (`id`, `name`, `amount`, `valid_from`, `valid_to`, `is_current`, `_commit_lsn`, `_ordinal`) VALUES (s.c1, s.c2, s.c3, s._begins, s._ends, s._ends IS NULL, s._commit_lsn, s._ordinal);

CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"scd2","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse"},"columns":{}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount","10002":"_commit_lsn","10003":"_ordinal","10006":"valid_from","10007":"valid_to","10008":"is_current"},"pending":null}', 'sluice.epoch' = 'EPOCH', 'sluice.position' = 'sluice:log-1:77:3:5:1/2')
AS SELECT r.* FROM (
SELECT c1 AS `id`, c2 AS `name`, c3 AS `amount`, CAST(timestamp_micros(CAST('1767225600000000' AS BIGINT)) AS TIMESTAMP) AS `valid_from`, CAST(NULL AS TIMESTAMP) AS `valid_to`, CAST(true AS BOOLEAN) AS `is_current`, CAST(CAST('900' AS BIGINT) AS BIGINT) AS `_commit_lsn`, CAST(NULL AS BIGINT) AS `_ordinal` FROM (
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY 1) AS _rank FROM (SELECT CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/{s1.parquet,s2.parquet}`)) WHERE _rank = 1
)
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/2', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NOT NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH told AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`),
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
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:2/2', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:2/2' AND s._closes AND t.is_current AND `t`.`id` <=> s.c1
WHEN MATCHED THEN UPDATE SET valid_to = s._begins, is_current = false
WHEN NOT MATCHED AND NOT s._closes THEN INSERT (`id`, `name`, `amount`, `valid_from`, `valid_to`, `is_current`, `_commit_lsn`, `_ordinal`) VALUES (s.c1, s.c2, s.c3, s._begins, s._ends, s._ends IS NULL, s._commit_lsn, s._ordinal);

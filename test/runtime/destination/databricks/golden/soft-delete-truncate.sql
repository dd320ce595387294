CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
PARTITIONED BY (`name`)
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"softDelete","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse","partitionBy":["name"]},"columns":{"name":[2]}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount","10005":"_deleted_at"},"pending":null}', 'sluice.epoch' = 'EPOCH')
AS SELECT r.* FROM (
SELECT CAST(NULL AS BIGINT) AS `id`, CAST(NULL AS STRING) AS `name`, CAST(NULL AS DOUBLE) AS `amount`, CAST(NULL AS TIMESTAMP) AS `_deleted_at`
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH changes AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(nullif(c2, '') AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`),
linked AS (SELECT *, false AS _moved FROM changes),
followed AS (SELECT *, lag(_op) OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal) AS _before FROM linked),
segmented AS (SELECT *, max(IF(_moved OR _op = 0 OR _before IS NULL OR _before IN (2, 3), named_struct('l', _commit_lsn, 'o', _ordinal, 'c1', c1), NULL))
  OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _segment FROM followed),
chained AS (SELECT *, _segment AS _row FROM segmented),
valued AS (SELECT *, bool_or(_op IN (0, 1)) OVER past AS _known, last_value(IF(NOT _op IN (2, 3) AND NOT contains(coalesce(_unchanged, ''), ',2,'), named_struct('v', c2), NULL), true) OVER past AS _value2, last_value(IF(NOT _op IN (2, 3) AND NOT contains(coalesce(_unchanged, ''), ',3,'), named_struct('v', c3), NULL), true) OVER past AS _value3, first_value(c1) OVER past AS _key1
  FROM chained WINDOW past AS (PARTITION BY _row ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
latest AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY _commit_lsn DESC, _ordinal DESC) AS _rank
  FROM valued) WHERE _rank = 1),
resolved AS (SELECT *, _known AS _found FROM latest)
SELECT * FROM resolved
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/2', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:1/2' AND `t`.`id` <=> s.c1
WHEN MATCHED THEN UPDATE SET `id` = s.c1, `name` = IF(s._value2 IS NULL, `t`.`name`, s._value2.v), `amount` = IF(s._value3 IS NULL, `t`.`amount`, s._value3.v), `_deleted_at` = IF(s._op IN (2, 3), s._commit_time, NULL)
WHEN NOT MATCHED AND (s._found OR NOT s._op IN (2, 3)) THEN INSERT (`id`, `name`, `amount`, `_deleted_at`) VALUES (s.c1, IF(s._value2 IS NULL, NULL, s._value2.v), IF(s._value3 IS NULL, NULL, s._value3.v), IF(s._op IN (2, 3), s._commit_time, NULL));

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH changes AS (SELECT CAST(2 AS TINYINT) AS _op, CAST('900' AS BIGINT) AS _commit_lsn, CAST(0 AS BIGINT) AS _ordinal, timestamp_micros(CAST('1767225600000000' AS BIGINT)) AS _commit_time, CAST(NULL AS STRING) AS _unchanged, c.c1, c.c2, c.c3 FROM (SELECT `o`.`id` AS c1, `o`.`name` AS c2, `o`.`amount` AS c3 FROM `main`.`lake`.`orders` o WHERE o._deleted_at IS NULL) c),
latest AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY _commit_lsn DESC, _ordinal DESC) AS _rank
  FROM changes) WHERE _rank = 1)
SELECT * FROM latest
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:2/2', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:2/2' AND `t`.`id` <=> s.c1
WHEN MATCHED THEN UPDATE SET `id` = s.c1, `name` = s.c2, `amount` = s.c3, `_deleted_at` = IF(s._op IN (2, 3), s._commit_time, NULL)
WHEN NOT MATCHED THEN INSERT (`id`, `name`, `amount`, `_deleted_at`) VALUES (s.c1, s.c2, s.c3, IF(s._op IN (2, 3), s._commit_time, NULL));

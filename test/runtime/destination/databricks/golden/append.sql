CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"append","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse"},"columns":{}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount","10001":"_op","10002":"_commit_lsn","10003":"_ordinal","10004":"_commit_time"},"pending":null}', 'sluice.epoch' = 'EPOCH', 'sluice.position' = 'sluice:log-1:77:3:5:1/3')
AS SELECT r.* FROM (
SELECT c1 AS `id`, c2 AS `name`, c3 AS `amount`, CAST('snapshot' AS STRING) AS `_op`, CAST(CAST('900' AS BIGINT) AS BIGINT) AS `_commit_lsn`, CAST(NULL AS BIGINT) AS `_ordinal`, CAST(timestamp_micros(CAST('1767225600000000' AS BIGINT)) AS TIMESTAMP) AS `_commit_time` FROM (
SELECT CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/{s1.parquet,s2.parquet}`
)
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/3', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NOT NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH told AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`)
SELECT * FROM told
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:2/3', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:2/3' AND t._commit_lsn < -1
WHEN NOT MATCHED THEN INSERT (`id`, `name`, `amount`, `_op`, `_commit_lsn`, `_ordinal`, `_commit_time`) VALUES (s.c1, s.c2, s.c3, CASE s._op WHEN 0 THEN 'insert' WHEN 1 THEN 'update' WHEN 4 THEN 'update_preimage' ELSE 'delete' END, s._commit_lsn, s._ordinal, s._commit_time);

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
SELECT CAST(NULL AS BIGINT) AS c1, CAST(NULL AS STRING) AS c2, CAST(NULL AS DOUBLE) AS c3
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:3/3', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:3/3' AND t._commit_lsn < -1
WHEN NOT MATCHED THEN INSERT (`id`, `name`, `amount`, `_op`, `_commit_lsn`, `_ordinal`, `_commit_time`) VALUES (s.c1, s.c2, s.c3, 'truncate', CAST('900' AS BIGINT), CAST(NULL AS BIGINT), timestamp_micros(CAST('1767225600000000' AS BIGINT)));

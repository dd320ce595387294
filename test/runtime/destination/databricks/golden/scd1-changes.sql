CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
CLUSTER BY (`name`)
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"scd1","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse","clusterBy":["name"]},"columns":{"name":[2]}}', 'sluice.cluster' = '[2]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount"},"pending":null}', 'sluice.epoch' = 'EPOCH')
AS SELECT r.* FROM (
SELECT CAST(NULL AS BIGINT) AS `id`, CAST(NULL AS STRING) AS `name`, CAST(NULL AS DOUBLE) AS `amount`
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH changes AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM read_files('/Volumes/main/sluice/staging/data/c1.parquet', format => 'parquet', schemaEvolutionMode => 'none')),
latest AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY _commit_lsn DESC, _ordinal DESC) AS _rank
  FROM changes) WHERE _rank = 1)
SELECT * FROM latest
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/1', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:1/1' AND `t`.`id` <=> s.c1
WHEN MATCHED AND s._op IN (2, 3) THEN DELETE
WHEN MATCHED THEN UPDATE SET `id` = s.c1, `name` = s.c2, `amount` = s.c3
WHEN NOT MATCHED AND s._op IN (0, 1) THEN INSERT (`id`, `name`, `amount`) VALUES (s.c1, s.c2, s.c3);

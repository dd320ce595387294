CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"scd1","beforeImage":false,"metadataColumns":false,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse"},"columns":{}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount"},"pending":null}', 'sluice.epoch' = 'EPOCH')
AS SELECT r.* FROM (
SELECT CAST(NULL AS BIGINT) AS `id`, CAST(NULL AS STRING) AS `name`, CAST(NULL AS DOUBLE) AS `amount`
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NULL;

MERGE INTO `main`.`lake`.`orders` t USING (
SELECT r.*, g._token FROM (
WITH changes AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`),
balances AS (SELECT first(c1) AS c1, first(c2) AS c2, first(c3) AS c3, sum(IF(_op IN (0, 1), 1, -1)) AS _balance
  FROM changes GROUP BY c1, c2, c3, CAST(c3 AS STRING)),
found AS (SELECT `o`.`id` AS c1, `o`.`name` AS c2, `o`.`amount` AS c3, d._balance, row_number() OVER (PARTITION BY `o`.`id`, `o`.`name`, `o`.`amount`, CAST(`o`.`amount` AS STRING) ORDER BY 1) AS _number
  FROM `main`.`lake`.`orders` o JOIN (SELECT * FROM balances WHERE _balance < 0) d ON `o`.`id` <=> d.c1 AND `o`.`name` <=> d.c2 AND `o`.`amount` <=> d.c3 AND CAST(`o`.`amount` AS STRING) <=> CAST(d.c3 AS STRING))
SELECT c1, c2, c3, true AS _goes FROM balances WHERE _balance < 0
UNION ALL SELECT c1, c2, c3, false FROM found WHERE _number > -_balance
UNION ALL SELECT c1, c2, c3, false FROM balances LATERAL VIEW explode(sequence(1, CAST(_balance AS INT))) AS _time WHERE _balance > 0
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/1', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g
) s ON s._token = 'sluice:log-1:77:3:5:1/1' AND s._goes AND `t`.`id` <=> s.c1 AND `t`.`name` <=> s.c2 AND `t`.`amount` <=> s.c3 AND CAST(`t`.`amount` AS STRING) <=> CAST(s.c3 AS STRING)
WHEN MATCHED THEN DELETE
WHEN NOT MATCHED AND NOT s._goes THEN INSERT (`id`, `name`, `amount`) VALUES (s.c1, s.c2, s.c3);

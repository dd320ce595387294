CREATE TABLE IF NOT EXISTS `main`.`lake`.`_sluice_writers` (writer STRING, epoch STRING) USING DELTA;

MERGE INTO `main`.`lake`.`_sluice_writers` w USING (SELECT 'app' AS writer, 'EPOCH' AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch);

CREATE OR REPLACE TABLE `main`.`lake`.`orders` USING DELTA
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'false', 'sluice.source' = '["public","orders"]', 'sluice.table' = '77', 'sluice.log' = 'log-1', 'sluice.options' = '{"options":{"mode":"scd1","beforeImage":false,"metadataColumns":true,"deletionVectors":true,"columnMapping":true,"changeDataFeed":false,"onChange":"refuse"},"columns":{}}', 'sluice.cluster' = '[]', 'sluice.columns' = '{"names":{"1":"id","2":"name","3":"amount","10002":"_commit_lsn","10004":"_commit_time"},"pending":null}', 'sluice.epoch' = 'EPOCH', 'sluice.position' = 'sluice:log-1:77:3:5:1/1')
AS SELECT r.* FROM (
WITH told AS (SELECT _op, _commit_lsn, _ordinal, CAST(_commit_time AS TIMESTAMP) AS _commit_time, _unchanged, CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/c1.parquet`),
snapshot AS (SELECT CAST(c1 AS BIGINT) AS c1, CAST(c2 AS STRING) AS c2, CAST(c3 AS DOUBLE) AS c3 FROM parquet.`/Volumes/main/sluice/staging/data/{s1.parquet,s2.parquet}`),
touched AS (SELECT DISTINCT c1 FROM told),
kept AS (SELECT s.* FROM snapshot s LEFT ANTI JOIN touched k ON s.c1 <=> k.c1),
changes AS (SELECT _op, _commit_lsn, _ordinal, _commit_time, _unchanged, c1, c2, c3 FROM told
  UNION ALL SELECT 0 AS _op, CAST(-1 AS BIGINT) AS _commit_lsn, CAST(0 AS BIGINT) AS _ordinal,
  CAST(NULL AS TIMESTAMP) AS _commit_time, CAST(NULL AS STRING) AS _unchanged, c1, c2, c3 FROM snapshot s LEFT SEMI JOIN touched k ON s.c1 <=> k.c1),
linked AS (SELECT *, false AS _moved FROM changes),
followed AS (SELECT *, lag(_op) OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal) AS _before FROM linked),
segmented AS (SELECT *, max(IF(_moved OR _op = 0 OR _before IS NULL OR _before IN (2, 3), named_struct('l', _commit_lsn, 'o', _ordinal, 'c1', c1), NULL))
  OVER (PARTITION BY c1 ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _segment FROM followed),
chained AS (SELECT *, _segment AS _row FROM segmented),
valued AS (SELECT *, bool_or(_op IN (0, 1)) OVER past AS _known, last_value(IF(NOT _op IN (2, 3) AND NOT contains(coalesce(_unchanged, ''), ',2,'), named_struct('v', c2), NULL), true) OVER past AS _value2, first_value(c1) OVER past AS _key1
  FROM chained WINDOW past AS (PARTITION BY _row ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
latest AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY _commit_lsn DESC, _ordinal DESC) AS _rank
  FROM valued) WHERE _rank = 1)
SELECT c1 AS `id`, c2 AS `name`, c3 AS `amount`, CAST(_commit_lsn AS BIGINT) AS `_commit_lsn`, CAST(_commit_time AS TIMESTAMP) AS `_commit_time` FROM (
SELECT c1, c2, c3, CAST(NULL AS BIGINT) AS _commit_lsn, CAST(NULL AS TIMESTAMP) AS _commit_time FROM kept
UNION ALL SELECT c1, _value2.v AS c2, c3, _commit_lsn, _commit_time FROM latest WHERE NOT _op IN (2, 3)
)
) r CROSS JOIN (SELECT IF(max(epoch) <=> 'EPOCH', 'sluice:log-1:77:3:5:1/1', raise_error('sluice: another process writes for app now')) AS _token FROM `main`.`lake`.`_sluice_writers` WHERE writer = 'app') g WHERE g._token IS NOT NULL;

"""
Spark with Delta, told by lines of JSON on standard input: {"sql": TEXT} answers {"rows": [...]}, {"compare": TABLE}
answers {"differences": [...]}, {"lines": PATH} {"lines": [...]} with its rows as canonical text; a failure answers {"error": TEXT}. Listens on loopback only. Usage: spark_session.py FOLDER
"""
import json, os, sys
from pyspark.sql import SparkSession
import canonical
from spark_rows import read

# What Spark's Java says on standard output is no answer.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
folder = sys.argv[1]
lanes = os.path.dirname(os.path.abspath(__file__))
# pyspark brings its own of these.
brought = """org.apache.hadoop org.apache.parquet org.apache.logging.log4j com.fasterxml.jackson.* com.github.luben io.airlift
  org.xerial.snappy org.slf4j org.roaringbitmap org.locationtech.jts commons-* javax.annotation com.google.code.findbugs"""
# Statements are many and small: what makes a JVM fast later makes it slow at first.
with open(os.path.join(lanes, "spark-java-options")) as options:
    java_options = options.read().strip()
settings = {
    "spark.jars.packages": "io.delta:delta-spark_4.2_2.13:4.4.0",
    "spark.jars.excludes": ",".join(f"{group}:*" for group in brought.split()),
    "spark.jars.ivy": os.path.join(folder, "ivy"),
    "spark.jars.ivySettings": os.path.join(lanes, "ivysettings.xml"),
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.warehouse.dir": os.path.join(folder, "warehouse"),
    "spark.driver.extraJavaOptions": java_options,
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.maxPlanStringLength": "1000",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    # By default VACUUM lists a folder with 10,000 tasks.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.retentionDurationCheck.enabled": "false",
}
builder = SparkSession.builder.master("local[2]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def compare(table):
    source = f"delta.`{table['path']}`" if "query" not in table else f"({table['query']})"
    return canonical.differences(table, *read(spark, source))


print(json.dumps({"version": spark.version}), file=answers, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    try:
        if "compare" in request:
            answer = {"differences": compare(request["compare"])}
        elif "lines" in request:
            answer = {"lines": canonical.lines(*read(spark, f"delta.`{request['lines']}`"))}
        else:
            answer = {"rows": [row.asDict(recursive=True) for row in spark.sql(request["sql"]).collect()]}
    except Exception as error:
        answer = {"error": str(error)[:4000]}
    print(json.dumps(answer, default=str), file=answers, flush=True)
spark.stop()

"""
Declarative pipelines run by Spark's own spark-pipelines on a Spark Connect server (SPARK_REMOTE), told by lines of JSON on
standard input: {"update": SPEC, "dry": BOOL, "full_refresh": [NAME...], "refresh": [NAME...]} answers {"events": [TEXT...],
"left_out": [...]}, what Spark doesn't have of Databricks' functions; {"differences": TABLE, "path": PATH} those between a table
and a Delta table in a folder, and how many rows; {"sql": TEXT} {"rows": [...]}; a failure {"error": TEXT, "events": ...}.
"""
import collections, json, os, sys
from pathlib import Path
from pyspark.sql import SparkSession
from pyspark.pipelines import cli
from pyspark.sql.connect.client.core import PlanObservedMetrics, SparkConnectClient
import canonical
from spark_rows import quoted, read

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import databricks_pipelines

# What an update prints is no answer.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
events = []


def keep_events(results):
    for result in results:
        if "pipeline_event_result" in result:
            events.append(result["pipeline_event_result"].event.message)


cli.handle_pipeline_events = keep_events
execute = SparkConnectClient._execute_and_fetch_as_iterator


def without_metrics(*parameters, **named):
    """Accumulators of Python workers are told at the end of an update, which 4.2.0's client takes for an unknown answer."""
    return (each for each in execute(*parameters, **named) if not isinstance(each, PlanObservedMetrics))


SparkConnectClient._execute_and_fetch_as_iterator = without_metrics
module_from_spec = cli.importlib.util.module_from_spec


def imported(spec):
    """A source is imported as any module is: the harder case for what has to get to executors."""
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    return module


cli.importlib.util.module_from_spec = imported


def update(request):
    told = []
    restore = databricks_pipelines.install(databricks_pipelines.of_spark(told))
    try:
        cli.run(Path(request["update"]), request["full_refresh"], False, request["refresh"], request["dry"])
    finally:
        restore()
    failed = [text for text in events if "FAILED" in text]
    if failed:
        raise RuntimeError("\n".join(failed))
    return {"events": list(events), "left_out": sorted(told)}


def differences(spark, table, path):
    columns, rows = read(spark, f"delta.`{path}`")
    own = [name for name in spark.table(table).columns if not name.startswith("__spark_autocdc_")]
    if sorted(own) != sorted(name for name, _ in columns):
        return [f"{table}: columns {own}, not {[name for name, _ in columns]}"], len(rows)
    found_columns, found_rows = read(spark, f"(SELECT {', '.join(quoted(name) for name, _ in columns)} FROM {table})")
    if found_columns != columns:
        return [f"{table}: columns {found_columns}, not {columns}"], len(rows)
    found, wanted = (collections.Counter(canonical.lines(columns, each)) for each in (found_rows, rows))
    return [f"{line[:300]} is too much" for line in list(found - wanted)[:5]] + [
        f"{line[:300]} is missing" for line in list(wanted - found)[:5]
    ], len(rows)


def answer(request):
    if "update" in request:
        return update(request)
    spark = SparkSession.builder.getOrCreate()
    if "differences" in request:
        found, count = differences(spark, request["differences"], request["path"])
        return {"differences": found, "count": count}
    return {"rows": [row.asDict(recursive=True) for row in spark.sql(request["sql"]).collect()]}


spark = SparkSession.builder.getOrCreate()
print(json.dumps({"version": spark.version}), file=answers, flush=True)
for line in sys.stdin:
    events.clear()
    try:
        found = answer(json.loads(line))
    except Exception as error:
        found = {"error": str(error)[:8000], "events": list(events)}
    print(json.dumps(found, default=str), file=answers, flush=True)

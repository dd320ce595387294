"""
pyspark.pipelines with the parameters that Databricks publishes, over an engine: `of_spark` makes one of Spark's own,
declarative_pipelines.py is another.
"""
import functools
from pyspark import pipelines

own = {name: getattr(pipelines, name) for name in ("create_auto_cdc_flow", "create_streaming_table", "append_flow", "temporary_view")}


def of_spark(told):
    """
    Spark's own functions. What Spark lacks is told to a list and left out, where that changes nothing of what an update does to
    its rows; else it is an error.
    """

    class Spark:
        def auto_cdc(self, target, kind, apply_as_truncates, **flow):
            # A truncate has no key, which Spark refuses in any row: none is applied as something else.
            if apply_as_truncates is not None:
                told.append(f"{target}: apply_as_truncates")
            if kind == "2":
                told.append(f"{target}: stored_as_scd_type=2")
            own["create_auto_cdc_flow"](target=target, stored_as_scd_type=1, **flow)

        def streaming_table(self, name, expectations, **settings):
            told.extend(f"{name}: {kind}" for kind in expectations)
            own["create_streaming_table"](name, **settings)

        def append(self, **flow):
            return own["append_flow"](**flow)

        def view(self, **view):
            return own["temporary_view"](**view)

    return Spark()


def install(engine):
    """Replaces functions of pyspark.pipelines; returns what puts Spark's back."""

    def create_auto_cdc_flow(target, source, keys, sequence_by, ignore_null_updates=False, apply_as_deletes=None,
                             apply_as_truncates=None, column_list=None, except_column_list=None, stored_as_scd_type=1,
                             track_history_column_list=None, track_history_except_column_list=None, name=None, once=False):
        kind = str(stored_as_scd_type)
        assert kind in ("1", "2"), f"SCD type {kind}"
        assert column_list is None or except_column_list is None, "column_list and except_column_list"
        assert kind == "1" or apply_as_truncates is None, "APPLY AS TRUNCATE is for SCD type 1"
        assert track_history_column_list is None and track_history_except_column_list is None
        assert not ignore_null_updates and not once
        engine.auto_cdc(
            target, kind, apply_as_truncates, source=source, keys=keys, sequence_by=sequence_by, apply_as_deletes=apply_as_deletes,
            column_list=column_list, except_column_list=except_column_list, name=name,
        )

    def create_streaming_table(name, *, comment=None, spark_conf=None, table_properties=None, partition_cols=None,
                               cluster_by_auto=None, cluster_by=None, path=None, schema=None, expect_all=None,
                               expect_all_or_drop=None, expect_all_or_fail=None, row_filter=None):
        assert not (partition_cols and cluster_by), "partition_cols and cluster_by"
        rules = {"expect_all": expect_all, "expect_all_or_drop": expect_all_or_drop, "expect_all_or_fail": expect_all_or_fail}
        expectations = {kind: each for kind, each in rules.items() if each is not None}
        for each in expectations.values():
            assert all(isinstance(text, str) for pair in each.items() for text in pair)
        assert spark_conf is None and cluster_by_auto is None and path is None and row_filter is None
        engine.streaming_table(
            name, expectations, comment=comment, table_properties=table_properties, partition_cols=partition_cols,
            cluster_by=cluster_by, schema=schema,
        )

    def append_flow(*, target, name=None, once=False, comment=None, spark_conf=None):
        assert not once and comment is None
        return engine.append(target=target, name=name, spark_conf=spark_conf)

    def temporary_view(*, name, comment=None, spark_conf=None):
        assert comment is None
        return engine.view(name=name, spark_conf=spark_conf)

    for each in (create_auto_cdc_flow, create_streaming_table, append_flow, temporary_view):
        setattr(pipelines, each.__name__, functools.wraps(own[each.__name__])(each))

    def restore():
        for name, function in own.items():
            setattr(pipelines, name, function)

    return restore

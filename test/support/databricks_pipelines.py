"""
pyspark.pipelines with the parameters that Databricks publishes, over Spark's own. What Spark lacks is told and left out, where
that changes nothing of what an update does to its rows; else it is an error.
"""
import functools
from pyspark import pipelines


def install(told):
    """Replaces functions of pyspark.pipelines. `told`: a list that gets what was left out; returns what puts Spark's back."""
    own = {name: getattr(pipelines, name) for name in ("create_auto_cdc_flow", "create_streaming_table", "append_flow")}

    def create_auto_cdc_flow(target, source, keys, sequence_by, ignore_null_updates=False, apply_as_deletes=None,
                             apply_as_truncates=None, column_list=None, except_column_list=None, stored_as_scd_type=1,
                             track_history_column_list=None, track_history_except_column_list=None, name=None, once=False):
        kind = str(stored_as_scd_type)
        assert kind in ("1", "2"), f"SCD type {kind}"
        assert column_list is None or except_column_list is None, "column_list and except_column_list"
        assert kind == "1" or apply_as_truncates is None, "APPLY AS TRUNCATE is for SCD type 1"
        assert kind == "2" or (track_history_column_list is None and track_history_except_column_list is None)
        assert not ignore_null_updates and not once
        # A truncate has no key, which Spark refuses in any row: none is applied as something else.
        if apply_as_truncates is not None:
            told.append(f"{target}: apply_as_truncates")
        if kind == "2":
            told.append(f"{target}: stored_as_scd_type=2")
        own["create_auto_cdc_flow"](
            target=target, source=source, keys=keys, sequence_by=sequence_by, apply_as_deletes=apply_as_deletes,
            column_list=column_list, except_column_list=except_column_list, stored_as_scd_type=1, name=name,
        )

    def create_streaming_table(name, *, comment=None, spark_conf=None, table_properties=None, partition_cols=None,
                               cluster_by_auto=None, cluster_by=None, path=None, schema=None, expect_all=None,
                               expect_all_or_drop=None, expect_all_or_fail=None, row_filter=None):
        assert not (partition_cols and cluster_by), "partition_cols and cluster_by"
        for kind, rules in (("expect_all", expect_all), ("expect_all_or_drop", expect_all_or_drop), ("expect_all_or_fail", expect_all_or_fail)):
            if rules is not None:
                assert all(isinstance(each, str) for pair in rules.items() for each in pair)
                told.append(f"{name}: {kind}")
        assert spark_conf is None and cluster_by_auto is None and path is None and row_filter is None
        own["create_streaming_table"](
            name, comment=comment, table_properties=table_properties, partition_cols=partition_cols, cluster_by=cluster_by, schema=schema,
        )

    def append_flow(*, target, name=None, once=False, comment=None, spark_conf=None):
        assert not once and comment is None
        return own["append_flow"](target=target, name=name, spark_conf=spark_conf)

    for each in (create_auto_cdc_flow, create_streaming_table, append_flow):
        setattr(pipelines, each.__name__, functools.wraps(own[each.__name__])(each))

    def restore():
        for name, function in own.items():
            setattr(pipelines, name, function)

    return restore

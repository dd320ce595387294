"""Rows of Spark as canonical.py takes them: dates as days, timestamps as microseconds since 1970, in UTC."""
import json
import canonical


def read(spark, source):
    """Columns [(name, type)] and rows of what follows FROM."""
    fields = json.loads(spark.sql(f"SELECT * FROM {source}").schema.json())["fields"]
    columns = [(each["name"], canonical.type_name(each["type"])) for each in fields]
    chosen = ", ".join(f"{expression(*column)} AS c{at}" for at, column in enumerate(columns))
    return columns, spark.sql(f"SELECT {chosen} FROM {source}").collect()


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


def expression(name, delta_type):
    element_type = canonical.element_of(delta_type)
    if element_type is not None:
        return f"transform({quoted(name)}, x -> {value('x', element_type)})"
    return value(quoted(name), delta_type)


def value(column, delta_type):
    if delta_type == "date":
        return f"unix_date({column})"
    if delta_type in ("timestamp", "timestamp_ntz"):
        return f"unix_micros(CAST({column} AS TIMESTAMP))"
    return column

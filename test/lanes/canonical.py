"""One text for each value, as test/support/canonical-value.ts has it; and the comparison of an engine's rows with it."""
import collections, re, struct

ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def type_name(delta_type):
    """Of a type in Delta's schema: arrays are objects."""
    return delta_type if isinstance(delta_type, str) else f"array<{delta_type['elementType']}>"


def element_of(delta_type):
    return delta_type[6:-1] if delta_type.startswith("array<") else None


def field(value, delta_type):
    """Dates are days, timestamps microseconds since 1970; decimals Python's."""
    if value is None:
        return "\\N"
    return re.sub(r"[\\\b\f\n\r\t\v]", lambda match: ESCAPES[match.group()], text_of(value, delta_type))


def text_of(value, delta_type):
    element_type = element_of(delta_type)
    if element_type is not None:
        quoted = (re.sub(r'[\\"]', r"\\\g<0>", text_of(each, element_type)) for each in value if each is not None)
        return "{" + ",".join("NULL" if each is None else f'"{next(quoted)}"' for each in value) + "}"
    if delta_type in ("double", "float"):
        return struct.pack(">d" if delta_type == "double" else ">f", value).hex()
    if delta_type == "string":
        return value
    if delta_type == "binary":
        return bytes(value).hex()
    if delta_type == "boolean":
        return "true" if value else "false"
    if delta_type.startswith("decimal"):
        scale = int(re.fullmatch(r"decimal\(\d+,(\d+)\)", delta_type).group(1))
        text = format(value, f".{scale}f")
        return text[1:] if re.fullmatch(r"-0(\.0*)?", text) else text
    return str(int(value))


def lines(columns, rows):
    return ["\t".join(field(value, delta_type) for value, (_, delta_type) in zip(row, columns)) for row in rows]


def differences(table, columns, rows):
    """What an engine's columns [(name, type)] and rows differ in from what tables.json says; [] when they are equal."""
    wanted_columns = [(column["name"], column["type"]) for column in table["columns"]]
    if columns != wanted_columns:
        return [f"{table['name']}: columns {columns}, not {wanted_columns}"]
    found = collections.Counter(lines(columns, rows))
    with open(table["linesPath"], encoding="utf-8", newline="\n") as text:
        wanted = collections.Counter(line[:-1] for line in text)
    extra, missing = found - wanted, wanted - found
    return [f"{table['name']}: {line[:300]} is too much" for line in list(extra)[:3]] + [
        f"{table['name']}: {line[:300]} is missing" for line in list(missing)[:3]
    ]

import fc from "../../support/property";
import type { TypeCase } from "./type-cases";

/** array_in's form of a list of values; null is NULL. */
export function arrayLiteral(values: readonly (string | null)[], delimiter: string): string {
  const elements = values.map((value) => (value === null ? "NULL" : `"${value.replace(/[\\"]/g, "\\$&")}"`));
  return `{${elements.join(delimiter)}}`;
}

/** Arrays that are cases of their own, as text. */
export const isArrayCase = (one: TypeCase) => one.element === undefined && one.type.endsWith("[]");

/**
 * Arrays of a case: of any length, with NULL, of any bounds, of more dimensions. On the server the value is JSON:
 * [text or null where an element isn't representable, whether it is NULL] for each element.
 */
export function arrayCase(element: TypeCase): TypeCase {
  const delimiter = element.type === "box" ? ";" : ",";
  const literal = (values: readonly (string | null)[]) => arrayLiteral(values, delimiter);
  const { edges } = element;
  const [first] = edges;
  const value = fc.oneof(fc.constantFrom(...edges), element.random ?? fc.constantFrom(...edges));
  const list = fc.array(fc.option(value, { freq: 6 }), { maxLength: 8 });
  return {
    type: `${element.type}[]`,
    since: element.since,
    deltaType: `array<${element.deltaType}>`,
    element,
    edges: [
      literal([null, ...edges, null]),
      "{}",
      literal([null]),
      `[2:3]=${literal([first, null])}`,
      `[-1:-1]=${literal([first])}`,
      `{${literal([first, null])}${delimiter}${literal([null, first])}}`,
      `[0:0][5:6]={${literal([first, first])}}`,
      `{{${literal([null])}}}`,
      literal(Array.from({ length: 300 }, (_, at) => (at % 7 === 0 ? null : edges[at % edges.length]))),
    ],
    random: fc.oneof(
      { weight: 6, arbitrary: list.map(literal) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(list, fc.integer({ min: -5, max: 5 }))
          .map(([values, low]) =>
            values.length === 0 ? "{}" : `[${low}:${low + values.length - 1}]=${literal(values)}`,
          ),
      },
      { weight: 1, arbitrary: value.map((one) => `{${literal([one])}${delimiter}${literal([null])}}`) },
    ),
    server: (column) => {
      const item = `(${column})[n]`;
      const text = element.server?.(item) ?? `pg_catalog.format('%s', ${item})`;
      return `CASE WHEN array_ndims(${column}) > 1 THEN NULL ELSE (
        SELECT coalesce(json_agg(json_build_array(
            CASE WHEN ${item} IS DISTINCT FROM NULL THEN (${text})::text END, ${item} IS NOT DISTINCT FROM NULL) ORDER BY n), '[]')
          FROM generate_subscripts(${column}, 1) n)::text END`;
    },
  };
}

export interface Metric {
  name: string;
  help: string;
  type: "counter" | "gauge";
  samples: { labels?: Record<string, string>; value: number }[];
}

/** Prometheus text exposition format 0.0.4. */
export function renderMetrics(metrics: Metric[]): string {
  return metrics
    .map(({ name, help, type, samples }) => {
      const lines = samples.map(({ labels, value }) => `${name}${renderLabels(labels)} ${value}`);
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines].join("\n");
    })
    .join("\n")
    .concat("\n");
}

function renderLabels(labels: Record<string, string> | undefined): string {
  if (labels === undefined) return "";
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`,
  );
  return `{${pairs.join(",")}}`;
}

/** One value without labels; none where it isn't known. */
export function singleMetric(name: string, help: string, type: Metric["type"], value: number | null): Metric {
  return { name, help, type, samples: value === null ? [] : [{ value }] };
}

/** A value for each table, by the labels `schema` and `table`. */
export function tableMetrics<T extends { schema: string; name: string }>(tables: readonly T[]) {
  return (name: string, help: string, type: Metric["type"], value: (table: T) => number): Metric => ({
    name,
    help,
    type,
    samples: tables.map((table) => ({ labels: { schema: table.schema, table: table.name }, value: value(table) })),
  });
}

const text = { type: "string" };

/** A ServiceMonitor as the Prometheus operator defines it, as far as it is used here. */
export const serviceMonitors = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "servicemonitors.monitoring.coreos.com" },
  spec: {
    group: "monitoring.coreos.com",
    scope: "Namespaced",
    names: { kind: "ServiceMonitor", plural: "servicemonitors" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                required: ["selector", "endpoints"],
                properties: {
                  selector: {
                    type: "object",
                    properties: { matchLabels: { type: "object", additionalProperties: text } },
                  },
                  endpoints: {
                    type: "array",
                    items: {
                      type: "object",
                      properties: {
                        port: text,
                        path: text,
                        interval: {
                          type: "string",
                          pattern: "^(0|(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

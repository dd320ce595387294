import { type ErrorKind, SluiceError } from "../../runtime/errors";

/** `Status` of the API (meta/v1), as far as it is read here. */
export interface StatusAnswer {
  message?: string;
  reason?: string;
  details?: { kind?: string; name?: string; causes?: { reason?: string; message?: string; field?: string }[] };
}

/** Fields that somebody else has set, each with who. */
export class FieldConflict extends SluiceError {
  constructor(
    message: string,
    readonly fields: { by: string; field: string }[],
  ) {
    const managers = [...new Set(fields.map(({ by }) => by))].join(", ");
    super("conflict", message, {
      remedy: `Have ${managers} leave these fields alone, or set deployment.onConflict to "take", which sets them back.`,
    });
  }
}

/** Pure: of an answer that is an error, by its status code. */
export function clusterError(doing: string, code: number, status: StatusAnswer, address: string): SluiceError {
  const { message = `status ${code}`, details } = status;
  const causes = details?.causes ?? [];
  const conflicts = causes.filter(({ reason }) => reason === "FieldManagerConflict");
  if (code === 409 && conflicts.length > 0) {
    const fields = conflicts.map(({ message: text = "", field = "" }) => ({
      by: /^conflict with "([^"]+)"/.exec(text)?.[1] ?? "somebody",
      field: field.replace(/^\./, ""),
    }));
    const told = fields.map(({ by, field }) => `${field} (${by})`).join(", ");
    return new FieldConflict(`${doing}: others have set fields of it: ${told}`, fields);
  }
  const { kind, remedy } = meaningOf(code, address);
  return new SluiceError(kind, `${doing}: ${message}`, { remedy });
}

function meaningOf(code: number, address: string): { kind: ErrorKind; remedy: string } {
  switch (code) {
    case 400:
    case 422:
      return { kind: "config", remedy: "Correct the setting of deployment that the cluster's answer names." };
    case 401:
      return {
        kind: "authentication",
        remedy: `Log in to ${address}, so that kubectl works with this context, then run the same again.`,
      };
    case 403:
      return {
        kind: "permission",
        remedy:
          "The cluster's answer says what forbids it: a right that this user lacks (a Role and RoleBinding of the namespace grant it), a quota to be raised, or a policy of the namespace.",
      };
    case 404:
      return { kind: "missing-object", remedy: "Make what the message names, or correct its name in deployment." };
    case 409:
      return { kind: "conflict", remedy: "Somebody is at work on the same object: run the same again." };
    // Also what the server knows no reason for: a storage that fails, and fields that its schemas don't have.
    case 500:
      return {
        kind: "unreachable",
        remedy: `If the answer names a field, the cluster, or its ServiceMonitor, is older than this field: update it (Kubernetes 1.27 or later). Else look at the cluster's own state (kubectl get --raw /readyz) at ${address}.`,
      };
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
      return {
        kind: "unreachable",
        remedy: `Look at the cluster's own state (kubectl get --raw /readyz) at ${address}.`,
      };
    default:
      return { kind: "process", remedy: "Look at the cluster's audit log, then run the same again." };
  }
}

/** Pure: of a request without an answer, by the code of Node or OpenSSL. */
export function transportError(doing: string, error: unknown, address: string): SluiceError {
  const { code = "", name, message } = error as NodeJS.ErrnoException;
  if (name === "TimeoutError" || name === "AbortError") {
    return new SluiceError("unreachable", `${doing}: the cluster ${address} doesn't answer in time`, {
      remedy: "Check that this machine reaches the cluster's API server (kubectl get --raw /readyz).",
      cause: error,
    });
  }
  if (/^(EPROTO$|ERR_(SSL|TLS|OSSL)_|CERT|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/.test(code)) {
    return new SluiceError("tls", `${doing}: the cluster ${address}: ${message} (${code})`, {
      remedy: "Correct certificate-authority and the user's certificate in the kubeconfig.",
      cause: error,
    });
  }
  return new SluiceError("unreachable", `${doing}: the cluster ${address} can't be reached: ${message}`, {
    remedy: "Check that this machine reaches the cluster's API server (kubectl get --raw /readyz).",
    cause: error,
  });
}

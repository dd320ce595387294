/** What a stand-in answers. */
export interface Reply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** An answer of Databricks' error shape. */
export class ApiFailure extends Error {
  constructor(
    readonly status: number,
    readonly errorCode: string,
    message: string,
    readonly reason?: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }

  reply(): Reply {
    const info = {
      "@type": "type.googleapis.com/google.rpc.ErrorInfo",
      reason: this.reason,
      domain: "filesystem.databricks.com",
    };
    const details = this.reason === undefined ? {} : { details: [info] };
    return {
      status: this.status,
      body: { error_code: this.errorCode, message: this.message, ...details },
      headers: this.headers,
    };
  }
}

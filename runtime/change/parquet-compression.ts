import zlib from "node:zlib";

/** How pages are compressed (parquet.thrift, `CompressionCodec`). */
export interface Compression {
  codec: number;
  /** On a thread of libuv's pool; the bytes are read until it ends. */
  compress(bytes: Uint8Array): Promise<Buffer>;
  decompress(bytes: Uint8Array): Promise<Buffer>;
}

/** zstd's fastest level that isn't negative. */
const zstdLevel = 1;
const outputBytesMin = 16 * 1024;
const outputBytesMax = 1024 * 1024;

/** Memory that output comes in: what pages mostly need, so that it comes in one piece. */
function chunkSize(bytes: number): number {
  return Math.min(Math.max(bytes >> 1, outputBytesMin), outputBytesMax);
}

type Callback = (error: Error | null, output: Buffer) => void;

function promised(run: (callback: Callback) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    run((error, output) => {
      if (error !== null) reject(error);
      else resolve(output);
    });
  });
}

/** In memory no larger than itself: pages wait for the end of their file. */
async function compressed(run: (callback: Callback) => void): Promise<Buffer> {
  const output = await promised(run);
  if (output.buffer.byteLength <= output.length * 1.1) return output;
  const fitting = Buffer.allocUnsafeSlow(output.length);
  fitting.set(output);
  return fitting;
}

const zstd: Compression = {
  codec: 6,
  compress: (bytes) =>
    compressed((callback) =>
      zlib.zstdCompress(
        bytes,
        {
          chunkSize: chunkSize(bytes.length),
          pledgedSrcSize: bytes.length,
          params: { [zlib.constants.ZSTD_c_compressionLevel]: zstdLevel },
        },
        callback,
      ),
    ),
  decompress: (bytes) => promised((callback) => zlib.zstdDecompress(bytes, callback)),
};

const gzip: Compression = {
  codec: 2,
  compress: (bytes) =>
    compressed((callback) => zlib.gzip(bytes, { chunkSize: chunkSize(bytes.length), level: 1 }, callback)),
  decompress: (bytes) => promised((callback) => zlib.gunzip(bytes, callback)),
};

/** zstd; gzip where Node has no zstd (before 22.15). */
export const compression: Compression = typeof zlib.zstdCompress === "function" ? zstd : gzip;

import zlib from "node:zlib";

/** How pages are compressed (parquet.thrift, `CompressionCodec`). */
export interface Compression {
  codec: number;
  /** On a thread of libuv's pool; the bytes are read until it ends. The output is in memory of its own size. */
  compress(bytes: Uint8Array): Promise<Buffer>;
  decompress(bytes: Uint8Array): Promise<Buffer>;
}

/** zstd's fastest level that isn't negative. */
const zstdLevel = 1;
const outputBytes = 128 * 1024;
/** So many pages are compressed at the same time. */
const compressorsMax = 2;

type Callback = (error: Error | null, output: Buffer) => void;

function promised(run: (callback: Callback) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    run((error, output) => {
      if (error !== null) reject(error);
      else resolve(output);
    });
  });
}

/**
 * One zstd context, used again and again: a context is a megabyte, which the garbage collector would have to look after
 * for each page. What is written becomes a frame of its own.
 */
class ZstdCompressor {
  private readonly pieces: Buffer[] = [];
  private readonly stream = zlib.createZstdCompress({
    flush: zlib.constants.ZSTD_e_end,
    chunkSize: outputBytes,
    params: { [zlib.constants.ZSTD_c_compressionLevel]: zstdLevel },
  });
  private reject: (error: Error) => void = () => {};

  constructor() {
    // A piece lies in memory that the next one shares.
    this.stream.on("data", (piece: Buffer) => this.pieces.push(copyOf(piece)));
    this.stream.on("error", (error) => this.reject(error));
  }

  compress(bytes: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.reject = reject;
      this.stream.write(bytes, (error) => {
        if (error) return;
        const pieces = this.pieces.splice(0);
        resolve(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces));
      });
    });
  }
}

function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Compressors for all files; a page waits until one is free. */
class ZstdPool {
  private readonly free: ZstdCompressor[] = [];
  private made = 0;
  private readonly waiting: ((compressor: ZstdCompressor) => void)[] = [];

  readonly compress = async (bytes: Uint8Array): Promise<Buffer> => {
    const compressor = await this.take();
    const output = await compressor.compress(bytes).catch((error: unknown) => {
      // Of no use any more.
      this.give(new ZstdCompressor());
      throw error;
    });
    this.give(compressor);
    return output;
  };

  private take(): ZstdCompressor | Promise<ZstdCompressor> {
    const compressor = this.free.pop();
    if (compressor !== undefined) return compressor;
    if (this.made < compressorsMax) {
      this.made++;
      return new ZstdCompressor();
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private give(compressor: ZstdCompressor): void {
    const next = this.waiting.shift();
    if (next === undefined) this.free.push(compressor);
    else next(compressor);
  }
}

const zstd: Compression = {
  codec: 6,
  compress: new ZstdPool().compress,
  decompress: (bytes) => promised((callback) => zlib.zstdDecompress(bytes, callback)),
};

const gzip: Compression = {
  codec: 2,
  compress: async (bytes) => copyOf(await promised((callback) => zlib.gzip(bytes, { level: 1 }, callback))),
  decompress: (bytes) => promised((callback) => zlib.gunzip(bytes, callback)),
};

/** zstd; gzip where Node has no zstd (before 22.15). */
export const compression: Compression = typeof zlib.createZstdCompress === "function" ? zstd : gzip;

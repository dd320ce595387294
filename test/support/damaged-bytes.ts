import type { Random } from "./random";

/** A damaged copy, between other bytes, as in a socket's buffer. */
export function damage(bytes: Buffer, random: Random): { buffer: Buffer; start: number; end: number } {
  let damaged = Buffer.from(bytes);
  for (let times = random.between(1, 3); times > 0; times--) {
    const at = random.between(0, Math.max(damaged.length - 1, 0));
    switch (random.between(0, 5)) {
      case 0:
        damaged = damaged.subarray(0, at);
        break;
      case 1:
        if (damaged.length > 0) damaged[at] ^= 1 << random.between(0, 7);
        break;
      case 2:
        if (damaged.length > 0) damaged[at] = random.between(0, 255);
        break;
      case 3: {
        // Somewhere a length or a count.
        const lengths = [-1, -2, 0, 1, 0x7fffffff, -0x80000000, 0x40000000, damaged.length, damaged.length + 1];
        if (at + 4 <= damaged.length) damaged.writeInt32BE(random.choose(lengths), at);
        break;
      }
      case 4:
        damaged = Buffer.concat([damaged.subarray(0, at), Buffer.alloc(random.between(1, 9), random.between(0, 255))]);
        break;
      default:
        damaged = Buffer.concat([
          damaged.subarray(0, at),
          damaged.subarray(Math.min(at + random.between(1, 9), damaged.length)),
        ]);
    }
  }
  const around = () => Buffer.alloc(random.between(0, 40), random.between(0, 255));
  const before = around();
  return {
    buffer: Buffer.concat([before, damaged, around()]),
    start: before.length,
    end: before.length + damaged.length,
  };
}

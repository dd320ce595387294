import type { BenchOptions } from "./bench-options";
import type { Figure } from "./figures";

export function benchApply(_options: BenchOptions): Promise<Figure> {
  throw new Error("not yet");
}

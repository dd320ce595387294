/** Work that begins in the order in which it comes, so much of it at a time. */
export class WorkQueue {
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private readonly open = new Set<Promise<unknown>>();

  constructor(private readonly atOnceMax: number) {}

  /** The work's own result, or its failure, which is nobody else's. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn()
      .then(work)
      .finally(() => {
        const next = this.waiting.shift();
        // The next one has its place, before anybody else sees it free.
        if (next !== undefined) next();
        else this.running--;
      });
    const settled: Promise<unknown> = done.then(
      () => this.open.delete(settled),
      () => this.open.delete(settled),
    );
    this.open.add(settled);
    return done;
  }

  /** Resolves when all that has come by now is done or has failed. */
  async idle(): Promise<void> {
    await Promise.all(this.open);
  }

  private async turn(): Promise<void> {
    if (this.running < this.atOnceMax) this.running++;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

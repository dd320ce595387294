/**
 * glibc raises both with each large block that is freed, and then cuts such blocks from its heaps, which grow into pieces
 * that nothing fits in: an applier's by tens of megabytes an hour (malloc(3), mallopt(3)). Given, they stay.
 */
const settings = { MALLOC_MMAP_THRESHOLD_: "131072", MALLOC_TRIM_THRESHOLD_: "131072" };

/** Becomes the same process with malloc's thresholds fixed, as they are read once, at a program's start. */
export function fixMallocThresholds(): void {
  const { env, execve, execPath, execArgv, argv, platform } = process;
  if (platform !== "linux" || execve === undefined || Object.keys(settings).some((name) => name in env)) return;
  execve.call(process, execPath, [execPath, ...execArgv, ...argv.slice(1)], {
    ...env,
    ...settings,
  } as NodeJS.Dict<string>);
}

# Starts the process of pulumi-sluice in the image of a job's cluster, and ends with it. Before this stands `job`, what the process
# is told as JSON. Needs nothing but Python's own library.
import os
import signal
import subprocess
import sys
import tempfile

# Longer than the process takes to end.
stop_seconds = 20
# Where a node of Databricks has its room.
disk = "/local_disk0"


def run(node, main, run_id):
    environment = dict(os.environ, SLUICE_JOB_RUN=run_id)
    if "TMPDIR" not in environment and os.access(disk, os.W_OK):
        environment["TMPDIR"] = disk
    folder = tempfile.mkdtemp(prefix="sluice-", dir=environment.get("TMPDIR"))
    path = os.path.join(folder, "job.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(job)  # noqa: F821
    process = subprocess.Popen([node, main, "job", "--config", path], stdin=subprocess.DEVNULL, env=environment)

    def stop(*_):
        process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            signal.signal(number, stop)
        except ValueError:
            pass  # Not in the main thread: then it is an exception below.
    try:
        return process.wait()
    except BaseException:
        stop()
        try:
            process.wait(stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


code = run(*sys.argv[1:4])
# Databricks takes an exit with 0 for a failure too.
if code != 0:
    sys.exit(f"the process ended with {code}")

#!/usr/bin/env bash
# Runs a command in a network of its own, with loopback alone: for servers that listen on every interface.
# Usage: own-network.sh PYTHON COMMAND [ARGUMENT...]; 77 where this user may not make one.
set -euo pipefail
python=$1
shift
if ! unshare --net true 2>/dev/null; then echo "no network namespace for this user: unshare --net"; exit 77; fi
exec unshare --net "$python" -c '
import fcntl, os, socket, struct, sys
# SIOCSIFFLAGS: IFF_UP | IFF_LOOPBACK | IFF_RUNNING
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x49))
os.execvp(sys.argv[1], sys.argv[1:])
' "$@"

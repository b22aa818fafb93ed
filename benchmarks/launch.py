"""OUT ERR COMMAND... -> runs the command once; prints wall time, CPU time, peak and status.

Units: seconds, seconds, bytes, and the status of `os.waitstatus_to_exitcode`.
A process inherits the peak memory of its parent (Linux keeps it across exec), so this is a
small program of its own, run without site packages.
"""

import os
import sys
from time import perf_counter


def main(out: str, err: str, command: list[str]) -> None:
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, out, written, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, err, written, 0o600),
    ]
    begun = perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=streams)
    _, status, used = os.wait4(pid, 0)
    wall = perf_counter() - begun
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(wall, used.ru_utime + used.ru_stime, peak, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

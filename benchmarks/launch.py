"""OUT ERR COMMAND... -> runs the command once; prints what it cost, as JSON.

`wall`, `cpu` and `busy` are in seconds, `peak` in bytes, `status` is that of
`os.waitstatus_to_exitcode`. `busy` is the CPU time that the whole machine spent meanwhile,
or null where /proc/stat is missing.

A process inherits the peak memory of its parent (Linux keeps it across exec), so this is a
small program of its own, run without site packages.
"""

import json
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
    before = busy()
    begun = perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=streams)
    _, status, used = os.wait4(pid, 0)
    wall = perf_counter() - begun
    after = busy()
    cost = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "status": os.waitstatus_to_exitcode(status),
        "busy": None if before is None or after is None else after - before,
    }
    print(json.dumps(cost))


def busy() -> float | None:
    """Return the CPU seconds that all processes and the hypervisor have used since the boot.

    Interrupts are left out: those of loopback traffic are in no process's CPU time, so
    they would seem to be the work of others.
    """
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(
                int, lines.readline().split()[1:9]
            )
    except OSError:
        return None
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

"""Puts itself under the filter, waits for the supervisor, and becomes the command.

    python -S launch.py GO NAME,NAME,... COMMAND...

``GO`` is a descriptor that gives a byte when the supervisor holds the listener.
"""

import os
import sys

# A script of its own folder: the daemon's environment must not show where that is.
import seccomp


def main() -> None:
    go, names, *command = sys.argv[1:]
    seccomp.die_with_parent()
    seccomp.install(names.split(","))
    os.read(int(go), 1)
    os.close(int(go))
    os.execvp(command[0], command)  # noqa: S606 the point: no shell, no new process


if __name__ == "__main__":
    main()

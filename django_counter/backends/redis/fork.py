"""What tells a process from the one that it was forked from."""

import mmap
import os
import sys

WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux 4.14, which Python has no name for


class ProcessId:
    """A mark where the kernel wipes none: what it costs is a system call each time."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def __getitem__(self, index: int) -> int:
        return int(self._process == os.getpid())


def fork_mark() -> mmap.mmap | ProcessId:
    """Return a mark: `mark[0]` is 1 in this process, and 0 in one that is forked off.

    However it is forked: a server that is written in C runs no hook of Python's.
    """
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(WIPE_ON_FORK)
        except OSError:  # a kernel that cannot
            page.close()
        else:
            page[0] = 1
            return page
    return ProcessId()

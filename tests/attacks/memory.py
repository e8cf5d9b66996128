"""How much memory a process holds."""

import os
import resource
import sys
from pathlib import Path

MIB = 1024 * 1024


def resident_bytes(process: int | None = None) -> int:
    """Return what of a process is in memory now; where the system does not say (macOS), the most that ours ever had."""
    status = Path(f"/proc/{process or os.getpid()}/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

"""How much of the host's memory is free."""

import os
import re
from pathlib import Path


def available_memory() -> int | None:
    """Bytes of the host's memory that are free or would be made so, if that is known."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None

"""Where figures go: ``benchmarks/results/NAME.json`` with seeds, versions, machine, date and command."""

import datetime
import json
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from promptstill.stages.report import versions

RESULTS = Path(__file__).parent / "results"


def record(name: str, figures: dict[str, Any], path: Path | None = None) -> None:
    """Write the figures of one script, and print them."""
    script = Path(sys.argv[0])
    given = [re.sub(r"(?<![^:=])/\S*/", ".../", text) for text in sys.argv[1:]]  # folders of one machine tell nothing
    about = {
        "command": shlex.join(["python", f"{script.parent.name}/{script.name}", *given]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": versions(),
    }
    target = path or RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures | {"about": about}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=2, sort_keys=True) + "\n")

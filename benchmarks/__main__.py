"""`python -m benchmarks NAME …`: run one of the benchmarks, each with options of its own."""

from __future__ import annotations

import importlib
import sys
from typing import Dict, List

#: name on the command line: module that has `main(arguments) -> exit status`
BENCHMARKS: Dict[str, str] = {
    "client": "benchmarks.client.command",
    "storage": "benchmarks.storage.command",
    "timers": "benchmarks.timers.command",
}


def main(arguments: List[str]) -> int:
    if arguments and arguments[0] in BENCHMARKS:
        status: int = importlib.import_module(BENCHMARKS[arguments[0]]).main(arguments[1:])
        return status
    asked_for_help = arguments[:1] in (["-h"], ["--help"])
    print(
        f"usage: hatch run bench NAME [options]; names: {', '.join(BENCHMARKS)}; "
        "`NAME --help` tells its options",
        file=sys.stdout if asked_for_help else sys.stderr,
    )
    return 0 if asked_for_help else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

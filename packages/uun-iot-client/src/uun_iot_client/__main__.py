"""``python -m uun_iot_client`` is the command ``uun-iot-client``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

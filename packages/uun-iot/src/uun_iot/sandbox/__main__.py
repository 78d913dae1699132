"""``python -m uun_iot.sandbox``."""

import sys

from .command import _alone

if __name__ == "__main__":
    sys.exit(_alone())

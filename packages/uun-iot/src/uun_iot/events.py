"""The ways to register handlers, the newer and `on`; all of it comes from uun-iot-core."""

from uun_iot_core.events import *  # noqa: F403 - the names are listed there
from uun_iot_core.events import __all__ as __all__

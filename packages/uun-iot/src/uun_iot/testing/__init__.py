"""Fixtures for the tests of gateways, which the pytest plugin of uun-iot offers.

::

    def test_an_outage_loses_nothing(uuapp, gateway, clock, assert_nothing_lost):
        gateway(weather.init, "config.json")
        clock.advance(60)
        uuapp.outage()
        clock.advance(3600)
        uuapp.restore()
        clock.advance(600)
        assert_nothing_lost()

``uuapp`` is a sandbox in the test's process, ``gateway`` makes gateways that are stopped at
the end, ``clock`` stands still until the test lets time pass.
"""

from .delivery import Delivery
from .failures import Failure
from .fixtures import clock_for, gateways_for, sandbox_for
from .gateways import Gateways

__all__ = ["Delivery", "Failure", "Gateways", "clock_for", "gateways_for", "sandbox_for"]

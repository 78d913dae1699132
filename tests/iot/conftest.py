"""What all tests of the whole have: the fixtures that users' tests have, too."""

from uun_iot_pytest import uuapp

__all__ = ["uuapp"]  # in place of that of `tests.support`, which needs no distribution

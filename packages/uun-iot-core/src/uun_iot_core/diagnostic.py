"""Events that modules report to a health check."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DiagnosticEvent", "GatewayDiagnosticEvent", "GeneralDiagnosticEvent"]


class GeneralDiagnosticEvent(IntEnum):
    """Base of diagnostic events; inherit from it for events of an application's own."""


class DiagnosticEvent(GeneralDiagnosticEvent):
    """What modules report in the course of their work."""

    DIAGNOSTICS_START = 1
    """Diagnostics began."""
    DIAGNOSTICS_STOP = 2
    """Diagnostics ended."""
    TIMER_CALL = 3
    """A tick handler was called; give the timer's id as an argument."""
    ON_START_CALL = 4
    """A start handler was called."""
    ON_STOP_CALL = 5
    """A stop handler was called."""
    ON_UPDATE_CALL = 6
    """An update handler was called."""
    DATA_RECEIVED = 7
    """The module received valid data."""
    DATA_SEND_IMMINENT = 8
    """The module is about to send; report it right before ``self._send_storage()``."""
    DATA_SEND_OK = 9
    """All data were sent."""
    DATA_SEND_PARTIAL = 10
    """Some data were sent, some were not."""
    DATA_SEND_FAIL = 11
    """No data could be sent."""
    DATA_SEND_ATTEMPTED = 12
    """The module tried to send, whatever came of it."""


class GatewayDiagnosticEvent(GeneralDiagnosticEvent):
    """What happens to the gateway itself."""

    GATEWAY_START = 1
    """The gateway started."""
    GATEWAY_STOP = 2
    """The gateway stopped."""
    GATEWAY_SIGNAL = 3
    """The gateway received a signal; give the signal as an argument."""

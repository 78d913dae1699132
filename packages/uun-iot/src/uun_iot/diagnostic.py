"""The documented home of the diagnostic events; they come from uun-iot-core."""

from uun_iot_core import DiagnosticEvent, GatewayDiagnosticEvent, GeneralDiagnosticEvent

__all__ = ["DiagnosticEvent", "GatewayDiagnosticEvent", "GeneralDiagnosticEvent"]

"""A uuApp to run gateways against: real HTTPS, real tokens, and faults on demand.

`Sandbox` needs ``uun-iot-core`` and trustme. Its web console is `uun_iot.sandbox.console`,
its command `uun_iot.sandbox.command`; both need the extra ``uun-iot[sandbox]``.
"""

from .certificates import CERTIFICATE_KINDS
from .entries import Counts, Ledger, entries_of
from .faults import FAULT_KINDS, Fault, Faults
from .messages import HttpRequest, Reply
from .multipart import UploadedFile
from .records import Request
from .script import Script, ScriptError, Step
from .server import Sandbox
from .uuapp import UuApp

__all__ = [
    "CERTIFICATE_KINDS",
    "Counts",
    "FAULT_KINDS",
    "Fault",
    "Faults",
    "HttpRequest",
    "Ledger",
    "Reply",
    "Request",
    "Sandbox",
    "Script",
    "ScriptError",
    "Step",
    "UploadedFile",
    "UuApp",
    "entries_of",
]

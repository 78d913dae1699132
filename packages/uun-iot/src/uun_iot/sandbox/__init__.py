"""A uuApp to run gateways against: real HTTPS, real tokens, and faults on demand.

It stands alone: the standard library and trustme are all that it needs.
"""

from .certificates import CERTIFICATE_KINDS
from .faults import FAULT_KINDS, Fault, Faults
from .messages import HttpRequest, Reply
from .multipart import UploadedFile
from .records import Request
from .server import Sandbox
from .uuapp import UuApp

__all__ = [
    "CERTIFICATE_KINDS",
    "FAULT_KINDS",
    "Fault",
    "Faults",
    "HttpRequest",
    "Reply",
    "Request",
    "Sandbox",
    "UploadedFile",
    "UuApp",
]

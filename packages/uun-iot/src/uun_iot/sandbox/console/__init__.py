"""The web console of a sandbox; needs the extra ``uun-iot[sandbox]``."""

from .server import Console

__all__ = ["Console"]

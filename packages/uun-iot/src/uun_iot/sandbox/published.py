"""The published configuration, kept in the sandbox's directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from uun_iot_core import atomic_write

__all__ = ["Published"]

#: in the directory of the sandbox
FILE = "configuration.json"


class Published:
    """What the uuApp answers to ``gateway/getConfiguration``; at first nothing.

    Args:
        directory: where it is kept; None for nowhere.

    Raises:
        ValueError: the kept file is no JSON object.
        OSError: it cannot be read.
    """

    def __init__(self, directory: Optional[Union[str, "os.PathLike[str]"]]) -> None:
        self._path = None if directory is None else Path(directory) / FILE
        self.configuration: Dict[str, Any] = {}
        self._kept = self._path is not None and self._path.exists()
        if self._path is not None and self._kept:
            try:
                self.configuration = json.loads(self._path.read_text(encoding="utf-8"))
                if not isinstance(self.configuration, dict):
                    raise ValueError
            except (ValueError, RecursionError):
                raise ValueError(
                    f"{self._path}: this is no JSON object; correct it, or remove it"
                ) from None

    def begin_with(self, configuration: Optional[Mapping[str, Any]]) -> None:
        """Take a configuration where none was ever published.

        Args:
            configuration: the ``gateway`` part; None changes nothing.
        """
        if configuration is not None and not self._kept:
            self.configuration = dict(configuration)

    def set(self, configuration: Mapping[str, Any]) -> None:
        """Publish another configuration.

        Args:
            configuration: the ``gateway`` part of a gateway's configuration.

        Raises:
            TypeError, ValueError: it is not JSON.
            OSError: it cannot be kept; the one before stays.
        """
        text = json.dumps(configuration, indent=4, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")  # half a character cannot be sent
        if self._path is not None:
            atomic_write(self._path, text + "\n", mode=0o600)
        self.configuration = json.loads(text)

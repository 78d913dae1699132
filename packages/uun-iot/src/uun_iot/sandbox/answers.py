"""Answers from a directory of JSON files, one a command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

__all__ = ["AnswerFiles"]


class AnswerFiles:
    """What commands answer: ``weather/add`` that in ``weather/add.json``, and so on.

    A file is read at each request, so that it may be edited meanwhile.

    Args:
        directory: of the files.

    Raises:
        ValueError: it is no directory, or a file in it is no JSON object; the text names it.
    """

    def __init__(self, directory: Union[str, "os.PathLike[str]"]) -> None:
        self._root = Path(os.path.realpath(directory))
        if not self._root.is_dir():
            raise ValueError(f"{os.fspath(directory)}: no such directory of answers; make it")
        for path in sorted(self._root.rglob("*.json")):
            self._read(path)

    @property
    def commands(self) -> List[str]:
        """The commands that have a file."""
        return sorted(
            path.relative_to(self._root).with_suffix("").as_posix()
            for path in self._root.rglob("*.json")
        )

    def get(self, command: str) -> Optional[Dict[str, Any]]:
        """Return what a command answers, None where it has no file.

        Args:
            command: the uuCmd.

        Raises:
            ValueError: the file is no JSON object.
        """
        parts = command.split("/")
        if any(part in ("", ".", "..") or set(part) & set("\\\0:") for part in parts):
            return None
        path = Path(os.path.realpath(self._root.joinpath(*parts[:-1], f"{parts[-1]}.json")))
        if self._root not in path.parents or not path.is_file():
            return None
        return self._read(path)

    @staticmethod
    def _read(path: Path) -> Dict[str, Any]:
        try:
            answer = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as exc:
            raise ValueError(
                f"{path}: line {exc.lineno}, column {exc.colno}: {exc.msg}; correct the JSON"
            ) from None
        except (ValueError, RecursionError, OSError) as exc:
            raise ValueError(f"{path}: cannot be read as JSON ({exc}); correct it") from None
        if not isinstance(answer, dict):
            raise ValueError(
                f"{path}: an answer is a JSON object, got {type(answer).__name__}; put it in {{}}"
            )
        return answer

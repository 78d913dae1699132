"""Who the sandbox is and whom it knows: its workspaces and the gateways' credentials, kept."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from uun_iot_core import atomic_write

__all__ = ["Credentials", "Identity"]

#: in the directory of the sandbox
FILE = "identity.json"


@dataclass(frozen=True)
class Credentials:
    """Who may ask for a token; random, so that a search for them finds nothing else."""

    identity: str = field(default_factory=lambda: f"{secrets.randbelow(9000) + 1000}-1-1")
    access_code1: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    access_code2: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    client_id: str = field(default_factory=lambda: secrets.token_hex(16))
    client_secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    @property
    def secrets(self) -> List[str]:
        """What must never be seen."""
        return [self.access_code1, self.access_code2, self.client_secret]


@dataclass
class Identity:
    """The identifiers of the application and of its token service, and the gateways known.

    Args:
        awid: workspace of the application.
        oidc_awid: workspace of the token service.
        gateways: the credentials of each gateway; one at least.
    """

    awid: str = field(default_factory=lambda: secrets.token_hex(16))
    oidc_awid: str = field(default_factory=lambda: secrets.token_hex(16))
    gateways: List[Credentials] = field(default_factory=lambda: [Credentials()])

    @classmethod
    def kept(cls, directory: Optional[Union[str, "os.PathLike[str]"]], gateways: int) -> Identity:
        """Return the identity that a directory keeps, made there where there is none.

        Args:
            directory: of the sandbox; None for an identity that is kept nowhere.
            gateways: how many must be known; those that lack are added.

        Raises:
            ValueError: the kept file is damaged, or ``gateways`` is less than 1.
            OSError: the file cannot be read or written.
        """
        if gateways < 1:
            raise ValueError(f"a sandbox knows at least 1 gateway, got {gateways}")
        path = None if directory is None else Path(directory) / FILE
        identity = cls._load(path) if path is not None and path.exists() else cls()
        known = {one.identity for one in identity.gateways}
        while len(identity.gateways) < gateways:
            new = Credentials()
            if new.identity not in known:
                known.add(new.identity)
                identity.gateways.append(new)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(asdict(identity), indent=4), mode=0o600)
        return identity

    @classmethod
    def _load(cls, path: Path) -> Identity:
        try:
            data: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            gateways = [Credentials(**one) for one in data["gateways"]]
            identity = cls(data["awid"], data["oidc_awid"], gateways)
            texts = [identity.awid, identity.oidc_awid]
            texts += [value for one in gateways for value in asdict(one).values()]
            if not gateways or not all(isinstance(text, str) and text for text in texts):
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(
                f"{path}: this is not what a sandbox keeps of its identity; remove it, "
                "and a new one is made"
            ) from None
        return identity

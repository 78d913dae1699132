"""The sandbox's uuApp and its token service, without HTTP: a request in, an outcome out."""

from __future__ import annotations

import copy
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Set, Union

from .faults import refusal
from .messages import BadRequest, HttpRequest, Reply, error_map
from .multipart import UploadedFile
from .tokens import TokenRefused, Tokens

__all__ = ["Answer", "Credentials", "Outcome", "UuApp"]

#: what a command answers: an object, or a function that makes it of the input object
Answer = Union[Mapping[str, Any], Callable[[Dict[str, Any]], Mapping[str, Any]]]

GRANT = "oidc/grantToken"
HEARTBEAT = "gateway/heartbeat"
GET_CONFIGURATION = "gateway/getConfiguration"

_METHODS = {GRANT: "POST", HEARTBEAT: "POST", GET_CONFIGURATION: "GET"}
_HIDDEN = ("accessCode1", "accessCode2", "client_secret")


@dataclass(frozen=True)
class Credentials:
    """Who may ask for a token; random, so that a search for them finds nothing else."""

    identity: str = field(default_factory=lambda: f"{secrets.randbelow(9000) + 1000}-1-1")
    access_code1: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    access_code2: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    client_id: str = field(default_factory=lambda: secrets.token_hex(16))
    client_secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Args:
        reply: the answer.
        dto_in: the input object, without secrets; None where it was none.
        processed: whether the application accepted the request and did what it asks.
    """

    reply: Reply
    dto_in: Optional[Dict[str, Any]] = field(default=None, repr=False)
    processed: bool = False


class UuApp:
    """A token service, the gateway's commands, and any other command, which is echoed.

    Attributes:
        answers: by command, what it answers instead of its input.
        expires_in_as_text: answer grants with ``expires_in`` as a string.
        token_type: of the answer to a grant.
        gateways: the ``host:port`` names under which it is known.

    Args:
        tokens: issues and verifies the bearers.
        credentials: who may ask for a token.
    """

    name = "uun-sandbox-maing01"
    oidc_name = "uu-oidc-maing02"

    def __init__(self, tokens: Tokens, credentials: Credentials) -> None:
        self.tokens = tokens
        self.credentials = credentials
        self.awid = secrets.token_hex(16)
        self.oidc_awid = secrets.token_hex(16)
        self.answers: Dict[str, Answer] = {}
        self.expires_in_as_text = False
        self.token_type = "Bearer"
        self.gateways: Set[str] = set()
        self._published: Dict[str, Any] = {}

    def publish(self, configuration: Mapping[str, Any]) -> None:
        """Change what ``gateway/getConfiguration`` answers.

        Args:
            configuration: the ``gateway`` part of a gateway's configuration.
        """
        self._published = copy.deepcopy(dict(configuration))

    def command_of(self, path: str) -> Optional[str]:
        """Return the uuCmd that a path stands for, None where it is of neither application."""
        if path == f"/{self.oidc_name}/{self.oidc_awid}/{GRANT}":
            return GRANT
        prefix = f"/{self.name}/{self.awid}/"
        command = path[len(prefix) :] if path.startswith(prefix) else ""
        return command if command and command != GRANT else None

    def input_of(self, request: HttpRequest) -> Optional[Dict[str, Any]]:
        """Return the input object of a request, without secrets; None where it is none."""
        try:
            return self._shown(request, request.dto_in())
        except BadRequest:
            return None

    def handle(self, request: HttpRequest) -> Outcome:
        """Do what a request asks.

        Args:
            request: the whole request.
        """
        command = self.command_of(request.path)
        if command is None or request.method != _METHODS.get(command, request.method):
            page = "<!DOCTYPE html><title>uuApp</title><p>There is nothing here.</p>"
            return Outcome(Reply.html(page), self.input_of(request))
        if command != GRANT:
            refused = self._check_bearer(request.headers.get("authorization", ""))
            if refused is not None:
                return Outcome(refused, self.input_of(request))
        try:
            dto_in = request.dto_in()
        except BadRequest as exc:
            code = f"{self._code_prefix(command)}/invalidDtoIn"
            return Outcome(Reply.json(error_map(code, f"The input is not valid: {exc}."), 400))
        if command == GRANT:
            return self._grant(request, dto_in)
        return Outcome(Reply.json(self._answer(command, dto_in)), dto_in, processed=True)

    def _answer(self, command: str, dto_in: Dict[str, Any]) -> Dict[str, Any]:
        answer: Mapping[str, Any]
        if command in self.answers:
            prepared = self.answers[command]
            answer = prepared(dto_in) if callable(prepared) else prepared
        elif command == GET_CONFIGURATION:
            answer = self._published
        else:
            answer = {
                key: value.as_json() if isinstance(value, UploadedFile) else value
                for key, value in dto_in.items()
            }
        return {"uuAppErrorMap": {}, **answer}

    def _code_prefix(self, command: str) -> str:
        return "uu-oidc-main/grantToken" if command == GRANT else f"{self.name}/{command}"

    def _shown(self, request: HttpRequest, dto_in: Dict[str, Any]) -> Dict[str, Any]:
        if self.command_of(request.path) != GRANT:
            return dto_in
        return {key: f"<{key}>" if key in _HIDDEN else value for key, value in dto_in.items()}

    # -- tokens

    def _audiences(self) -> Collection[str]:
        return {f"https://{gateway}/{self.name}/{self.awid}" for gateway in self.gateways}

    def _check_bearer(self, authorization: str) -> Optional[Reply]:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme.lower() != "bearer" or not token.strip():
                raise TokenRefused("there is no bearer token")
            self.tokens.verify(token.strip(), self._audiences())
        except TokenRefused as exc:
            return Reply.json(error_map("uu-oidc/invalidToken", f"Invalid token: {exc}."), 401)
        return None

    def _grant(self, request: HttpRequest, dto_in: Dict[str, Any]) -> Outcome:
        shown = self._shown(request, dto_in)
        problems = self._problems(dto_in)
        if problems:
            details: Dict[str, Any] = {"invalidValueKeyMap": {key: {} for key in problems}}
            code = f"{self._code_prefix(GRANT)}/invalidDtoIn"
            refused = error_map(code, "The input is not valid.", param_map=details)
            return Outcome(Reply.json(refused, 400), shown)
        if not (dto_in.get("accessCode1") and dto_in.get("accessCode2")):
            return Outcome(refusal("unexpectedError"), shown)
        if not self._knows(dto_in):
            return Outcome(refusal("identityNotAuthenticated"), shown)
        audience = str(dto_in["scope"]).split()[1]
        grant = self.tokens.issue(self.credentials.identity, audience)
        lifetime: Union[int, float, str] = grant.lifetime
        if self.expires_in_as_text:
            lifetime = str(lifetime)
        reply: Dict[str, Any] = {
            "id_token": grant.id_token,
            "access_token": grant.access_token,
            "token_type": self.token_type,
            "expires_in": lifetime,
            "uuAppErrorMap": {},
        }
        return Outcome(Reply.json(reply), shown, processed=True)

    def _problems(self, dto_in: Dict[str, Any]) -> List[str]:
        """Return the keys of a grant that have no proper value."""
        problems = [key for key in ("username", "password") if dto_in.get(key) is not None]
        if dto_in.get("grant_type") != "password":
            problems.append("grant_type")
        scope = str(dto_in.get("scope", "")).split(" ")
        if len(scope) != 2 or scope[0] != "openid" or scope[1] not in self._audiences():
            problems.append("scope")
        return problems

    def _knows(self, dto_in: Dict[str, Any]) -> bool:
        known = self.credentials
        expected = {"accessCode1": known.access_code1, "accessCode2": known.access_code2}
        if "client_id" in dto_in or "client_secret" in dto_in:
            expected.update(client_id=known.client_id, client_secret=known.client_secret)
        return all(
            hmac.compare_digest(str(dto_in.get(key, "")).encode(), value.encode())
            for key, value in expected.items()
        )

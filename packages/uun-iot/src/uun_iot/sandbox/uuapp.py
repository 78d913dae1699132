"""The sandbox's uuApp and its token service, without HTTP: a request in, an outcome out."""

from __future__ import annotations

import copy
import hmac
import html
from dataclasses import dataclass, field
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Set, Union

from .answers import AnswerFiles
from .faults import refusal
from .identity import Credentials, Identity
from .messages import BadRequest, HttpRequest, Reply, error_map
from .multipart import UploadedFile
from .tokens import TokenRefused, Tokens

__all__ = ["Answer", "Outcome", "UuApp"]

#: what a command answers: an object, or a function that makes it of the input object
Answer = Union[Mapping[str, Any], Callable[[Dict[str, Any]], Mapping[str, Any]]]

GRANT = "oidc/grantToken"
HEARTBEAT = "gateway/heartbeat"
GET_CONFIGURATION = "gateway/getConfiguration"

_METHODS = {GRANT: "POST", HEARTBEAT: "POST", GET_CONFIGURATION: "GET"}
_HIDDEN = ("accessCode1", "accessCode2", "client_secret")


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Args:
        reply: the answer.
        dto_in: the input object, without secrets; None where it was none.
        processed: whether the application accepted the request and did what it asks.
        identity: of the gateway that asked, where it proved to be one.
    """

    reply: Reply
    dto_in: Optional[Dict[str, Any]] = field(default=None, repr=False)
    processed: bool = False
    identity: Optional[str] = None


class UuApp:
    """A token service, the gateway's commands, and any other command, which is echoed.

    Attributes:
        answers: by command, what it answers instead of its input.
        files: answers of further commands, from a directory; None where there is none.
        home: text of the page at ``/``.
        expires_in_as_text: answer grants with ``expires_in`` as a string.
        token_type: of the answer to a grant.
        gateways: the ``host:port`` names under which it is known.

    Args:
        tokens: issues and verifies the bearers.
        identity: who it is, and who may ask for a token.
    """

    name = "uun-sandbox-maing01"
    oidc_name = "uu-oidc-maing02"

    def __init__(self, tokens: Tokens, identity: Identity) -> None:
        self.tokens = tokens
        self.identity = identity
        self.awid = identity.awid
        self.oidc_awid = identity.oidc_awid
        self.answers: Dict[str, Answer] = {}
        self.files: Optional[AnswerFiles] = None
        self.home = "This is the uuApp of a uun-iot sandbox."
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

    @property
    def credentials(self) -> Credentials:
        """Those of the first gateway."""
        return self.identity.gateways[0]

    @property
    def published(self) -> Dict[str, Any]:
        """What ``gateway/getConfiguration`` answers (a copy)."""
        return copy.deepcopy(self._published)

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
            text = self.home if request.path == "/" else "There is nothing here."
            page = f"<!DOCTYPE html><title>uuApp</title><p>{html.escape(text)}</p>"
            return Outcome(Reply.html(page), self.input_of(request))
        identity: Optional[str] = None
        if command != GRANT:
            try:
                identity = self._bearer(request.headers.get("authorization", ""))
            except TokenRefused as exc:
                refused = error_map("uu-oidc/invalidToken", f"Invalid token: {exc}.")
                return Outcome(Reply.json(refused, 401), self.input_of(request))
        try:
            dto_in = request.dto_in()
        except BadRequest as exc:
            code = f"{self._code_prefix(command)}/invalidDtoIn"
            refused = error_map(code, f"The input is not valid: {exc}.")
            return Outcome(Reply.json(refused, 400), identity=identity)
        if command == GRANT:
            return self._grant(request, dto_in)
        return Outcome(Reply.json(self._answer(command, dto_in)), dto_in, True, identity)

    def _answer(self, command: str, dto_in: Dict[str, Any]) -> Dict[str, Any]:
        answer: Optional[Mapping[str, Any]] = None
        if command in self.answers:
            prepared = self.answers[command]
            answer = prepared(dto_in) if callable(prepared) else prepared
        elif command == GET_CONFIGURATION:
            answer = self._published
        elif self.files is not None:
            answer = self.files.get(command)
        if answer is None:
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

    def _bearer(self, authorization: str) -> str:
        """Return the identity that a bearer stands for."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("there is no bearer token")
        return str(self.tokens.verify(token.strip(), self._audiences())["sub"])

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
        known = self._known(dto_in)
        if known is None:
            return Outcome(refusal("identityNotAuthenticated"), shown)
        audience = str(dto_in["scope"]).split()[1]
        grant = self.tokens.issue(known.identity, audience)
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
        return Outcome(Reply.json(reply), shown, True, known.identity)

    def _problems(self, dto_in: Dict[str, Any]) -> List[str]:
        """Return the keys of a grant that have no proper value."""
        problems = [key for key in ("username", "password") if dto_in.get(key) is not None]
        if dto_in.get("grant_type") != "password":
            problems.append("grant_type")
        scope = str(dto_in.get("scope", "")).split(" ")
        if len(scope) != 2 or scope[0] != "openid" or scope[1] not in self._audiences():
            problems.append("scope")
        return problems

    def _known(self, dto_in: Dict[str, Any]) -> Optional[Credentials]:
        """Return the credentials that a grant's input has, all of them."""
        found = None
        for known in self.identity.gateways:
            expected = {"accessCode1": known.access_code1, "accessCode2": known.access_code2}
            if "client_id" in dto_in or "client_secret" in dto_in:
                expected.update(client_id=known.client_id, client_secret=known.client_secret)
            if all(
                hmac.compare_digest(str(dto_in.get(key, "")).encode(), value.encode())
                for key, value in expected.items()
            ):
                found = known
        return found

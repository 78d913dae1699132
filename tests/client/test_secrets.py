"""No secret in a log line, an exception or a repr, whatever happens."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import pickle
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
import requests

from tests.client.leaks import Everything, everything_logged, found_in, locals_of, texts_of
from tests.support.sandbox import Reply, Sandbox
from uun_iot_client import RetryPolicy, TokenError, UuAppClient, UuCmdSession, transport
from uun_iot_client.redact import HIDDEN, Redactor
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
PAYLOAD = "payload-marker-5b1c"


@pytest.fixture
def log() -> Iterator[Everything]:
    with everything_logged() as handler:
        yield handler


class Tour:
    """Calls a client in every way and collects every text that comes of it."""

    def __init__(self, config: Dict[str, Any]) -> None:
        self.config = config
        self.texts: List[str] = []
        self.locals: List[str] = []

    def _note(self, value: Any) -> None:
        if isinstance(value, BaseException):
            self.texts += texts_of(value)
            self.locals += locals_of(value)
        elif isinstance(value, tuple):
            for each in value:
                self._note(each)
        elif value is not None:
            self.texts.append(repr(value))

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            self._note(call())
        except Exception as exc:
            self._note(exc)

    def run(self, **arguments: Any) -> None:
        clock = ManualClock()
        arguments["read_timeout"] = 0.1
        lazy = UuAppClient(self.config, refresh_token_on_init=False, clock=clock, **arguments)
        session = UuCmdSession(lazy, COMMAND)
        dto = {"secret": PAYLOAD}
        calls: Tuple[Callable[[], Any], ...] = (
            lazy.refresh_token,
            lambda: lazy.get(COMMAND, dto),
            lambda: lazy.post(COMMAND, dto),
            lambda: lazy.multipart(COMMAND, dto),
            lambda: session.post(dto),
            session.update_headers,
            lambda: lazy.get_ignore_http_err(COMMAND, dto),
            lambda: lazy.post_ignore_http_err(COMMAND, dto),
            lambda: lazy.custom_request(self._custom(lazy), dto),
            lambda: len(lazy.command(COMMAND, dto)),
            lambda: len(list(lazy.pages(COMMAND, dto))),
            lambda: lazy.get(COMMAND, dto, retry=RetryPolicy(2, backoff=0.0, deadline=0.5)),
            lambda: lazy.post(COMMAND, dto, deadline=0.05),
        )
        for call in calls:
            self._try(call)
            clock.advance(61)  # past pauses after failed grants
        for _ in range(7):  # enough to open the breaker
            self._try(lambda: lazy.get(COMMAND, dto))
        self._try(lambda: UuAppClient(self.config, **arguments))
        held = (lazy, session, lazy._token, lazy._token._held, lazy._settings, lazy._redact)
        for each in (*held, lazy._transport, lazy._exchange, lazy._breaker, lazy._retry):
            self.texts += [repr(each), str(each)]
        lazy.close()

    def _custom(self, client: UuAppClient) -> Callable[[Any], requests.Response]:
        def send(dto_in: Any) -> requests.Response:
            url, headers = client.get_uucmd_url(COMMAND), client.get_auth_headers()
            response = requests.post(url, json=dto_in, headers=headers, timeout=0.3)
            if response.status_code != 200:
                raise requests.HTTPError(f"sent {headers}, got {response.status_code}")
            return response

        return send


def echo(uuapp: Sandbox, status: int, grants: bool = True) -> None:
    """Make the server repeat what it was sent, secrets first of all, in codes and headers."""
    handle = uuapp.uuapp.handle

    def repeating(request: Any) -> Any:
        outcome = handle(request)
        if GRANT in request.path:
            if not grants:
                return outcome
            sent = request.dto_in()
            repeated = [sent["accessCode1"], sent["accessCode2"], sent["client_secret"]]
        else:
            repeated = [request.headers["authorization"].split()[-1]]
        entries = {f"{each} x": {"type": "error", "message": each} for each in repeated}
        headers = {"X-Request-Id": " ".join(repeated)}
        reply = Reply.json({"uuAppErrorMap": entries}, status, **headers)
        return dataclasses.replace(outcome, reply=reply)

    uuapp.uuapp.handle = repeating  # type: ignore[method-assign]  # what this server does


def fault(kind: str, **arguments: Any) -> Callable[[Sandbox], object]:
    return lambda uuapp: uuapp.faults.add(kind, **arguments)


def unparsable(uuapp: Sandbox) -> None:
    """Repeat the token in a header that cannot be parsed, which the HTTP library quotes."""
    handle = uuapp.uuapp.handle

    def repeating(request: Any) -> Any:
        outcome = handle(request)
        token = request.headers.get("authorization", "no token")
        headers = {"X-Odd": f"1\r\nwithout a colon {token.split()[-1]}"}
        return dataclasses.replace(
            outcome, reply=dataclasses.replace(outcome.reply, headers=headers)
        )

    uuapp.uuapp.handle = repeating  # type: ignore[method-assign]  # what this server does


def wrong_certificate(uuapp: Sandbox) -> None:
    uuapp.use_certificate("foreign_ca")
    uuapp.drop_connections()


def expired_certificate(uuapp: Sandbox) -> None:
    uuapp.use_certificate("expired")
    uuapp.drop_connections()


def elsewhere(uuapp: Sandbox) -> str:
    """Return a URL on the same server by its address, which is another host than its name."""
    return uuapp.url("other/one").replace("localhost", "127.0.0.1")


def bad_tokens(uuapp: Sandbox) -> None:
    injected = f"a\r\n{uuapp.secrets[0]}"
    body = {"id_token": injected, "access_token": "x", "expires_in": 60}
    uuapp.faults.add("reply", command=GRANT, body=body)


SITUATIONS: Dict[str, Callable[[Sandbox], object]] = {
    "all is well": lambda uuapp: None,
    "outage": Sandbox.outage,
    "revoked": Sandbox.revoke_tokens,
    "wrong certificate": wrong_certificate,
    "dropped": fault("drop"),
    "dropped after reading": fault("drop", read=True, processed=True),
    "reset": fault("reset"),
    "half": fault("half"),
    "slow": fault("delay", seconds=20),
    "status": fault("status", status=500),
    "refused always": fault("status", status=401, command=COMMAND),
    "grant refused": fault("refuse_grant"),
    "page": fault("reply", body="<html>", content_type="text/html"),
    "redirect": fault("redirect", location="http://h/"),
    "another host": lambda uuapp: uuapp.faults.add("redirect", location=elsewhere(uuapp)),
    "repeated with 400": lambda uuapp: echo(uuapp, 400),
    "repeated with 200": lambda uuapp: echo(uuapp, 200),
    "repeated by the command": lambda uuapp: echo(uuapp, 401, grants=False),
    "bad tokens": bad_tokens,
    "headers that cannot be parsed": unparsable,
    "busy": fault("status", status=429, retry_after=0),
    "trickling": fault("slow", command=COMMAND, chunk_size=300, seconds=0.02),
    "expired certificate": expired_certificate,
    "HTTP/1.0": fault("http10"),
    "huge": fault("reply", command=COMMAND, body=b" " * 300_000),
}


#: where it may matter that a token has no form that gives it away
OPAQUE = ["all is well", "revoked", "reset", "refused always", "headers that cannot be parsed",
          "repeated with 400", "repeated with 200", "repeated by the command"]  # fmt: skip


@pytest.mark.parametrize(
    "situation, opaque",
    [*((each, False) for each in SITUATIONS), *((each, True) for each in OPAQUE)],
)
def test_no_secret_appears_anywhere(
    uuapp: Sandbox,
    config: Dict[str, Any],
    log: Everything,
    situation: str,
    opaque: bool,
) -> None:
    uuapp.tokens.opaque = opaque
    tour = Tour(config)
    tour.run()  # so that tokens are in memory and in the file
    SITUATIONS[situation](uuapp)
    tour.run()
    del config["oidcGrantToken"]["tokenPath"]
    tour.run()
    tour.run(fn_token_request=careless)
    uuapp.faults.clear()
    texts = tour.texts + log.lines
    assert len(texts) > 100
    assert len(uuapp.secrets) > 3
    assert found_in(texts, [*uuapp.secrets, PAYLOAD]) == []
    assert found_in(tour.locals, uuapp.secrets) == []


def test_the_http_library_does_quote_what_is_hidden(
    uuapp: Sandbox, config: Dict[str, Any], log: Everything
) -> None:
    unparsable(uuapp)
    client = UuAppClient(config)
    assert client.get(COMMAND)[1] is None
    lines = [line for line in log.lines if "without a colon" in line and COMMAND in line]
    assert lines and all(f"without a colon {HIDDEN}" in line for line in lines)


def test_what_watches_the_http_library_goes_with_its_client() -> None:
    logger = logging.getLogger("urllib3.connection")
    redact = Redactor()
    before = len(logger.filters)
    redact.guard_logs()
    redact.guard_logs()
    assert len(logger.filters) == before + 1
    del redact
    gc.collect()
    assert len(logger.filters) <= before


def careless(url: str, **arguments: Any) -> requests.Response:
    """Ask for a token, and quote the whole request where that fails."""
    try:
        return requests.post(url, **arguments)
    except requests.RequestException as exc:
        raise requests.ConnectionError(f"could not send {arguments!r}") from exc


def test_errors_of_a_careless_token_request_are_kept_quiet(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    def fail(url: str, **arguments: Any) -> requests.Response:
        raise KeyError(arguments["json"]["accessCode1"])

    for fetch in (fail, careless):
        uuapp.outage()
        with pytest.raises(Exception, match="token") as caught:
            UuAppClient(config, fetch)
        texts = texts_of(caught.value) + locals_of(caught.value)
        assert found_in(texts, uuapp.secrets) == []


def test_an_error_of_a_token_request_does_not_carry_the_request(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.outage()
    for fetch in (requests.post, transport.post):
        with pytest.raises(TokenError) as caught:
            UuAppClient(config, fetch)
        cause = caught.value.__cause__
        assert isinstance(cause, requests.ConnectionError)
        assert cause.request is None  # its body holds the access codes


def test_a_configuration_error_shows_no_value(config: Dict[str, Any]) -> None:
    marker = "value-marker-77"
    for section, key in (("uuThing", "accessCode1"), ("oidcGrantToken", "clientSecret")):
        wrong = {**config, section: {**config[section], key: [marker]}}
        with pytest.raises(Exception, match=key) as caught:
            UuAppClient(wrong)
        texts = texts_of(caught.value) + locals_of(caught.value)
        codes = [each for each in wrong["uuThing"].values() if isinstance(each, str)][1:]
        assert found_in(texts, [marker, *codes]) == []


def test_a_secret_is_hidden_in_its_repr_and_otherwise_as_good_as_any_text(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    headers = UuAppClient(config).get_auth_headers()
    token = uuapp.tokens.given_out[0]
    assert token not in repr(headers) and HIDDEN in repr(headers)
    assert headers["Authorization"] == f"Bearer {token}"
    assert json.loads(json.dumps(headers)) == pickle.loads(pickle.dumps(headers)) == headers
    assert requests.get(uuapp.url(COMMAND), headers=headers, json={}).status_code == 200


# -- the redactor


def test_known_secrets_are_hidden_in_every_writing() -> None:
    redact = Redactor()
    secret = 'co/de "ž\\1'
    redact.learn(secret)
    for written in (secret, "co%2Fde%20%22%C5%BE%5C1", 'co/de \\"\\u017e\\\\1', repr(secret)[1:-1]):
        assert redact(f"before {written} after") == f"before {HIDDEN} after"


def test_short_secrets_are_hidden_as_words_only() -> None:
    redact = Redactor()
    redact.learn("1", "ab")
    assert redact("ab 1 cab 11 ab.") == f"{HIDDEN} {HIDDEN} cab 11 {HIDDEN}."


def test_secrets_within_secrets_leave_no_rest() -> None:
    redact = Redactor()
    redact.learn("abcdefgh", "abcdefghijkl")
    assert redact("abcdefghijkl") == HIDDEN


@pytest.mark.parametrize(
    "text, clean",
    [
        ("Authorization: Bearer abcdefghijklmnopq, x", f"Authorization: Bearer {HIDDEN}, x"),
        ("https://user:pass@host/p", f"https://{HIDDEN}@host/p"),
        ("got eyJhbGciOi.eyJpc3M.c2ln end", f"got {HIDDEN} end"),
        ("a basic problem with the bearer of news", "a basic problem with the bearer of news"),
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(text: str, clean: str) -> None:
    assert Redactor()(text) == clean


def test_tokens_are_forgotten_after_a_while_and_access_codes_never() -> None:
    redact = Redactor()
    redact.learn("access-code", None, "", 5)
    tokens = [f"opaque-token-{number:04}" for number in range(100)]
    for token in tokens:
        redact.learn_token(token)
    assert redact(f"access-code {tokens[-1]}") == f"{HIDDEN} {HIDDEN}"
    assert redact(tokens[0]) == tokens[0]


def test_a_redacted_exception_keeps_its_type_and_response() -> None:
    redact = Redactor()
    redact.learn("access-code")
    response = requests.Response()
    clean = requests.HTTPError("fine", response=response)
    assert redact.exception(clean) is clean
    copy = redact.exception(requests.HTTPError("with access-code", response=response))
    assert (type(copy), str(copy)) == (requests.HTTPError, f"with {HIDDEN}")
    assert copy.response is response

"""The documented names, signatures and defaults of the client, and what its import costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any, Callable, Dict

import pytest
import requests

import uun_iot_client
from tests.support.sandbox import Sandbox
from uun_iot_client import (
    ErrorEntry,
    TokenCommandError,
    TokenError,
    UuAppClient,
    UuCmdSession,
    errors,
)
from uun_iot_client.transport import post
from uun_iot_core.exceptions import UunIotError

DOCUMENTED: Dict[str, Any] = {
    "get": {"uucmd": ..., "dto_in": None, "log_level": 30},
    "post": {"uucmd": ..., "dto_in": None, "log_level": 30},
    "multipart": {"uucmd": ..., "dto_in": None, "log_level": 30},
    "get_ignore_http_err": {"uucmd": ..., "dto_in": None, "log_level": 30},
    "post_ignore_http_err": {"uucmd": ..., "dto_in": None, "log_level": 30},
    "custom_request": {"custom_send_f": ..., "dto_in": None, "label": None, "log_level": 30},
    "get_auth_headers": {"content_type": "application/json"},
    "get_uucmd_url": {"uucmd": ...},
    "is_token_expired": {},
    "refresh_token": {},
}


def parameters(function: Callable[..., Any]) -> Dict[str, Any]:
    """Return names and defaults of what may be given by position, but for `self`."""
    return {
        name: ... if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_methods_of_the_client_have_the_documented_signatures(name: str) -> None:
    found = parameters(getattr(UuAppClient, name))
    assert list(found.items()) == list(DOCUMENTED[name].items())


def test_client_has_the_documented_constructor() -> None:
    found = parameters(UuAppClient)
    expected = {
        "config": ...,
        "fn_token_request": post,
        "refresh_token_on_init": True,
        "token_leeway": 60,
    }
    assert list(found.items()) == list(expected.items())
    assert post.__name__ == "post"


def test_session_has_the_documented_signatures() -> None:
    assert parameters(UuCmdSession) == {"uuclient": ..., "uucmd": ..., "log_level": 30}
    for method in (UuCmdSession.get, UuCmdSession.post):
        assert list(parameters(method).items()) == [("data", None), ("log_level", 30)]
    assert str(inspect.signature(UuCmdSession.get)).count("= 30") == 1
    assert parameters(UuCmdSession.update_headers) == {}


def test_further_parameters_are_keyword_only_and_optional() -> None:
    for cls in (UuAppClient, UuCmdSession):
        for name, parameter in inspect.signature(cls).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                assert parameter.default is not parameter.empty, name


def test_default_token_request_behaves_as_that_of_requests(uuapp: Sandbox) -> None:
    response = post(uuapp.url("gateway/heartbeat"), json={"a": 1}, timeout=5)
    assert isinstance(response, requests.Response)
    assert response.status_code == 401
    assert uuapp.requests[-1].dto_in == {"a": 1}


def test_errors_form_one_tree_and_are_also_the_documented_types() -> None:
    assert issubclass(TokenCommandError, TokenError)
    assert issubclass(TokenError, UunIotError)
    assert not issubclass(TokenError, requests.RequestException)
    response = requests.Response()
    response.status_code = 400
    for error, own, theirs in (
        (
            errors.command_error("m", response, (ErrorEntry("code", "error"),), "id"),
            errors.CommandError,
            requests.HTTPError,
        ),
        (
            errors.protocol_error("m", response, "id"),
            errors.ProtocolError,
            requests.RequestException,
        ),
        (errors.gateway_stopping(), errors.GatewayStopping, requests.ConnectionError),
    ):
        assert isinstance(error, own) and isinstance(error, theirs)
        assert isinstance(error, errors.UuAppClientException)
        assert type(error).__name__ == own.__name__
        assert type(error).__module__ == "uun_iot_client.errors"


def test_exported_names_are_sorted_and_there() -> None:
    names = uun_iot_client.__all__
    assert names == sorted(names)
    for name in names:
        assert hasattr(uun_iot_client, name)


def test_a_client_without_configuration_imports_neither_requests_nor_openssl() -> None:
    script = (
        "import sys, uun_iot_client as c\n"
        "client = c.UuAppClient({})\n"
        "assert client.refresh_token() is False and client.is_token_expired()\n"
        "c.UuCmdSession(client, 'a/b'), repr(client), c.TokenCommandError('x')\n"
        "late = {'requests', 'requests_toolbelt', 'urllib3', 'ssl', '_hashlib', 'email.utils'}\n"
        "assert not late & set(sys.modules), late & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""The token file: what it holds, who may read it, and what a bad one does (nothing)."""

from __future__ import annotations

import copy
import json
import os
import resource
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.support.rights import with_ordinary_rights
from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
LIFE = 1800


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def works(config: Dict[str, Any], **arguments: Any) -> UuAppClient:
    client = UuAppClient(config, refresh_token_on_init=False, **arguments)
    assert client.get(COMMAND)[1] is None
    client.close()
    return client


def test_file_holds_the_reply_and_when_it_ends(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path
) -> None:
    before = time.time()
    works(config)
    content = json.loads(token_path.read_text())
    assert before + LIFE <= content["expires_at"] <= time.time() + LIFE
    assert [content["id_token"], content["access_token"]] == uuapp.tokens.given_out
    assert (content["token_type"], content["expires_in"]) == ("Bearer", LIFE)
    assert content["uuAppErrorMap"] == {}


def test_file_is_for_its_owner_only_and_nothing_is_left_beside_it(
    config: Dict[str, Any], token_path: Path
) -> None:
    old = os.umask(0)
    try:
        works(config)
    finally:
        os.umask(old)
    assert mode(token_path) == 0o600
    assert os.listdir(token_path.parent) == [token_path.name]


def test_file_that_all_may_read_becomes_private(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path
) -> None:
    works(config)
    token_path.chmod(0o644)
    works(config)
    assert (mode(token_path), uuapp.grants) == (0o600, 1)
    token_path.write_text("damaged")
    token_path.chmod(0o666)
    works(config)
    assert (mode(token_path), uuapp.grants) == (0o600, 2)


def test_token_of_the_file_is_used_until_it_ends(config: Dict[str, Any], uuapp: Sandbox) -> None:
    clock = ManualClock(time.time())
    works(config, clock=clock)
    clock.advance(LIFE - 61)
    later = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    assert (later.refresh_token(), uuapp.grants) == (False, 1)
    clock.advance(2)
    assert later.is_token_expired()
    works(config, clock=clock)
    assert uuapp.grants == 2


def test_token_of_the_file_is_refreshed_only_if_that_is_needed(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    works(config)
    assert UuAppClient(config, refresh_token_on_init=False).refresh_token() is False
    assert not UuAppClient(config).is_token_expired()
    assert uuapp.grants == 1


def test_file_is_not_read_before_a_token_is_needed(
    config: Dict[str, Any], token_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token_path.parent.mkdir()
    token_path.write_text("damaged")
    client = UuAppClient(config, refresh_token_on_init=False)
    assert client.is_token_expired()
    assert caplog.records == []
    client.refresh_token()
    assert str(token_path) in caplog.text


def test_a_clock_set_back_gives_the_token_no_second_life(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    works(config)
    clock = ManualClock(0)  # 1970
    client = works(config, clock=clock)
    assert uuapp.grants == 1
    clock.advance(LIFE + 1)
    assert client.is_token_expired()


def test_a_revoked_token_of_the_file_is_replaced(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path
) -> None:
    works(config)
    uuapp.revoke_tokens()
    works(config)
    assert json.loads(token_path.read_text())["id_token"] == uuapp.tokens.given_out[2]


def test_file_of_an_older_program_is_accepted(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path
) -> None:
    token = uuapp.tokens.issue("1-1-1", f"https://{uuapp.gateway}/{uuapp.uuapp.name}/"
                               f"{uuapp.uuapp.awid}").id_token  # fmt: skip
    token_path.parent.mkdir()
    for expires_at in (time.time() + 600, int(time.time()) + 600, str(time.time() + 600)):
        token_path.write_text(json.dumps({"id_token": token, "expires_at": expires_at}))
        works(config)
    assert uuapp.grants == 0


@pytest.mark.parametrize(
    "section, key", [("uuThing", "accessCode1"), ("uuThing", "accessCode2"), ("uuApp", "awid"),
                     ("oidcGrantToken", "awid")]
)  # fmt: skip
def test_file_of_another_configuration_is_not_used(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path, section: str, key: str
) -> None:
    works(config)
    token = json.loads(token_path.read_text())["id_token"]
    other = copy.deepcopy(config)
    other[section][key] = "another"
    client = UuAppClient(other, refresh_token_on_init=False)
    with pytest.raises(Exception, match="token"):
        assert client.get_auth_headers()["Authorization"] != f"Bearer {token}"
        raise RuntimeError("a token was granted in spite of the wrong configuration")
    works(config)
    assert uuapp.grants == 1


def test_file_does_not_hold_the_access_codes(
    config: Dict[str, Any], token_path: Path, uuapp: Sandbox
) -> None:
    works(config)
    text = token_path.read_text()
    for secret in uuapp.secrets[:3]:
        assert secret not in text


def token_file(**content: Any) -> str:
    return json.dumps({"id_token": "abc", "expires_at": 4e9, "expires_in": LIFE, **content})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "damaged",
        "null",
        "[]",
        "5",
        "{}",
        "[" * 100_000,
        '{"id_token": "abc"',
        token_file(id_token=None),
        token_file(id_token=""),
        token_file(id_token=["abc"]),
        token_file(id_token="a\r\nX-Injected: 1"),
        token_file(id_token="žž"),
        token_file(expires_at=None),
        token_file(expires_at="soon"),
        token_file(expires_at=True),
        token_file(expires_at=float("nan")),
        token_file(expires_at=float("inf")),
        token_file(expires_at={}),
        "\udcff\udcfe",
        "x" * 2_000_000,
    ],
    ids=lambda content: content[:40].encode("unicode_escape").decode(),
)
def test_a_damaged_file_is_named_and_replaced(
    config: Dict[str, Any],
    uuapp: Sandbox,
    token_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
) -> None:
    token_path.parent.mkdir()
    token_path.write_text(content, encoding="utf-8", errors="surrogateescape")
    works(config)
    assert str(token_path) in caplog.text
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    caplog.clear()
    works(config)
    assert (uuapp.grants, caplog.records) == (1, [])


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "file in the way", "nul"])
def test_a_path_that_cannot_be_used_is_named_and_the_token_kept_in_memory(
    config: Dict[str, Any],
    uuapp: Sandbox,
    token_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    token_path.parent.mkdir()
    name = str(token_path)
    if kind == "directory":
        token_path.mkdir()
    elif kind == "fifo":
        os.mkfifo(token_path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
    elif kind == "file in the way":
        token_path.write_text("")
        name = str(token_path / "below")
    else:
        name = f"{token_path}\0"
    config["oidcGrantToken"]["tokenPath"] = name
    before = None if kind == "nul" else stat.S_IFMT(token_path.stat().st_mode)
    client = works(config)
    if before is not None:  # what is no file is left as it is
        assert stat.S_IFMT(token_path.stat().st_mode) == before
    assert caplog.records and {each.levelname for each in caplog.records} == {"WARNING"}
    assert name in caplog.text
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 1


def test_a_directory_without_rights_is_named_and_survived(
    config: Dict[str, Any], token_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token_path.parent.mkdir(mode=0o500)
    with_ordinary_rights(lambda: works(config))
    assert not token_path.exists()
    assert str(token_path) in caplog.text


def test_a_disk_that_takes_no_more_is_named_and_survived(
    config: Dict[str, Any],
    uuapp: Sandbox,
    token_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    works(config)
    old = token_path.read_bytes()
    uuapp.revoke_tokens()
    client = UuAppClient(config, refresh_token_on_init=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        result = client.get(COMMAND)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert result[1] is None
    assert "cannot be written" in caplog.text and str(token_path) in caplog.text
    assert token_path.read_bytes() == old
    assert os.listdir(token_path.parent) == [token_path.name]
    assert client.get(COMMAND)[1] is None


def test_a_link_to_the_file_stays_a_link(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere"
    token_path.parent.mkdir()
    token_path.symlink_to(target)
    works(config)
    assert token_path.is_symlink()
    assert mode(target) == 0o600
    works(config)
    assert uuapp.grants == 1


def test_a_relative_path_starts_where_the_client_was_made(
    config: Dict[str, Any], uuapp: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    config["oidcGrantToken"]["tokenPath"] = "oidc-token"
    clock = ManualClock()
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    monkeypatch.chdir(second)
    assert client.refresh_token() is True
    assert os.listdir(first) == ["oidc-token"]
    config["oidcGrantToken"]["tokenPath"] = "./other/oidc-token"
    clock.advance(10**7)
    assert client.refresh_token() is True
    assert sorted(os.listdir(first)) == ["oidc-token", "other"]
    config["oidcGrantToken"]["tokenPath"] = str(second / "absolute")
    clock.advance(10**7)
    assert client.refresh_token() is True
    assert os.listdir(second) == ["absolute"]

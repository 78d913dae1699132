"""What a sandbox keeps in its directory, and what it answers from a directory of files."""

from __future__ import annotations

import json
import os
import ssl
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest
import requests

from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from uun_iot import UuAppClient
from uun_iot.sandbox.certificates import Certificates
from uun_iot_client import CommandError

WARN = {"PYTHONWARNINGS": "error"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")


class TestDirectory:
    def test_a_configuration_is_good_for_the_next_process_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        with Sandbox(directory=home) as uuapp:
            ca = Path(uuapp.ca_file).read_bytes()
            port = uuapp.port
            uuapp.write_configuration(tmp_path / "config.json", token_path=str(tmp_path / "token"))
            uuapp.publish({"weather": {"place": "Brno"}})
        config = json.loads((tmp_path / "config.json").read_text())
        with Sandbox(port, directory=home) as uuapp:
            assert Path(uuapp.ca_file).read_bytes() == ca
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
            with closing(UuAppClient(config)) as client:
                assert client.command("gateway/getConfiguration", {}, method="GET") == {
                    "weather": {"place": "Brno"},
                    "uuAppErrorMap": {},
                }

    def test_keys_and_codes_are_the_owner_s_alone(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            with Sandbox(directory=tmp_path) as uuapp:
                uuapp.publish({})
                uuapp.write_configuration(tmp_path / "config.json")
        finally:
            os.umask(old)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        public = modes.pop("ca.pem")
        assert public & 0o444
        assert modes == dict.fromkeys(
            ("authority.pem", "identity.json", "configuration.json", "config.json"), 0o600
        )
        assert "PRIVATE" not in (tmp_path / "ca.pem").read_text()

    def test_processes_that_begin_at_once_agree_on_one_authority(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: Certificates(directory=tmp_path), range(8)))
        for number, one in enumerate(made):
            one.write_ca(tmp_path / f"ca{number}.pem")
        assert len({(tmp_path / f"ca{number}.pem").read_bytes() for number in range(8)}) == 1
        ssl.create_default_context(cafile=str(tmp_path / "ca0.pem"))

    @pytest.mark.parametrize("name", ["authority.pem", "identity.json", "configuration.json"])
    @pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"gateways": []}'])
    def test_damage_is_named_with_the_remedy(self, tmp_path: Path, name: str, content: str) -> None:
        Sandbox(directory=tmp_path).publish({})
        (tmp_path / name).write_text(content)
        if (name, content) == ("configuration.json", '{"gateways": []}'):
            assert Sandbox(directory=tmp_path).published == {"gateways": []}
            return
        with pytest.raises(ValueError, match=rf"{name}: .*remove it"):
            Sandbox(directory=tmp_path)
        assert (tmp_path / name).read_text() == content

    def test_gateways_have_credentials_of_their_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Sandbox(directory=tmp_path) as uuapp:
            first = uuapp.configuration()["uuThing"]
        with Sandbox(directory=tmp_path, gateways=3) as uuapp:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
            assert uuapp.configuration()["uuThing"] == first
            for number in (1, 2, 3):
                token = str(tmp_path / f"token{number}")
                config = uuapp.configuration(token_path=token, number=number)
                with closing(UuAppClient(config)) as client:
                    client.command("weather/add", {"id": number})
            added = [one for one in uuapp.requests if one.command == "weather/add"]
            assert len({one.identity for one in added}) == 3
            assert added[0].identity == first["uuIdentity"]
            assert {one.address for one in added} == {"127.0.0.1"}
            assert sorted(uuapp.entries()) == [1, 2, 3]
            with pytest.raises(ValueError, match="no gateway 4; they are numbered 1 to 3"):
                uuapp.configuration(number=4)
        with pytest.raises(ValueError, match="at least 1 gateway, got 0"):
            Sandbox(gateways=0)


class TestAnswers:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        folder = tmp_path / "answers"
        (folder / "weather").mkdir(parents=True)
        (folder / "weather" / "list.json").write_text('{"itemList": [1, 2]}')
        (folder / "gateway").mkdir()
        (folder / "gateway" / "getConfiguration.json").write_text(
            '{"weather": {"place": "Ostrava"}}'
        )
        (tmp_path / "secret.json").write_text('{"secret": true}')
        return folder

    def call(self, uuapp: Sandbox, tmp_path: Path, command: str) -> Dict[str, Any]:
        config = uuapp.configuration(token_path=str(tmp_path / "token"))
        with closing(UuAppClient(config)) as client:
            reply: Dict[str, Any] = client.command(command, {"asked": 1})
            return reply

    def test_a_file_answers_and_may_be_edited(
        self, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Sandbox(answers=files) as uuapp:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
            assert self.call(uuapp, tmp_path, "weather/list")["itemList"] == [1, 2]
            assert self.call(uuapp, tmp_path, "weather/add")["asked"] == 1
            (files / "weather" / "list.json").write_text('{"itemList": [3]}')
            assert self.call(uuapp, tmp_path, "weather/list")["itemList"] == [3]
            (files / "weather" / "list.json").write_text("{")
            with pytest.raises(CommandError):
                self.call(uuapp, tmp_path, "weather/list")
            uuapp.answer("weather/list", {"itemList": []})  # the program's word comes first
            assert self.call(uuapp, tmp_path, "weather/list")["itemList"] == []

    def test_the_file_of_the_configuration_is_what_is_published_first(
        self, files: Path, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        with Sandbox(answers=files, directory=home) as uuapp:
            assert uuapp.published == {"weather": {"place": "Ostrava"}}
            uuapp.publish({"weather": {"place": "Zlín"}})
        assert Sandbox(answers=files, directory=home).published == {"weather": {"place": "Zlín"}}

    @pytest.mark.parametrize(
        "command", ["../secret", "weather/../../secret", "weather/./list", "/weather/list", "link"]
    )
    def test_nothing_outside_is_ever_read(
        self, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        (files / "link.json").symlink_to(tmp_path / "secret.json")
        with Sandbox(answers=files) as uuapp, requests.Session() as session:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
            self.call(uuapp, tmp_path, "weather/add")
            token = json.loads((tmp_path / "token").read_text())["id_token"]
            prepared = session.prepare_request(
                requests.Request(
                    "POST", uuapp.url("x"), headers={"Authorization": f"Bearer {token}"}
                )
            )
            prepared.url = uuapp.url(command.replace("..", "%2e%2e"))
            reply = session.send(prepared, verify=uuapp.ca_file, timeout=10)
            assert "secret" not in reply.json() and "itemList" not in reply.json()

    @pytest.mark.parametrize("content", ["{", "[]", "\xff"])
    def test_a_file_that_is_no_answer_is_named_at_the_start(
        self, files: Path, content: str
    ) -> None:
        bad = files / "weather" / "add.json"
        bad.write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=r"add\.json: "):
            Sandbox(answers=files)

    def test_a_directory_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="none: no such directory of answers"):
            Sandbox(answers=tmp_path / "none")


class TestRecords:
    def test_the_latest_are_kept_and_numbered(self, tmp_path: Path) -> None:
        with Sandbox(limit=3) as uuapp, requests.Session() as session:
            for _ in range(5):
                session.get(uuapp.url("weather/list"), verify=uuapp.ca_file, timeout=10)
            assert [one.number for one in uuapp.requests] == [3, 4, 5]
            assert [one.number for one in uuapp.records.since(4)] == [5]
            assert [one.number for one in uuapp.records.since(0)] == [3, 4, 5]
            seen: List[int] = []
            uuapp.records.observe(lambda request: seen.append(request.number))
            session.get(uuapp.url("weather/list"), verify=uuapp.ca_file, timeout=10)
            assert seen == [3, 4, 5, 6]
            found = uuapp.records.get(5)
            assert found is not None and found.number == 5
            assert uuapp.records.get(3) is None and uuapp.records.get(7) is None
        with pytest.raises(ValueError, match="at least 1 request"):
            Sandbox(limit=0)

    def test_large_ones_are_kept_as_long_as_there_is_room(self) -> None:
        photo = {"data": b"x" * 1_000_000}
        with Sandbox(limit=1000) as uuapp, requests.Session() as session:
            for _ in range(2):
                url = uuapp.url("photo/add")
                session.post(url, files=photo, verify=uuapp.ca_file, timeout=10)
            first = uuapp.requests[0]
            assert 1_000_000 < first.size < 1_001_000
            for _ in range(150):
                uuapp.records.add(first)
            kept = uuapp.requests
            assert [one.number for one in kept] == list(range(54, 153))
            assert sum(one.size for one in kept) <= 100_000_000
            assert uuapp.records.get(53) is None
            found = uuapp.records.get(54)
            assert found is not None and found.number == 54
            uuapp.records.add(replace(first, size=10**9))  # the latest is kept in any case
            assert [one.number for one in uuapp.requests] == [153]
            uuapp.records.clear()
            session.get(uuapp.url("weather/list"), verify=uuapp.ca_file, timeout=10)
            assert [one.number for one in uuapp.requests] == [154]
        with Sandbox() as uuapp:  # in a test, all that arrived counts
            for _ in range(150):
                uuapp.records.add(first)
            assert len(uuapp.requests) == 150


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["trustme"] = None  # as where it is not installed
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name == "trustme" else find(name, *more)
)
del sys.modules["trustme"]
from uun_iot.sandbox import Sandbox  # importing is no problem
try:
    Sandbox()
except ModuleNotFoundError as exc:
    print(exc)
"""
    with Child.python(script, env={**os.environ, **WARN}, cwd=str(tmp_path)) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == [
            'the sandbox needs trustme; install it with: pip install "uun-iot[sandbox]"'
        ]
    assert sys.modules["trustme"] is not None

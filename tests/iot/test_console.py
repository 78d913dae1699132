"""The console over HTTP: what it shows, what it changes, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import requests

from tests.support.processes import Child
from tests.support.sandbox import Sandbox, Script
from tests.support.wait import eventually
from uun_iot import ManualClock, UuAppClient
from uun_iot.sandbox.console import Console
from uun_iot.sandbox.console.editor import check

JSON = {"Content-Type": "application/json"}
TIMEOUT = 10


class Page:
    """A program that talks to the console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.session = requests.Session()
        self.session.trust_env = False

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        return self.session.request(
            method,
            f"{self.console.url}{path}",
            data=data,
            headers={**(JSON if body is not None else {}), **headers},
            timeout=TIMEOUT,
        )

    def state(self) -> Dict[str, Any]:
        state: Dict[str, Any] = self.ask("GET", "api/state").json()
        return state

    def events(self) -> "Events":
        return Events(self.console)


class Events:
    """The console's stream of events."""

    def __init__(self, console: Console) -> None:
        self._response = requests.get(
            f"{console.url}api/events", stream=True, timeout=TIMEOUT, proxies={"http": ""}
        )
        self._lines = self._response.iter_lines(decode_unicode=True, chunk_size=1)

    def until(self, name: str, predicate: Any) -> Any:
        """Return the data of the first event of a name of which a predicate is true."""
        event = ""
        for line in self._lines:
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event == name:
                data = json.loads(line[6:])
                if predicate(data):
                    return data
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self._response.close()


@pytest.fixture
def console(uuapp: Sandbox) -> Iterator[Console]:
    with Console(uuapp) as console:
        yield console


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    page = Page(console)
    with page.session:
        yield page


@pytest.fixture
def client(uuapp: Sandbox, tmp_path: Path) -> Iterator[UuAppClient]:
    config = uuapp.configuration(token_path=str(tmp_path / "token"))
    with closing(UuAppClient(config)) as client:
        yield client


def heartbeat(client: UuAppClient, cpu: float = 12.5) -> None:
    dto_in = {"bootTimestamp": "2026-11-24T08:00:00.000Z", "cpuUsage": cpu, "ramUsage": 40}
    client.command("gateway/heartbeat", dto_in)


class TestWhatItShows:
    def test_a_gateway_with_its_heartbeat_and_figures(
        self, page: Page, client: UuAppClient, uuapp: Sandbox
    ) -> None:
        with closing(page.events()) as events:
            state = events.until("state", len)
            assert [one["heartbeat"] for one in state["gateways"]] == [None]  # only a token so far
            heartbeat(client)
            figures = events.until("figures", len)
            state = events.until("state", lambda state: state["gateways"][0]["heartbeat"])
            (gateway,) = state["gateways"]
            identity = uuapp.configuration()["uuThing"]["uuIdentity"]
            assert (gateway["identity"], gateway["address"]) == (identity, "127.0.0.1")
            assert gateway["heartbeat"]["cpuUsage"] == 12.5
            assert gateway["heartbeat_time"] == uuapp.requests[-1].time
            assert gateway["agent"].startswith("uun-iot/")
            assert state["counts"]["requests"] == 2 and state["counts"]["grants"] == 1
            assert {one["name"]: one["points"][0][1] for one in figures} == {
                "cpuUsage": 12.5,
                "ramUsage": 40,
            }
            heartbeat(client, 99)
            more = events.until("figures", len)
            assert [one["points"] for one in more if one["name"] == "cpuUsage"] == [
                [[uuapp.requests[-1].time, 99]]
            ]

    def test_a_request_is_told_also_where_an_observer_takes_its_time(
        self, page: Page, uuapp: Sandbox, client: UuAppClient
    ) -> None:
        client.command("weather/add", {})
        with closing(page.events()) as events:
            events.until("requests", len)
            # a file on a slow disk, say: the stream must not have looked before it is done
            uuapp.records.observe(lambda request: time.sleep(1))
            client.command("hive/add", {})
            events.until("requests", lambda all: [one["command"] for one in all] == ["hive/add"])

    def test_what_arrived_before_the_console_was_there(
        self, uuapp: Sandbox, client: UuAppClient
    ) -> None:
        client.command("weather/add", {"id": "run-1", "temperature": 20})
        with Console(uuapp) as console, closing(Page(console).events()) as events:
            (grant, added) = events.until("requests", len)
            assert (grant["command"], added["command"]) == ("oidc/grantToken", "weather/add")
            state = events.until("state", len)
            assert state["counts"]["delivered"] == 1

    def test_a_late_entry_stands_at_its_own_time_on_the_chart(
        self, page: Page, client: UuAppClient
    ) -> None:
        entries = [
            {"id": f"a-{number}", "timestamp": f"2026-01-01T00:00:0{number}.000Z", "t": number}
            for number in range(3)
        ]
        client.command("weather/addMany", {"itemList": entries})
        with closing(page.events()) as events:
            (series,) = events.until("figures", len)
        assert (series["name"], series["command"]) == ("t", "weather/addMany")
        assert series["points"] == [[1767225600.0 + number, number] for number in range(3)]

    def test_duplicates_and_gaps_are_counted(self, page: Page, client: UuAppClient) -> None:
        for number in (1, 2, 2, 5, 4, 5):
            client.command("weather/add", {"id": f"run-{number}"})
        client.command("weather/add", {"id": "no number"})
        client.command("weather/add", {"id": "no number"})
        client.command("image/add", {"id": "run-7"})  # of another series
        counts = page.state()["counts"]
        assert (counts["delivered"], counts["duplicated"], counts["missing"]) == (6, 3, 1)
        client.command("weather/add", {"id": "run-3"})
        assert page.state()["counts"]["missing"] == 0

    def test_half_a_pair_of_surrogates_is_shown(self, page: Page, client: UuAppClient) -> None:
        client.command("weather/add", {"id": "a-1", "x": "\ud800"})
        client.command("gateway/heartbeat", {"bootTimestamp": "\ud800", "cpuUsage": 1})
        assert page.state()["counts"]["requests"] == 3
        listed = page.ask("GET", "api/requests").json()
        assert "\ud800" in json.dumps(listed, ensure_ascii=False)
        assert page.ask("GET", "api/requests/1").status_code == 200

    def test_requests_are_listed_and_unfolded(self, page: Page, client: UuAppClient) -> None:
        long = "x" * 5000
        client.command("weather/add", {"text": long})
        (request,) = page.ask("GET", "api/requests?since=1").json()
        assert request["command"] == "weather/add" and request["status"] == 200
        assert request["cut"] and len(request["body"]) < 1000
        whole = page.ask("GET", f"api/requests/{request['number']}").json()
        assert json.loads(whole["body"]) == {"text": long} and not whole["cut"]
        assert whole["headers"]["content-type"] == "application/json"
        assert page.ask("GET", "api/requests/99").status_code == 404
        assert page.ask("GET", "api/requests?since=x").status_code == 400

    def test_no_secret_is_ever_told(
        self, page: Page, client: UuAppClient, uuapp: Sandbox, tmp_path: Path
    ) -> None:
        heartbeat(client)
        token = json.loads((tmp_path / "token").read_text())["id_token"]
        code = uuapp.uuapp.credentials.access_code1
        client.command(
            "weather/add",
            {
                "id": "a-1",
                "note": f"my code is {code}",
                token: token,
                "deep": [{"password": "hunter2", "text": f"Bearer {token}"}],
            },
        )
        uuapp.tokens.opaque = True
        uuapp.expire_tokens()
        heartbeat(client)
        opaque = uuapp.tokens.given_out[-2]
        client.command("weather/add", {"note": f"<{opaque}>"})
        requests.post(uuapp.url("oidc/grantToken"), json={"accessCode1": "wrong-code"}, timeout=10)
        client.command("weather/add", {"accessCode1": "somebody's"})
        number = len(uuapp.requests)
        texts = [page.ask("GET", f"api/requests/{each + 1}").text for each in range(number)]
        texts += [page.ask("GET", path).text for path in ("api/state", "api/requests")]
        with closing(page.events()) as events:
            texts.append(json.dumps(events.until("requests", len)))
            texts.append(json.dumps(events.until("state", len)))
        whole = "\n".join(texts)
        for secret in [*uuapp.secrets, "hunter2", "wrong-code", "somebody's"]:
            assert secret not in whole
        assert "my code is ***" in whole

    def test_a_number_that_browsers_do_not_read_is_told_as_text(
        self, page: Page, uuapp: Sandbox, client: UuAppClient
    ) -> None:
        client.command("weather/add", {})
        token = uuapp.tokens.given_out[0]
        reply = requests.post(
            uuapp.url("weather/add"),
            data='{"id": "a-1", "t": NaN, "u": 1e999, "v": ' + "9" * 400 + "}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
        )
        assert reply.status_code == 200

        def refuse(name: str) -> None:
            raise AssertionError(name)

        text = page.ask("GET", "api/requests?since=2").text
        (request,) = json.loads(text, parse_constant=refuse)
        assert '"t": "nan"' in request["body"]
        with closing(page.events()) as events:
            events.until("state", lambda state: state["counts"]["delivered"] == 1)

    def test_times_of_trouble_are_remembered(self) -> None:
        clock = ManualClock()
        with Sandbox(clock=clock) as uuapp, Console(uuapp) as console:
            page = Page(console)
            clock.advance(10)
            fault = uuapp.faults.add("drop")
            clock.advance(5)
            uuapp.outage()
            clock.advance(5)
            uuapp.restore()
            uuapp.faults.remove(fault)
            clock.advance(5)
            now = clock.time()
            assert page.state()["spans"][:2] == [
                [now - 15, now - 10, "faults"],
                [now - 10, now - 5, "down"],
            ]
            assert all(end is not None for _, end, _ in page.state()["spans"])

    def test_a_script_is_shown_with_what_is_to_come(self, page: Page, uuapp: Sandbox) -> None:
        uuapp.play(Script.parse('title = "A night"\n[[step]]\nat = "1 h"\noutage = true\nfor = 1'))
        script = page.state()["script"]
        assert script["title"] == "A night" and not script["done"]
        assert [text for _, text in script["next"]] == [
            "connections are refused for 1 s",
            "end of: connections are refused",
        ]

    def test_the_uuapp_s_own_page_says_where_the_console_is(
        self, console: Console, uuapp: Sandbox
    ) -> None:
        reply = requests.get(f"https://{uuapp.gateway}/", timeout=TIMEOUT)
        assert console.url in reply.text


class TestWhatItChanges:
    @pytest.mark.parametrize("name", ["outage", "unavailable", "drop", "lost", "slow", "refuse"])
    def test_switches(self, page: Page, uuapp: Sandbox, name: str) -> None:
        for _ in range(2):  # a second time changes nothing
            assert page.ask("PUT", f"api/switches/{name}", {"on": True}).json()["on"] is True
            assert page.state()["switches"][name] is True
            assert uuapp.down == (name == "outage")
            assert len(uuapp.faults.in_force()) == (name != "outage")
        assert page.ask("PUT", f"api/switches/{name}", {"on": False}).json()["on"] is False
        assert not uuapp.down and uuapp.faults.in_force() == []

    def test_actions_are_those_of_scripts(self, page: Page, uuapp: Sandbox) -> None:
        reply = page.ask("POST", "api/actions", {"fault": "half", "command": "weather/add"})
        assert reply.json() == {"done": True, "text": "half for weather/add"}
        (fault,) = uuapp.faults.in_force()
        assert (fault.kind, fault.command) == ("half", "weather/add")
        (shown,) = page.state()["faults"]
        assert shown["text"] == "half for weather/add" and not shown["switch"]
        assert page.ask("DELETE", f"api/faults/{shown['id']}").status_code == 200
        assert uuapp.faults.in_force() == []
        assert page.ask("DELETE", f"api/faults/{shown['id']}").status_code == 404

        page.ask("POST", "api/actions", {"certificate": "expired"})
        page.ask("POST", "api/actions", {"outage": True})
        page.ask("POST", "api/actions", {"status": 500})
        assert (uuapp.certificate, uuapp.down) == ("expired", True)
        page.ask("DELETE", "api/faults")
        assert (uuapp.certificate, uuapp.down) == ("valid", False)
        assert uuapp.faults.in_force() == []

    @pytest.mark.parametrize(
        "action, said",
        [
            ('{"delay": "2 h"}', "delay: expected at most 1 h, got '2 h'"),
            ('{"delay": 1e400}', "delay: expected for example"),
            ('{"fault": "slow", "seconds": 1e9}', "seconds: expected at most 1 h"),
            ('{"fault": "redirect", "location": "http://h/\\r\\nA: b"}', "location: it goes into"),
            ('{"status": 503, "retry_after": NaN}', "retry_after: expected seconds"),
            ('{"configuration": {"place": "\\ud800"}}', "configuration.place: expected text"),
        ],
    )
    def test_an_action_that_could_not_happen_is_refused(
        self, page: Page, uuapp: Sandbox, action: str, said: str
    ) -> None:
        reply = page.ask("POST", "api/actions", action)
        assert reply.status_code == 400 and said in reply.json()["error"]
        assert (uuapp.faults.in_force(), uuapp.published) == ([], {})

    def test_a_script_is_played(self, page: Page, uuapp: Sandbox) -> None:
        toml = {"Content-Type": "application/toml"}
        reply = page.ask("PUT", "api/script", "[[step]]\nat = 0\nstatus = 503\n", **toml)
        assert reply.json()["done"] and [one.status for one in uuapp.faults.in_force()] == [503]
        reply = page.ask("PUT", "api/script", "[[step]]\nstatus = 503\n", **toml)
        assert reply.status_code == 400 and "script:1: step 1: at" in reply.json()["error"]
        page.ask("PUT", "api/script", "[[step]]\nat = 999\nstatus = 503\n", **toml)
        assert not uuapp.script_done
        page.ask("DELETE", "api/script")
        assert uuapp.script_done

    def test_a_configuration_is_published_and_taken(
        self, page: Page, uuapp: Sandbox, client: UuAppClient
    ) -> None:
        text = '{"moduleTimers": {"weather": 5}, "place": "Žďár"}'
        assert page.ask("PUT", "api/configuration", text.encode()).json()["done"]
        taken = client.command("gateway/getConfiguration", method="GET")
        assert taken == {**json.loads(text), "uuAppErrorMap": {}}
        assert json.loads(page.state()["configuration"]) == json.loads(text)
        assert page.ask("GET", "api/configuration").json() == json.loads(text)

    def test_a_configuration_with_a_mistake_is_not_published(
        self, page: Page, uuapp: Sandbox
    ) -> None:
        uuapp.publish({"good": 1})
        reply = page.ask("PUT", "api/configuration", '{\n  "a": 1,\n  "b" 2\n}')
        assert reply.status_code == 422
        (problem,) = reply.json()["problems"]
        assert (problem["line"], problem["column"], problem["fatal"]) == (3, 7, True)
        assert page.ask("PUT", "api/configuration?anyway", "[").status_code == 422
        assert uuapp.published == {"good": 1}

    @pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": 1e999}'])
    def test_what_no_gateway_could_read_is_not_published_even_on_demand(
        self, page: Page, uuapp: Sandbox, text: str
    ) -> None:
        uuapp.publish({"good": 1})
        reply = page.ask("PUT", "api/configuration?anyway", text)
        assert reply.status_code == 422
        (problem,) = reply.json()["problems"]
        assert problem["fatal"]
        assert uuapp.published == {"good": 1}
        with pytest.raises(ValueError):
            uuapp.publish(json.loads(text))
        assert uuapp.published == {"good": 1}

    def test_what_a_gateway_would_refuse_is_published_only_on_demand(
        self, page: Page, uuapp: Sandbox
    ) -> None:
        text = '{\n  "moduleTimers": {\n    "weather": 0\n  }\n}'
        reply = page.ask("PUT", "api/configuration", text)
        (problem,) = reply.json()["problems"]
        assert (problem["line"], problem["column"], problem["fatal"]) == (3, 5, False)
        assert "gateway.moduleTimers.weather" in problem["message"]
        assert uuapp.published == {}
        assert page.ask("POST", "api/configuration/check", text).json()["problems"] == [problem]
        assert page.ask("PUT", "api/configuration?anyway", text).json()["done"]
        assert uuapp.published == {"moduleTimers": {"weather": 0}}

    @pytest.mark.parametrize(
        "method, path, body, status",
        [
            ("POST", "actions", "{", 400),
            ("POST", "actions", "[]", 400),
            ("POST", "actions", "{}", 400),
            ("POST", "actions", '{"status": 9}', 400),
            ("PUT", "switches/outage", "{}", 400),
            ("PUT", "switches/none", '{"on": true}', 404),
            ("POST", "actions", b'{"a": "\xff"}', 400),
            ("POST", "actions", "[" * 100_000, 400),
            ("PUT", "configuration", "x" * (1024 * 1024 + 1), 413),
            ("GET", "nothing", None, 404),
            ("DELETE", "state", None, 405),
        ],
    )
    def test_mistakes_are_answered_and_change_nothing(
        self, page: Page, uuapp: Sandbox, method: str, path: str, body: Any, status: int
    ) -> None:
        reply = page.ask(method, f"api/{path}", body)
        assert reply.status_code == status and reply.json()["error"]
        assert uuapp.faults.in_force() == [] and not uuapp.down and uuapp.published == {}


class TestWhomItRefuses:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example"},
            {"Host": "127.0.0.1.evil.example:80"},
            {"Host": "[::1"},
            {"Host": ""},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:1"},
            {"Origin": "https://{host}"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ],
    )
    def test_other_pages_and_other_names(
        self, page: Page, uuapp: Sandbox, headers: Dict[str, str]
    ) -> None:
        host = f"127.0.0.1:{page.console.port}"
        sent = {name: value.format(host=host) for name, value in headers.items()}
        reply = page.ask("PUT", "api/switches/outage", {"on": True}, **sent)
        assert reply.status_code == 403 and reply.json()["error"]
        assert not uuapp.down

    def test_a_form_of_another_page(self, page: Page, uuapp: Sandbox) -> None:
        for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            reply = page.ask("POST", "api/actions", '{"outage": true}', **{
                "Content-Type": content_type})  # fmt: skip
            assert reply.status_code == 415
        assert not uuapp.down

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_its_own_page_may(self, page: Page, uuapp: Sandbox, host: str) -> None:
        name = f"{host}:{page.console.port}"
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        assert page.ask("PUT", "api/switches/outage", {"on": True}, **headers).json()["on"]
        assert uuapp.down

    def test_a_link_on_another_page_may_open_it(self, page: Page) -> None:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert page.ask("GET", "", **headers).status_code == 200

    def test_two_hosts_are_none(self, page: Page) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", page.console.port)) as connection:
            connection.putrequest("GET", "/api/state", skip_host=True)
            connection.putheader("Host", "localhost")
            connection.putheader("Host", "evil.example")
            connection.endheaders()
            assert connection.getresponse().status in (400, 403)

    def test_every_answer_is_confined(self, page: Page) -> None:
        for path in ("", "console.js", "console.css", "icon.svg", "api/state", "x"):
            headers = page.ask("GET", path).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in headers

    def test_it_listens_on_loopback_only(self, console: Console) -> None:
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", console.port), 2):
            pass

    def test_nothing_is_fetched_from_elsewhere(self, page: Page) -> None:
        for path in ("", "console.js", "console.css", "icon.svg"):
            text = page.ask("GET", path).text.replace("http://www.w3.org/2000/svg", "")
            assert "http:" not in text and "//" not in text.replace("// ", "").replace(
                "https://${", ""
            )


class TestLife:
    def test_it_answers_while_the_uuapp_does_not(self, page: Page, uuapp: Sandbox) -> None:
        uuapp.outage()
        assert page.state()["down"] is True

    def test_it_starts_again_on_its_port_and_ends_its_streams(self, uuapp: Sandbox) -> None:
        threads = threading.active_count()
        console = Console(uuapp)
        for _ in range(2):
            with console:
                port = console.port
                events = Page(console).events()
                events.until("state", len)
            with pytest.raises(AssertionError, match="the stream ended"):
                events.until("state", lambda state: False)
            events.close()
        assert console.port == port
        uuapp.faults.add("drop")  # nobody listens
        assert eventually(lambda: threading.active_count() <= threads + 1)  # uvicorn's idle one

    def test_a_port_that_is_taken_is_named(self, uuapp: Sandbox, console: Console) -> None:
        with pytest.raises(OSError, match=f"the console cannot use port {console.port}"):
            Console(uuapp, console.port).start()

    def test_a_browser_that_goes_away_leaves_nothing(self, page: Page, uuapp: Sandbox) -> None:
        for _ in range(20):
            with closing(page.events()) as events:
                events.until("state", len)
        feed = page.console._feed

        def left() -> bool:
            uuapp.notify()
            return not feed._waiting

        assert eventually(left)

    def test_without_starlette_the_error_says_what_to_install(self, tmp_path: Path) -> None:
        script = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name == "starlette" else find(name, *more)
)
from uun_iot.sandbox import Sandbox
from uun_iot.sandbox.console import Console
try:
    Console(Sandbox())
except ModuleNotFoundError as exc:
    print(exc)
"""
        with Child.python(script, cwd=str(tmp_path)) as child:
            assert child.wait() == 0, child.errors
        assert child.lines == [
            'the sandbox needs starlette; install it with: pip install "uun-iot[sandbox]"'
        ]


@pytest.mark.parametrize(
    "text, places",
    [
        ("", [(1, 1)]),
        ("{", [(1, 2)]),
        ('{"a": 1\n "b": 2}', [(2, 2)]),
        ("[]", [(1, 1)]),
        ('{"a": NaN}', [(1, 1)]),
        ('{"a": 1e999}', [(1, 1)]),
        ('{"a": [-1e999]}', [(1, 1)]),
        ('{"a": "\\ud800"}', [(1, 1)]),
        ('{"\\udfff": 1}', [(1, 1)]),
        ('{"a": "\\ud83d\\ude00"}', []),
        ("{" + '"a": {' * 3000 + "}" * 3001, [(1, 1)]),
        ('{"a": 1, "a": 2}', [(1, 10)]),
        ('{"moduleTimers":\n {"w": {"a": 1,\n  "b": "x"}}}', [(3, 3)]),
        ('{"é\\"": [1, {"k": [true, null, -1.5e3]}],\n "moduleTimers": {"w": -1}}', [(2, 19)]),
        ('{"moduleBackupStorage": {"w": {"limit": 5}}}', [(1, 26)]),
        ("{}", []),
        (' {"a" : [ ] , "b" :{ } } ', []),
    ],
)
def test_mistakes_in_a_configuration_have_their_place(
    text: str, places: List[Tuple[int, int]]
) -> None:
    assert [(problem.line, problem.column) for problem in check(text).problems] == places

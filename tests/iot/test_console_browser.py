"""The console in a real browser, with a real gateway process behind it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.iot.test_console_bounds import arrived
from tests.support.browser import browser, look_like, need_browser, save, wait
from tests.support.processes import Child
from tests.support.sandbox import Sandbox, Script
from tests.support.wait import eventually
from uun_iot.sandbox.console import Console

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CSS = By.CSS_SELECTOR


class Page:
    """The console in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(CSS, selector)

    def all(self, selector: str) -> List[WebElement]:
        return self.driver.find_elements(CSS, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def count(self, name: str) -> int:
        return int(self.text(f"#count-{name}").replace(",", ""))

    def until(self, condition: Any, timeout: float = 20) -> Any:
        return wait(self.driver, condition, timeout)

    def type_configuration(self, text: str) -> None:
        editor = self.one("#editor")
        editor.send_keys(Keys.CONTROL, "a")
        editor.send_keys(text)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def errors(self) -> List[Any]:
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]  # of selenium


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    need_browser()
    with browser() as driver:
        yield driver


@pytest.fixture
def page(driver: webdriver.Chrome, uuapp: Sandbox) -> Iterator[Page]:
    with Console(uuapp) as console:
        look_like(driver)
        driver.get(console.url)
        page = Page(driver)
        page.until(lambda: page.text("#pill") == "Up")
        page.errors()  # forget those of an earlier test
        yield page
        # nothing may go wrong in any test: a blocked resource, an exception, a failed request
        assert page.errors() == []
        driver.get("about:blank")


PART: Dict[str, Any] = {
    "moduleTimers": {"heartbeat": 1, "config": 0.5, "weather": {"measure": 0.2, "send": 0.5}},
    "moduleBackupStorage": {"weather": "backup.json"},
    "weather": {"place": "Brno"},
}


@pytest.fixture
def gateway(uuapp: Sandbox, tmp_path: Path) -> Iterator[Child]:
    uuapp.publish(PART)
    config = tmp_path / "config.json"
    uuapp.write_configuration(config, gateway=PART, commands={"weatherAdd": "weather/add"})
    command = [sys.executable, "-u", str(HERE / "console_gateway.py"), str(config)]
    with Child(command, env=dict(os.environ), cwd=str(tmp_path)) as child:
        yield child


def last(gateway: Child) -> Dict[str, Any]:
    told = [json.loads(line) for line in gateway.lines if line.startswith("{")]
    return told[-1] if told else {"measured": 0, "backlog": 0}


def test_a_gateway_s_life_is_seen_and_changed(
    page: Page, gateway: Child, uuapp: Sandbox, tmp_path: Path
) -> None:
    # its heartbeat appears, with figures
    identity = uuapp.configuration()["uuThing"]["uuIdentity"]
    article = f"#gateway-{identity}"
    page.until(lambda: page.all(article) and "heartbeat" in page.text(f"{article} .beat"))
    assert page.text(f"{article} h3") == identity
    assert not page.one("#no-gateways").is_displayed()
    page.until(lambda: page.text(f"{article} .beat") in ("heartbeat just now", "heartbeat 2 s ago"))
    names = page.until(lambda: [one.text for one in page.all(f"{article} .chart .name")])
    assert "temperature" in page.until(
        lambda: [one.text for one in page.all(f"{article} .chart .name")]
    ), names
    page.until(lambda: len(page.run(
        "return document.querySelector('.group:last-child .chart .line').getAttribute('d')"
    )) > 40)  # fmt: skip
    page.until(lambda: page.count("delivered") >= 5)

    # a mistake in the configuration is shown at its place, and cannot be published
    page.until(lambda: "Brno" in str(page.one("#editor").get_property("value")))
    page.type_configuration('{\n"weather": {"place": "Zlin",}\n}')
    problem = page.until(lambda: page.all("#problems button"))[0]
    assert problem.text.startswith("Line 2, column ")
    assert page.text("#gutter .at") == "2"
    assert not page.one("#publish").is_enabled()
    problem.click()
    assert page.run("return document.activeElement.id") == "editor"

    # what is right is published, and the gateway takes it
    part = {**PART, "weather": {"place": "Znojmo"}}
    page.type_configuration(json.dumps(part))
    page.until(lambda: not page.all("#problems button") and page.one("#publish").is_enabled())
    page.one("#publish").click()
    page.until(lambda: page.text("#published").startswith("Published at "))
    assert uuapp.published == part
    gateway.wait_for_line(r'"place": "Znojmo"', 20)
    assert not page.one("#publish").is_enabled()

    # an outage, switched on with the keyboard
    switch = page.one("[data-switch=outage]")
    switch.send_keys(Keys.SPACE)
    page.until(lambda: page.text("#pill") == "Outage")
    assert uuapp.down and switch.is_selected()
    delivered = page.count("delivered")
    assert eventually(lambda: last(gateway)["backlog"] >= 8, 20)
    assert page.count("delivered") == delivered

    # and off: the backlog drains, in order and once
    switch.send_keys(Keys.SPACE)
    page.until(lambda: page.text("#pill") == "Up")
    assert eventually(lambda: last(gateway)["backlog"] <= 3, 60)
    page.until(lambda: page.count("delivered") >= delivered + 8)
    gateway.terminate()
    assert gateway.wait() == 0
    left = json.loads((tmp_path / "backup.json").read_text())
    total = last(gateway)["measured"] - len(left)
    page.until(lambda: page.count("delivered") == total)
    assert (page.count("missing"), page.count("duplicated")) == (0, 0)
    assert len(uuapp.entries("weather/add")) == total


def test_requests_are_searched_unfolded_and_paused(
    page: Page, gateway: Child, uuapp: Sandbox
) -> None:
    def shown() -> List[str]:
        commands = page.run(
            "return [...document.querySelectorAll('#request-list li:not([hidden]) .command')]"
            ".map(node => node.textContent)"
        )
        return list(commands)

    page.until(lambda: {"weather/add", "gateway/heartbeat", "oidc/grantToken"} <= set(shown()))
    page.one("#pause").click()
    frozen = shown()
    number = uuapp.requests[-1].number
    uuapp.wait_for(lambda: uuapp.requests[-1].number > number + 3)
    page.until(lambda: re.fullmatch(r"Resume \(\d+\)", page.text("#pause")))
    assert shown() == frozen
    page.one("#search").send_keys("HEARTBEAT 200")
    assert set(shown()) == {"gateway/heartbeat"}
    page.one("#search").send_keys(" nothing-like-it")
    assert shown() == [] and "matches" in page.text("#no-requests")
    page.one("#search").clear()
    page.one("#search").send_keys("grantToken")
    summary = page.one("#request-list li:not([hidden]) summary")
    summary.send_keys(Keys.ENTER)
    page.until(lambda: page.all(".detail pre"))
    body = json.loads(page.text(".detail pre"))
    assert body["accessCode1"] == "***" and body["grant_type"] == "password"
    for secret in uuapp.secrets:
        assert secret not in page.driver.page_source
    page.one("#search").clear()
    page.one("#search").send_keys(" ")
    page.one("#pause").click()
    page.until(lambda: len(shown()) > len(frozen))
    uuapp.faults.add("status", status=503, times=2)
    page.one("#only-failed").click()
    page.until(lambda: len(shown()) == 2)
    assert page.text("#request-list li:not([hidden]) .status") == "503"
    assert page.text("#request-list li:not([hidden]) .tag") == "status"


def test_faults_of_others_and_scripts_are_shown_and_removed(page: Page, uuapp: Sandbox) -> None:
    assert not page.one("#clear").is_displayed()
    uuapp.faults.add("half", command="weather/add")
    uuapp.play(Script.parse('title = "Tonight"\n[[step]]\nat = "1 h"\noutage = true'))
    uuapp.notify()
    page.until(lambda: page.text("#pill") == "1 fault in force")
    assert page.text("#others span") == "half for weather/add"
    page.one("#others button").click()
    page.until(lambda: page.text("#pill") == "Up" and not page.all("#others li"))
    assert page.text("#script-title") == "Tonight"
    assert re.match(r"in (1 h|59 min \d+ s)\s+connections are refused", page.text("#script-next"))
    page.one("[data-switch=slow]").click()
    page.one("[data-switch=outage]").click()
    page.until(lambda: page.one("#clear").is_displayed() and page.text("#pill") == "Outage")
    page.one("#clear").click()
    page.until(lambda: page.text("#pill") == "Up")
    assert not any(one.is_selected() for one in page.all("[data-switch]"))
    assert uuapp.faults.in_force() == [] and not uuapp.down
    uuapp.tokens.issue("1-1-1", "nothing")
    page.one("[data-action=expire_tokens]").click()
    assert eventually(lambda: len(uuapp.tokens._expired) == 1)


def test_a_console_that_is_away_says_so_and_comes_back(
    driver: webdriver.Chrome, uuapp: Sandbox
) -> None:
    console = Console(uuapp)
    page = Page(driver)
    with console:
        look_like(driver)
        driver.get(console.url)
        page.until(lambda: page.text("#pill") == "Up")
    page.until(lambda: page.text("#pill") == "Console away")
    with console:
        page.until(lambda: page.text("#pill") == "Up", 30)
    driver.get("about:blank")
    page.errors()  # of the connection that was lost


def test_a_search_finds_what_is_far_behind_in_a_body(page: Page, uuapp: Sandbox) -> None:
    def batch(begin: int) -> Dict[str, Any]:
        return {"list": [{"id": f"run-{begin + n}", "text": "-" * 100} for n in range(100)]}

    def shown() -> List[str]:
        return [one.text for one in page.all("#request-list li:not([hidden]) .command")]

    uuapp.records.add(arrived("weather/add", batch(100)))
    uuapp.records.add(arrived("hive/add", batch(200)))
    page.until(lambda: len(shown()) == 2)
    page.one("#search").send_keys("RUN-299 Post")
    page.until(lambda: shown() == ["hive/add"])
    uuapp.records.add(arrived("late/add", batch(250)))
    page.until(lambda: shown() == ["late/add", "hive/add"])
    page.one("#search").clear()
    page.one("#search").send_keys("run-400")
    page.until(lambda: shown() == [] and "matches" in page.text("#no-requests"))


def test_what_arrives_is_text_whatever_it_says(page: Page, uuapp: Sandbox) -> None:
    html = "<img src=nothing onerror=\"document.title = 'run'\"></script><b>bold</b>"
    uuapp.publish({"weather": {"place": html}})
    for number in range(3):
        entry = {"teplota á": 1, "teplota é": 100, "a.b": 1, "a-b": 2, "constructor": 5, html: 7}
        uuapp.records.add(arrived("weather/add", {"id": f"a-{number}", **entry}, html))
        heartbeat = {"cpuUsage": 1, html: 2, "toString": 3}
        uuapp.records.add(arrived("gateway/heartbeat", heartbeat, html))
    uuapp.records.add(arrived(html, {"__proto__": {"text": html}}, html))
    names = page.until(
        lambda: (
            [one.text for one in page.all(".chart .name")]
            if len(page.all(".chart")) == len(entry) + 1
            else []
        )
    )
    assert names == ["Processor", *entry]  # a chart for each, under its own name
    assert [one.text for one in page.all(".group h4")] == ["Heartbeat", "weather/add"]
    assert page.text(".gateway h3") == html
    assert page.text(".facts").endswith(f"{html} 2 · toString 3")
    page.run("document.querySelectorAll('#request-list summary').forEach(one => one.click())")
    page.until(lambda: len(page.all(".detail pre")) == 7)
    assert page.text("#request-list .command") == html
    page.until(lambda: html in json.loads(page.run("return editor.value"))["weather"]["place"])
    assert page.all("main img, main script, main b:not(.faults b)") == []
    assert page.run("return document.title") == "Sandbox · uun-iot"


def test_the_gateways_of_an_earlier_sandbox_are_gone(
    driver: webdriver.Chrome, uuapp: Sandbox
) -> None:
    page = Page(driver)
    with Console(uuapp) as console:
        uuapp.records.add(arrived("gateway/heartbeat", {"cpuUsage": 1}, "before"))
        look_like(driver)
        driver.get(console.url)
        page.until(lambda: [one.text for one in page.all(".gateway h3")] == ["before"])
        port = console.port
    with Sandbox() as other, Console(other, port):
        for number in range(102):
            other.records.add(arrived("gateway/heartbeat", {"cpuUsage": 1}, f"after {number}"))
        page.until(lambda: page.text("#pill") == "Up", 30)
        page.until(lambda: len(page.all(".gateway")) == 100)
        assert page.text(".gateway h3") == "after 0"
        assert page.text("#more-gateways").startswith("2 more have called.")
    driver.get("about:blank")
    page.errors()  # of the connection that was lost


def test_everything_is_reached_with_the_keyboard_and_has_a_name(page: Page, gateway: Child) -> None:
    page.until(lambda: page.count("delivered") >= 3)
    page.one("#pause").click()
    page.run("document.querySelector('.skip').focus()")
    wanted = {"search", "only-failed", "pause", "editor"}
    reached = set()
    for _ in range(400):
        element = page.driver.switch_to.active_element
        element.send_keys(Keys.TAB)
        element = page.driver.switch_to.active_element
        name = element.accessible_name
        assert name or element.tag_name == "body", element.get_attribute("outerHTML")
        if element.tag_name != "body":
            frame = page.run(
                "const e = document.activeElement, box = e.closest('.editor') ?? e;"
                "return [getComputedStyle(box).outlineStyle, getComputedStyle(box).outlineWidth]"
            )
            assert frame[0] == "solid" and frame[1] != "0px", name
        reached.add(
            element.get_attribute("id")
            or element.get_attribute("data-switch")
            or element.get_attribute("data-action")
        )
        if "editor" in reached:
            break
    assert reached >= wanted | {"outage", "unavailable", "drop", "lost", "slow", "refuse"}
    assert reached >= {"drop_connections", "expire_tokens", "revoke_tokens"}


def test_it_fits_a_phone_and_the_dark(page: Page, gateway: Child, tmp_path: Path) -> None:
    page.until(lambda: page.count("delivered") >= 3)
    page.one("#request-list summary").click()
    wide = "return document.documentElement.scrollWidth - innerWidth"
    backgrounds = set()
    for dark in (False, True):
        for phone in (False, True):
            look_like(page.driver, dark=dark, phone=phone)
            page.until(lambda: page.run(wide) <= 0)
            path = tmp_path / f"{dark}-{phone}.png"
            save(page.driver, path)
            assert path.stat().st_size > 20_000
            backgrounds.add(page.run("return getComputedStyle(document.body).backgroundColor"))
            if phone:  # what is touched is large enough
                small = page.run(
                    "return [...document.querySelectorAll('button, input, summary, li label')]"
                    ".filter(e => e.offsetParent && e.offsetHeight < 20).map(e => e.outerHTML)"
                )
                assert [one for one in small if 'type="checkbox"' not in one] == []
    assert len(backgrounds) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Page, scheme: str) -> None:
    look_like(page.driver, dark=scheme == "dark")
    pairs = [
        ("text", "page"),
        ("text", "card"),
        ("quiet", "page"),
        ("quiet", "card"),
        ("quiet", "sunken"),
        ("accent", "accent-soft"),
        ("accent-text", "accent"),
        ("bad", "bad-soft"),
        ("bad", "card"),
        ("warn", "warn-soft"),
        ("warn", "card"),
    ]
    style = "getComputedStyle(document.documentElement)"
    for front, back in pairs:
        colours = [
            str(page.run(f"return {style}.getPropertyValue('--{name}').trim()"))
            for name in (front, back)
        ]
        bright, dim = sorted((luminance(colour) for colour in colours), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (front, back, colours)


def luminance(colour: str) -> float:
    """Return the relative luminance of a #rrggbb colour, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

"""Take the screenshots of the console in docs/, of a gateway at work: two minutes in real time.

Needs Debian's chromium and chromium-driver. `hatch run screenshots`
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from selenium import webdriver  # noqa: E402 - the tests' helpers are found from the root
from selenium.webdriver.common.by import By  # noqa: E402

from tests.support.browser import browser, look_like, missing, save, wait  # noqa: E402
from tests.support.processes import Child  # noqa: E402
from uun_iot.sandbox import Sandbox, Script  # noqa: E402
from uun_iot.sandbox.console import Console  # noqa: E402

STORY = """
title = "An afternoon with a bad connection"
[[step]]
at = "25 s"
outage = true
for = "25 s"
[[step]]
at = "75 s"
status = 503
for = "8 s"
[[step]]
at = "95 s"
fault = "half"
command = "machine/add"
for = "10 min"
[[step]]
at = "1 h"
outage = true
for = "20 min"
"""
PART: Dict[str, Any] = {
    "moduleTimers": {"heartbeat": 4, "config": 20, "machine": {"read": 2, "send": 4}},
    "moduleBackupStorage": {"machine": "machine.json"},
}


def main() -> int:
    """Play the story and take the pictures; return the exit status."""
    reason = missing()
    if reason is not None:
        print(f"screenshots: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, Sandbox(8843) as sandbox:
        config = sandbox.configuration(gateway=PART, commands={"machineAdd": "machine/add"})
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        sandbox.publish(PART)
        env = {**os.environ, "REQUESTS_CA_BUNDLE": sandbox.ca_file, "NO_PROXY": "localhost"}
        example = str(ROOT / "examples" / "machine.py")
        command = [sys.executable, example, "config.json"]
        with Console(sandbox) as console, Child(command, env=env, cwd=folder):
            sandbox.play(Script.parse(STORY))
            with browser(height=1580) as driver:
                driver.get(console.url)
                time.sleep(93)
                take(driver)
    return 0


def take(driver: webdriver.Chrome) -> None:
    """Take the pictures."""
    docs = ROOT / "docs"

    def find(selector: str) -> Any:
        return driver.find_element(By.CSS_SELECTOR, selector)

    wait(driver, lambda: find("#pill").text == "1 fault in force")
    time.sleep(3)
    driver.execute_script("document.querySelectorAll('#request-list summary')[1].click()")
    wait(driver, lambda: find(".detail pre"))
    for name, dark in (("console", False), ("console-dark", True)):
        look_like(driver, dark=dark)
        time.sleep(0.5)  # what glides has arrived
        save(driver, docs / f"{name}.png")
    driver.execute_script("document.querySelector('details[open]').open = false")
    look_like(driver, phone=True, height=1500)
    time.sleep(1.5)
    save(driver, docs / "console-phone.png")


if __name__ == "__main__":
    sys.exit(main())

"""A real browser without a window: Debian's Chromium with its own driver, which load nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

#: set by .ci/run, where a browser that lacks is an error
REQUIRED = "UUN_IOT_NEEDS_CHROMIUM"


def missing() -> Optional[str]:
    """Return why there is no browser, None where there is one."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if not lacking:
        return None
    return f"{' and '.join(lacking)} not found; apt-get install chromium chromium-driver"


def need_browser() -> None:
    """Skip the test where there is no browser; fail it where there must be one."""
    reason = missing()
    if reason is not None:
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def browser(width: int = 1360, height: int = 1400) -> Iterator[webdriver.Chrome]:
    """Start a browser with a profile of its own, and end it.

    Args:
        width: of the window, in pixels.
        height: of the window.
    """
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary is not None and driver is not None
    # short: the profile has sockets, whose paths are limited
    with tempfile.TemporaryDirectory(prefix="uun-iot-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in (
            "--headless=new",
            "--no-sandbox",  # root has none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            "--lang=en",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        started = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield started
        finally:
            started.quit()


def wait(driver: webdriver.Chrome, condition: Any, timeout: float = 20) -> Any:
    """Return what a condition gives as soon as it is true.

    Args:
        driver: the browser.
        condition: called with nothing.
        timeout: seconds.
    """
    return WebDriverWait(driver, timeout, poll_frequency=0.1).until(lambda _: condition())


def look_like(
    driver: webdriver.Chrome, *, dark: bool = False, phone: bool = False, height: int = 844
) -> None:
    """Take on a colour scheme and the size of a phone, or that of the window."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    if phone:
        size = {"width": 390, "height": height, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    else:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def save(driver: webdriver.Chrome, path: Path) -> None:
    """Save what is seen as PNG."""
    assert driver.save_screenshot(str(path))

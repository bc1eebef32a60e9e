"""A real browser for tests: the system's Chromium, driven by Playwright, without a way out of this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

HOW = "install Chromium (apt-get install chromium) or name one: KDLIB_CHROMIUM=/path/to/chromium"
# Nothing of its own does Chromium ask for: no updates, no accounts, no guesses at what might be opened next.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 300_000  # milliseconds; on a quiet machine nothing takes a tenth of it


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser. Without one the test is skipped, or fails where `KDLIB_BROWSER=required` says so."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("KDLIB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        (pytest.fail if os.environ.get("KDLIB_BROWSER") == "required" else pytest.skip)(f"no browser: {HOW}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()

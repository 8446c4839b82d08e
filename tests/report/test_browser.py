"""The report in a real browser: everything visible, nothing overflowing, no error, no network."""

import json
import shutil

import pytest

import hpc_ds.report as report

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
BINARY = next(filter(None, map(shutil.which, NAMES)), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

MEASURE = """
document.querySelectorAll('details').forEach(item => { item.open = true; });
const boxes = [...document.querySelectorAll('svg')].map(item => {
  const box = item.getBoundingClientRect();
  return {label: item.getAttribute('aria-label'), left: box.left, right: box.right, height: box.height};
});
const smallest = Math.min(...[...document.querySelectorAll('svg text')].map(item => {
  const plot = item.ownerSVGElement;
  const scale = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
  return scale * parseFloat(getComputedStyle(item).fontSize);
}));
return {boxes: boxes, smallest: smallest, inner: window.innerWidth,
        page: document.documentElement.scrollWidth};
"""


@pytest.fixture
def browser(tmp_path):
    selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")
    if not (BINARY and DRIVER):
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    from selenium.webdriver.chrome.service import Service

    options = selenium.webdriver.ChromeOptions()
    options.binary_location = BINARY
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def visit(browser, path, width, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    return browser.execute_script(MEASURE)


def requests(browser, path):
    """Return what the page at ``path`` asked for apart from itself."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [item["request"]["url"] for item in sent if item["documentURL"] == path.as_uri()]
    assert path.as_uri() in asked
    return [url for url in asked if url != path.as_uri() and not url.startswith("data:")]


@pytest.mark.parametrize("width", [1280, 400])
def test_spectrum_report_is_whole_in_chromium(browser, fake_run, width):
    path = report.build(fake_run.spectrum(background=0.3, x_name="BE / eV"))
    seen = visit(browser, path, width)
    assert seen["inner"] == width
    assert len(seen["boxes"]) == 23
    hidden = [box for box in seen["boxes"] if box["height"] < 50 or box["right"] - box["left"] < 200]
    outside = [box for box in seen["boxes"] if box["left"] < 0 or box["right"] > width]
    assert hidden == [] and outside == []
    assert seen["page"] <= width
    assert seen["smallest"] >= 6.5
    assert browser.get_log("browser") == []
    assert requests(browser, path) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_user_model_report_is_whole_in_chromium(browser, fake_run, width):
    path = report.build(fake_run.user_model(name="a_model_with_quite_a_long_name_" * 3))
    seen = visit(browser, path, width)
    assert all(box["height"] > 50 and box["left"] >= 0 and box["right"] <= width for box in seen["boxes"])
    assert seen["page"] <= width
    assert browser.get_log("browser") == []


def test_page_follows_the_colour_scheme(browser, fake_run):
    path = report.build(fake_run.spectrum(numbers=(3,)))
    look = """
      const style = item => getComputedStyle(document.querySelector(item));
      return [style('body').backgroundColor, style('svg text').fill];
    """
    shades = {}
    for scheme in ("light", "dark"):
        visit(browser, path, 1280, scheme)
        shades[scheme] = browser.execute_script(look)
    assert shades["light"] == ["rgb(255, 255, 255)", "rgb(27, 36, 48)"]
    assert shades["dark"] == ["rgb(18, 22, 27)", "rgb(232, 235, 239)"]

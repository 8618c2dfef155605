"""Every page of the console in a real browser: what it shows, by keyboard, in both languages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from gateway_agent.agent import GatewayAgent

from .pages import DESK, PHONE, POLL_S, errors, go, serious, shown
from .site import site

pytestmark = pytest.mark.tool("chromium", "chromedriver")

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "console"
PAGES = (
    "overview",
    "device/hall-air",
    "alarms",
    "buses",
    "outbox",
    "events",
    "log",
    "config",
    "api",
)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAgent]:
    with site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def page(agent: GatewayAgent, browser: Chrome) -> Iterator[Chrome]:
    browser.get_log("browser")
    browser.set_window_size(*DESK)
    browser.get(f"http://127.0.0.1:{agent.web_port}/")
    shown(browser, "#main h1")
    yield browser
    assert errors(browser) == [], "an error in the page, or something its policy forbids"


def test_the_overview_shows_live_values_and_failing_devices_first(page: Chrome) -> None:
    shown(page, "#live", "live")
    shown(page, "tbody tr:first-child", "lab-air")
    assert "°C" in shown(page, "tbody tr:nth-child(2)", "ppm")
    assert shown(page, ".tile:nth-child(2) dd") == "0"  # unaccounted
    before = shown(page, "#uptime")
    WebDriverWait(page, 10, POLL_S).until(lambda _: shown(page, "#uptime") != before)


def test_a_device_shows_48_hours_with_gaps_and_their_causes(page: Chrome) -> None:
    go(page, "device/hall-air")
    shown(page, "#main", "no answer")
    text = shown(page, "#main", "gateway was down")
    assert "1 h 30 min" in text
    assert "3 h 0 min" in text
    assert len(page.find_elements(By.CSS_SELECTOR, ".plot canvas")) == 4
    label = page.find_element(By.CSS_SELECTOR, ".plot").get_attribute("aria-label")
    assert str(label).startswith("temperature: ")
    page.find_element(By.CSS_SELECTOR, "[data-key=h1]").click()
    WebDriverWait(page, 10, POLL_S).until(lambda _: "3 h 0 min" not in shown(page, "#main"))
    page.find_element(By.CSS_SELECTOR, "[data-key=h48]").click()
    shown(page, "#main", "3 h 0 min")
    assert not page.find_elements(By.CSS_SELECTOR, "#main input")  # nobody can give orders here


def test_a_bus_shows_what_it_costs_and_its_frames_live(page: Chrome) -> None:
    go(page, "buses")
    assert "predicted" in shown(page, "#main section:nth-of-type(1) tbody")
    page.execute_script("location.hash = 'frames/plant'")
    shown(page, "#main tbody tr:nth-child(3)", "unit")
    assert serious(page) == []


def test_the_api_page_is_made_of_the_document(page: Chrome) -> None:
    go(page, "api/Overview")
    shown(page, "#api-Overview[open] tbody", "unaccounted")
    assert "/api/v1/devices/{name}/history" in shown(page, "#main")
    page.execute_script("location.hash = 'api/alarms_order'")
    shown(page, "#api-alarms_order[open]", "X-Console-Token")
    assert serious(page) == []


def test_every_page_in_both_languages_is_free_of_serious_findings(page: Chrome) -> None:
    findings: dict[str, list[str]] = {}
    for _ in range(2):
        for name in PAGES:
            go(page, name)
            findings[f"{page.execute_script('return document.documentElement.lang')} {name}"] = (
                serious(page)
            )
        page.find_element(By.ID, "language").click()
    assert len(findings) == 2 * len(PAGES)
    assert {name: found for name, found in findings.items() if found} == {}


def test_it_can_be_used_by_keyboard_alone(page: Chrome) -> None:
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to content"
    for _ in range(3):
        page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Delivery"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    shown(page, "#main h1", "Delivery")
    assert page.switch_to.active_element.get_attribute("id") == "main"


def test_focus_stays_while_values_change(page: Chrome) -> None:
    shown(page, "tbody tr:first-child", "lab-air")
    page.execute_script("document.querySelector('[data-key=hall-air]').focus()")
    before = shown(page, "#uptime")
    WebDriverWait(page, 10, POLL_S).until(lambda _: shown(page, "#uptime") != before)
    assert page.switch_to.active_element.text == "hall-air"
    page.execute_script("document.querySelector('#nav a:nth-child(2)').focus()")
    before = shown(page, "#uptime")
    WebDriverWait(page, 10, POLL_S).until(lambda _: shown(page, "#uptime") != before)
    assert page.switch_to.active_element.text == "Buses"


def test_nothing_is_wider_than_a_phone(page: Chrome) -> None:
    page.set_window_size(*PHONE)
    for name in PAGES:
        go(page, name)
        assert (
            page.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
        ), name


def test_text_of_devices_and_logs_is_never_markup(page: Chrome, agent: GatewayAgent) -> None:
    import logging

    logging.getLogger("gateway_agent.test").warning("<img src=x onerror=alert(1)><b>bold</b>")
    go(page, "log")
    shown(page, "#main", "<b>bold</b>")
    assert not page.find_elements(By.CSS_SELECTOR, "#main b, #main img")


def test_pictures_for_the_documents(
    page: Chrome, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = PICTURES if request.config.getoption("--write-pictures") else tmp_path
    folder.mkdir(exist_ok=True)
    shown(page, "#banner", "Data stops")
    for name in ("overview", "device/hall-air", "buses", "outbox"):
        go(page, name)
        shown(page, "#main h1")
        page.save_screenshot(str(folder / f"{name.partition('/')[0]}.png"))
    page.set_window_size(*PHONE)
    page.execute_script("scrollTo(0, 0)")
    page.find_element(By.ID, "language").click()
    go(page, "overview")
    shown(page, "#main h1", "总览")
    page.save_screenshot(str(folder / "phone.zh.png"))
    page.find_element(By.ID, "language").click()

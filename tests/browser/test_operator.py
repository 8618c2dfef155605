"""Log-in and what an operator does, in a real browser over TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from gateway_agent.agent import GatewayAgent
from tests.unit.gateway_agent.web.users_help import (
    LINES,
    PASSWORD,
    make_certificate,
    make_users,
)

from .pages import DESK, POLL_S, errors, go, press, serious, shown
from .site import site

pytestmark = pytest.mark.tool("chromium", "chromedriver")

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "console"
ALARMS = """
[[alarm]]
name = "hall-warm"
when = "above"
device = "hall-air"
point = "temperature"
limit = -40
severity = "urgent"
text = "open the window"
[[alarm]]
name = "medium"
when = "gauge"
gauge = "disk_free_mib"
above = 0
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAgent]:
    root = tmp_path_factory.mktemp("site")
    make_certificate(root)
    make_users(root)
    with site(root, LINES + ALARMS) as running:
        yield running


@pytest.fixture
def page(agent: GatewayAgent, browser: Chrome) -> Iterator[Chrome]:
    browser.set_window_size(*DESK)
    browser.get(f"https://127.0.0.1:{agent.web_port}/")
    browser.delete_all_cookies()
    browser.refresh()
    shown(browser, "#main h1", "Log in")
    errors(browser)
    yield browser
    assert [line for line in errors(browser) if "401" not in line and "403" not in line] == []


def log_in(page: Chrome, name: str, password: str = PASSWORD) -> None:
    """Type name and password by keyboard alone: the first field has the focus."""
    page.switch_to.active_element.send_keys(name + Keys.TAB)
    page.switch_to.active_element.send_keys(password + Keys.ENTER)


def test_a_wrong_password_is_named_and_the_right_one_opens_the_page(page: Chrome) -> None:
    assert serious(page) == []
    assert not page.find_element(By.ID, "nav").is_displayed()
    log_in(page, "li", "wrong password")
    shown(page, "[role=alert].why", "wrong name or password")
    assert serious(page) == []
    page.switch_to.active_element.send_keys(PASSWORD + Keys.ENTER)
    shown(page, "#main h1", "Overview")
    shown(page, "#live", "live")
    assert "li (operator)" in shown(page, "#who")
    press(page, "log-out")
    shown(page, "#main h1", "Log in")


def test_an_operator_acknowledges_and_shelves(page: Chrome, agent: GatewayAgent) -> None:
    log_in(page, "li")
    shown(page, "#main h1", "Overview")
    go(page, "alarms")
    shown(page, "tbody tr:first-child", "open the window")
    assert serious(page) == []
    press(page, "acknowledge-hall-warm")
    shown(page, "#said", "1 acknowledged")
    press(page, "shelve_h-8-medium")
    WebDriverWait(page, 10, POLL_S).until(
        lambda _: (
            {one.name: one.state for one in agent.snapshot().alarm_summary}
            == {"hall-warm": "acknowledged", "medium": "shelved"}
        )
    )
    shown(page, "#main", "Take back")


def test_an_operator_asks_a_device_and_what_is_typed_stays(page: Chrome) -> None:
    log_in(page, "li")
    shown(page, "#main h1", "Overview")
    go(page, "device/hall-air")
    shown(page, "#main", "Orders")
    assert serious(page) == []
    page.find_element(By.CSS_SELECTOR, "[data-key=order-point]").send_keys("sample_period")
    page.execute_script("document.activeElement.blur(); show()")
    press(page, "read_settings-hall-air")
    shown(page, "#main [role=status]", "refused")
    kept = page.find_element(By.CSS_SELECTOR, "[data-key=order-point]").get_attribute("value")
    assert kept == "sample_period"


def test_an_operator_changes_the_configuration(page: Chrome, agent: GatewayAgent) -> None:
    log_in(page, "li")
    shown(page, "#main h1", "Overview")
    go(page, "config")
    page.execute_script(
        "const area = document.querySelector('textarea');"
        "area.value = area.value.replace('period_ms = 1000', 'period_ms = 2000');"
    )
    assert not page.find_element(By.CSS_SELECTOR, "[data-key=config-apply]").is_enabled()
    press(page, "config-check")
    shown(page, "ins", "2000")
    assert serious(page) == []
    press(page, "config-apply")
    shown(page, "#said", "changed")
    shown(page, "#config-state", "console: li")
    assert agent.config.bus[0].device[0].period_ms == 2000


def test_pictures_of_what_an_operator_does(
    page: Chrome, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = PICTURES if request.config.getoption("--write-pictures") else tmp_path
    page.save_screenshot(str(folder / "log-in.png"))
    log_in(page, "li")
    shown(page, "#main h1", "Overview")
    go(page, "alarms")
    shown(page, "#main tbody", "hall-warm")
    page.save_screenshot(str(folder / "alarms.png"))
    go(page, "config")
    wanted = 'name = "hall-air"\\ntitle = "大厅"'
    page.execute_script(
        "const area = document.querySelector('textarea'); area.rows = 8;"
        f"area.value = area.value.replace('name = \"hall-air\"', '{wanted}');"
    )
    press(page, "config-check")
    shown(page, "ins")
    page.execute_script("document.querySelector('ins').scrollIntoView({ block: 'end' })")
    page.save_screenshot(str(folder / "configuration.png"))


def test_a_viewer_sees_alarms_and_no_button(page: Chrome) -> None:
    log_in(page, "bo")
    shown(page, "#main h1", "Overview")
    go(page, "alarms")
    shown(page, "#main", "An operator may")
    assert not page.find_elements(By.CSS_SELECTOR, "#main button")

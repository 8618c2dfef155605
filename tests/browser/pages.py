"""What the tests do with a page: go to it, wait for what it shows, look for findings."""

from importlib.resources import files

from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

DESK, PHONE = (1280, 900), (400, 860)
POLL_S = 0.05  # between two looks at a page


def shown(browser: Chrome, selector: str, text: str = "") -> str:
    """Wait until an element is there and has ``text``; return all its text."""

    def found(_: Chrome) -> str:
        script = "return document.querySelector(arguments[0])?.innerText || ''"
        there = str(browser.execute_script(script, selector))
        return there if text in there else ""

    return str(WebDriverWait(browser, 20, POLL_S).until(found, f"{selector}: {text}"))


def go(browser: Chrome, name: str) -> None:
    browser.execute_script("location.hash = arguments[0]", name)
    key = name.partition("/")[0]
    script = (
        "return document.body.dataset.page === arguments[0] && !!document.querySelector('#main h1')"
    )
    WebDriverWait(browser, 20, POLL_S).until(lambda _: browser.execute_script(script, key))


def serious(browser: Chrome) -> list[str]:
    """Return what axe finds that is serious or critical."""
    if not browser.execute_script("return !!window.axe"):
        browser.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    script = "const done = arguments[0]; axe.run().then((found) => done(found.violations));"
    return [
        f"{found['id']}: {node['html']}: {node['failureSummary']}"
        for found in browser.execute_async_script(script)
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def press(browser: Chrome, key: str) -> None:
    """Press a button at once: a page is drawn anew while it is looked for."""
    browser.execute_script("document.querySelector(`[data-key='${arguments[0]}']`).click()", key)


def errors(browser: Chrome) -> list[str]:
    """Return what the browser has reported since the last time."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]

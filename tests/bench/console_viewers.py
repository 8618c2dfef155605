"""What the console costs: the page until it can be used, and the gateway's processor with viewers.

The gateway polls eight devices of ten points once a second; viewers take the live overview as pages
do, in a process of its own core.
"""

import http.client
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .gateway import agent, counters, profile_of, write_config
from .process import cpu_seconds
from .servers import modbus_servers

VIEWERS: Final = 10
DEVICES: Final = 8
_LOADS: Final = 5
_DEADLINE_S: Final = 20.0
#: The first page is drawn with values: what the page itself marks.
_INTERACTIVE: Final = "return performance.getEntriesByName('interactive')[0]?.startTime || 0"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def site(folder: Path, mqtt: int) -> Iterator[tuple[int, int]]:
    """Run a gateway with a console; yields its process id and the console's port."""
    with modbus_servers(DEVICES, 10) as ports:
        config = write_config(folder, profile_of(10), ports, mqtt, period_ms=1000)
        port = _free_port()
        config.write_text(f'{config.read_text()}\n[web]\nlisten = "127.0.0.1:{port}"\n')
        with agent(config) as process:
            while counters(config).readings_recorded == 0:
                time.sleep(0.1)
            yield process.pid, port


@contextmanager
def viewers(port: int, count: int) -> Iterator[None]:
    """Take the live overview ``count`` times while the block runs."""
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=5) for _ in range(count)]

    def read(client: http.client.HTTPConnection) -> None:
        client.request("GET", "/api/v1/live")
        answer = client.getresponse()
        try:
            while answer.read1(1 << 16):
                pass
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # closed at the end of the block

    threads = [threading.Thread(target=read, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for client in clients:
            if client.sock is not None:
                client.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


def busy_percent(pid: int, port: int, seconds: float, count: int) -> float:
    """Return the share of a core that the gateway takes with so many viewers."""
    with viewers(port, count):
        time.sleep(1.0)
        begin, cpu = time.monotonic(), cpu_seconds(pid)
        time.sleep(seconds)
        return 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - begin)


def interactive_ms(port: int) -> float | None:
    """Return the time from a navigation to the first page with values; None without a browser."""
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        return None
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_path is None:
        return None
    options = ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.binary_location = browser
    driver = Chrome(options, Service(driver_path))
    try:
        found = []
        for _ in range(_LOADS):
            driver.get("about:blank")
            driver.execute_cdp_cmd("Network.clearBrowserCache", {})
            driver.get(f"http://127.0.0.1:{port}/")
            deadline = time.monotonic() + _DEADLINE_S
            while not (took := float(driver.execute_script(_INTERACTIVE))):
                if time.monotonic() > deadline:
                    raise TimeoutError("the page has shown no values")
                time.sleep(0.02)
            found.append(took)
        return statistics.median(found)
    finally:
        driver.quit()

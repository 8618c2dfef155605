"""Post bytes to a server over HTTP or HTTPS, bounded in time and in what is read of the answer.

It blocks, so it belongs in a thread that nothing waits for (:mod:`gateway_agent.threads`).
"""

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4096  # of an answer that says only whether all is well


def http_post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    ca: Path | None = None,
    limit: int = MAX_ANSWER_BYTES,
) -> tuple[int, bytes]:
    """Return status and body of the answer. OSError: there is none.

    ``ca``: certificates that the server's may be signed by; None: those of the system. A redirect
    is an answer like any other: what we send goes to no address that the operator has not written.
    """
    address = urlsplit(url)
    host, port = address.hostname or "", address.port
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        tls = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    target = f"{address.path}?{address.query}" if address.query else address.path
    try:
        connection.request("POST", target, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(limit)
    except http.client.HTTPException as error:
        raise OSError(f"expected an answer in HTTP, got {error!r}") from error
    finally:
        connection.close()

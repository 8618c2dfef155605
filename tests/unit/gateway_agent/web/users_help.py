"""A console with TLS and two users, and a browser's part of talking to it."""

import datetime as dt
import ipaddress
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway_agent.web.users import add_user

from .help import Answer, fetch

PASSWORD = "correct horse"
LINES = 'certificate = "console.pem"\nkey = "console.key"\nusers = "users.json"\n'


def make_certificate(root: Path) -> ssl.SSLContext:
    """Write console.pem and console.key; return what a client needs to trust them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "console")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    (root / "console.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (root / "console.key").touch(0o600)
    (root / "console.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ssl.create_default_context(cafile=str(root / "console.pem"))


def make_users(root: Path) -> Path:
    """Write users.json: li, an operator, and bo, a viewer."""
    path = root / "users.json"
    add_user(path, "li", "operator", PASSWORD)
    add_user(path, "bo", "viewer", PASSWORD)
    return path


@dataclass
class Browser:
    """Keeps the cookie and the token, and names the origin as a browser does."""

    port: int
    tls: ssl.SSLContext | None
    cookie: str = ""
    token: str = ""
    set_cookie: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    async def ask(self, path: str, method: str = "GET", order: Any = None, **more: str) -> Answer:
        """Ask, with an order as JSON if there is one."""
        scheme = "http" if self.tls is None else "https"
        headers = {"Cookie": self.cookie, "Origin": f"{scheme}://127.0.0.1:{self.port}"}
        headers |= {"X-Console-Token": self.token, "Content-Type": "application/json"}
        body = b"" if order is None else json.dumps(order).encode()
        return await fetch(self.port, path, method, body, self.tls, **{**headers, **more})

    async def log_in(self, name: str, password: str = PASSWORD, **more: str) -> Answer:
        """Log in; keep what comes back."""
        order = {"name": name, "password": password}
        answer = await self.ask("/api/v1/session", "POST", order, **more)
        if answer.status == 200:
            self.set_cookie = answer.headers["set-cookie"]
            self.cookie = self.set_cookie.partition(";")[0]
            self.token = answer.json()["token"]
        return answer

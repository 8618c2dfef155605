"""Every operation of the console's own OpenAPI document, with input made to break it.

schemathesis makes right and wrong requests of the document and checks that each answer is one of
those that it names, in the form that it gives.
"""

import asyncio
import random
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway_agent.agent import GatewayAgent
from tests.unit.gateway_agent.web.users_help import Browser, make_users

from .site import site

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAgent]:
    root = tmp_path_factory.mktemp("site")
    make_users(root)
    with site(root, 'users = "users.json"\n') as running:
        yield running


# schemathesis draws a few numbers outside Hypothesis.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize(
    "examples", [8, pytest.param(300, marks=(pytest.mark.exhaustive, pytest.mark.timeout(1800)))]
)
def test_every_answer_is_one_that_the_document_names(agent: GatewayAgent, examples: int) -> None:
    url = f"http://127.0.0.1:{agent.web_port}"
    browser = Browser(agent.web_port, None)
    asyncio.run(browser.log_in("li"))
    session = requests.Session()
    session.trust_env = False
    session.headers.update({"Cookie": browser.cookie, "Origin": url})
    document = session.get(f"{url}/api/v1/openapi.json", timeout=10).json()
    # Whoever is not logged in is refused before all else: test_access.py. Here somebody is.
    del document["security"], document["paths"]["/api/v1/session"]["delete"]
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    schema = schemathesis.openapi.from_dict(document)
    seen: set[tuple[str, int]] = set()
    random.seed(16)
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Case) -> None:
            if "session" not in case.path:
                case.headers["X-Console-Token"] = browser.token
            answer = case.call(base_url=url, session=session)
            case.validate_response(answer, checks=CHECKS)
            seen.add((case.method, answer.status_code))

        ask()
    assert {("GET", 200), ("GET", 404), ("POST", 200), ("POST", 400), ("POST", 409)} <= set(seen)

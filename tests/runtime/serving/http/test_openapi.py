"""The OpenAPI document says what the service does: schemathesis finds no answer beside it."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)


@schemathesis.serializer("multipart/related")
def related(context, value):
    """Bodies of parts are written by no serializer of its own."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def address(whole):
    return f"http://127.0.0.1:{whole.http.port}"


@pytest.fixture(scope="module")
def document(address):
    return httpx.get(f"{address}/openapi.json").json()


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.mark.parametrize("examples", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_every_answer_is_documented(address, examples):
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [*schema.exclude(path_regex="events|reload").get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.ok().as_strategy())
        def check(case):
            case.call_and_validate(checks=CHECKS, timeout=30)

        check()


def test_every_route_has_a_summary_and_its_errors_one_form(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            for status, answer in operation["responses"].items():
                if status >= "400" and not (path.startswith("/dicomweb") and status == "409"):
                    content = answer["content"]["application/json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/Error"}


def test_nothing_of_the_frameworks_own_form_is_described(document):
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "detail" not in str(document["components"]["schemas"]["Error"])


def test_references_lead_somewhere(document):
    def references(part):
        if isinstance(part, dict):
            for key, value in part.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(part, list):
            for each in part:
                yield from references(each)

    for reference in set(references(document)):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


@pytest.mark.parametrize(("path", "allowed"), [("/v1/scans", "GET, POST"), ("/v2", "GET")])
def test_a_wrong_method_names_the_right_ones(address, path, allowed):
    answer = httpx.patch(address + path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert list(answer.json()) == ["error"]

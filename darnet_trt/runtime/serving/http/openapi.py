"""Describe the routes exactly: every status they answer with, and no other."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

SCHEMAS: Final = "#/components/schemas/"
_NEVER: Final = ("HTTPValidationError", "ValidationError")  # FastAPI's own: ours have one form


class Description:
    """Makes the OpenAPI document of an application once; calling it returns the document.

    Args:
        app: The application.
        bodies: Of requests that the routes read themselves; the document names them.
    """

    def __init__(self, app: FastAPI, *bodies: type[BaseModel]) -> None:
        self._app, self._bodies = app, bodies
        self._made: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the document."""
        if not self._made:
            self._made = self._make()
        return self._made

    def methods(self, path: str) -> list[str]:
        """Return the methods that do something under a path, in order; none where it is hidden."""
        for template, operations in self()["paths"].items():
            route = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if re.fullmatch(route, path):
                return sorted(method.upper() for method in operations)
        return []

    def _make(self) -> dict[str, Any]:
        app = self._app
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas: dict[str, Any] = made["components"]["schemas"]
        for body in self._bodies:
            schema = body.model_json_schema(ref_template=SCHEMAS + "{model}")
            schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        for name in _NEVER:
            schemas.pop(name, None)
        for operations in made["paths"].values():
            for operation in operations.values():
                answers = operation["responses"]
                if _NEVER[0] in str(answers.get("422")):
                    del answers["422"]
        return made

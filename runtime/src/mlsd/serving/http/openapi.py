"""What `/rank` takes and gives, in OpenAPI's words, with the design's own limits. A test fuzzes the service by it."""

from typing import Any

from mlsd.design.design import Design
from mlsd.tasks.ranking.json_bounds import LARGEST_ID
from mlsd.tasks.ranking.request import DEVICES

Schema = dict[str, Any]
ID: Schema = {"type": "integer", "minimum": 0, "maximum": LARGEST_ID}
TEXT: Schema = {"type": "string"}
HEADERS = {
    "x-request-id": "of this request",
    "x-mlsd-model-version": "the model that answered",
    "x-mlsd-release": "the release that answered",
}
ERRORS = {
    400: "A field is missing, unknown or wrong; the answer names it.",
    408: "The request did not arrive whole in time.",
    413: "The body has more bytes than allowed.",
    429: "The queue is too long; `retry-after` says when to come back.",
}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    properties = required | (optional or {})
    return {"type": "object", "required": list(required), "additionalProperties": False, "properties": properties}


def _list(items: Schema, least: int, most: int, **more: object) -> Schema:
    return {"type": "array", "minItems": least, "maxItems": most, "items": items, **more}


def _schemas(design: Design) -> dict[str, Schema]:
    most = design.scale.candidates
    candidates = {"candidates": _list(ID, 1, most, uniqueItems=True)}
    online = design.serving_mode == "online"
    device: dict[str, Schema] = {"device": {"enum": list(DEVICES)}}
    score = {"type": "number", "minimum": 0, "maximum": 1}
    hop = {"type": "number", "minimum": 0}
    who: dict[str, Schema] = {
        "request_id": TEXT,
        "model_version": {"type": "integer"},
        "release_id": {"type": "integer"},
    }
    longest = most if online else max(most, design.batch.top)
    ranking = {
        "degraded": {"type": "array", "items": TEXT},
        "hops_ms": _object({"features": hop, "inference": hop, "post": hop}),
        "items": _list(_object({"item_id": ID, "score": score}), 1 if online else 0, longest),
    }
    error = {"error": _object({"field": TEXT, "found": TEXT, "expected": TEXT})}
    asked = _object({"user_id": ID}, candidates | device)
    if online:
        asked = _object({"user_id": ID} | candidates, device)
    return {"RankRequest": asked, "Ranking": _object(who | ranking), "Error": _object(who | error)}


def _answer(description: str, schema: str, *also: str) -> Schema:
    headers = HEADERS | dict.fromkeys(also, "seconds")
    return {
        "description": description,
        "headers": {name: {"description": said, "schema": TEXT} for name, said in headers.items()},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _header(name: str, said: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": TEXT, "description": said}


def example(design: Design) -> Schema:
    """A request that the service takes: one user, some of the candidates that retrieval found, the device."""
    candidates = [100_001, 100_002, 100_003][: design.scale.candidates]
    return {"user_id": 42, "candidates": candidates, "device": "mobile"}


def describe(design: Design) -> Schema:
    """The document for a service of this design."""
    answers = {"200": _answer("All candidates, best first.", "Ranking")}
    answers |= {
        str(code): _answer(said, "Error", *(["retry-after"] if code == 429 else [])) for code, said in ERRORS.items()
    }
    rank = {
        "operationId": "rank",
        "summary": "The candidates of one user, best first.",
        "parameters": [
            _header("x-request-id", "Taken over when it is harmless, else replaced."),
            _header("traceparent", "Of the caller's span (W3C)."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/RankRequest"}, "example": example(design)}
            },
        },
        "responses": answers,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": design.name, "version": "1"},
        "paths": {"/rank": {"post": rank}},
        "components": {"schemas": _schemas(design)},
    }

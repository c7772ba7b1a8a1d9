"""Greets on GET; on POST, summarises the JSON array of numbers in the body.

The modules `wit_world` and `componentize_py_types` are made by componentize-py from the interfaces in
wit/. Whatever this module imports is loaded when the component is built, not when a request comes.
"""

import json
import statistics
from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import streams
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Get,
    Method_Post,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

READ_BYTES_MAX = 64 * 1024
# The most that one blocking write may carry, by the definition of WASI's streams.
WRITE_BYTES_MAX = 4096


class IncomingHandler(exports.IncomingHandler):
    """The exported interface: componentize-py finds it by its name."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        status, answer = serve(request)
        respond(response_out, status, json.dumps(answer, separators=(",", ":")) + "\n")


def serve(request: IncomingRequest) -> tuple[int, dict]:
    method = request.method()
    if isinstance(method, Method_Get):
        query = parse_qs(urlsplit(request.path_with_query() or "/").query)
        name = query.get("name", ["world"])[0]
        return 200, {"greeting": f"Hello, {name}!", "language": "Python"}
    if not isinstance(method, Method_Post):
        return 405, {"error": "use GET or POST"}
    try:
        return 200, summary(json.loads(read_body(request)))
    except (ValueError, TypeError) as error:
        return 400, {"error": f"send a JSON array of numbers: {error}"}


def summary(numbers: list[float]) -> dict:
    return {
        "count": len(numbers),
        "mean": statistics.fmean(numbers),
        "median": statistics.median(numbers),
        "deviation": round(statistics.pstdev(numbers), 6),
    }


def read_body(request: IncomingRequest) -> bytes:
    chunks = []
    with request.consume() as body, body.stream() as stream:
        while True:
            try:
                chunks.append(stream.blocking_read(READ_BYTES_MAX))
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    return b"".join(chunks)
                raise


def respond(response_out: ResponseOutparam, status: int, answer: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"application/json")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    content = answer.encode()
    # The stream has to be gone before its body is finished, which is what `with` is for here.
    with body.write() as stream:
        for start in range(0, len(content), WRITE_BYTES_MAX):
            stream.blocking_write_and_flush(content[start : start + WRITE_BYTES_MAX])
    OutgoingBody.finish(body, None)

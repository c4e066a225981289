"""FastAPI and uvicorn (uvloop, httptools), the cached dictionary encoded by orjson on every GET. No access log."""

from __future__ import annotations

import orjson
import uvicorn
from fastapi import FastAPI, Response

from bench.peers.arguments import peer


def main() -> None:
    """Serves until it is ended."""
    me = peer("FastAPI with uvicorn and orjson.")
    cache = {path.lstrip("/"): orjson.loads(body) for path, body in me.bodies.items()}
    app = FastAPI()

    @app.get("/{name}")
    async def environment(name: str) -> Response:
        return Response(orjson.dumps(cache[name]), media_type="application/json")

    uvicorn.run(
        app, host="127.0.0.1", port=me.port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()

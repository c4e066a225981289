"""`search` by Jina's search service, where JINA_API_KEY is set: https://jina.ai/reader, "Search API".

Asked for titles and descriptions alone, not for pages as they are today. A result that does not say when it was
published, or says a time after the opening, is left out. What leaves the house is the query and the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from position_server.clock import Clock
from position_server.errors import AgentFailed
from position_server.settings.addresses import shown
from position_server.simulation.agents.published import is_known, read_time
from position_server.simulation.holdings import Refused

DEFAULT_URL = "https://s.jina.ai/"
TIMEOUT_SECONDS = 20.0
MOST_BYTES = 2_000_000
MOST_TEXT = 1000  # characters of a description
WHEN = ("date", "publishedTime")
NEVER = (401, 402, 403)  # a key that is not accepted, or has nothing left


@dataclass(frozen=True, slots=True)
class WebSearch:
    """The service at `url`."""

    url: str
    key: str
    clock: Clock

    async def search(self, query: str, opening: datetime, most: int) -> list[dict[str, Any]]:
        """What was out at the opening. Raises Refused where the service does not answer, AgentFailed for the key."""
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Accept": "application/json",
            "X-Respond-With": "no-content",
        }
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client,
                client.stream("POST", self.url, headers=headers, json={"q": query}) as response,
            ):
                self._check(response.status_code)
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise Refused("the search service answers too much; ask for something narrower")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(f"the search service does not answer now ({type(error).__name__})") from None
        return self._known(body, opening)[:most]

    def _check(self, status: int) -> None:
        if status in NEVER:
            raise AgentFailed(f"the search service at {shown(self.url)} refuses JINA_API_KEY ({status})")
        if status >= 300:
            raise Refused(f"the search service does not answer now ({status})")

    def _known(self, body: bytes, opening: datetime) -> list[dict[str, Any]]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        items = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise Refused("the search service answers something that is no list of results")
        now = self.clock.now()
        return [found for item in items if isinstance(item, dict) and (found := _result(item, opening, now))]


def _result(item: Mapping[str, Any], opening: datetime, now: datetime) -> dict[str, Any] | None:
    """What is shown of a result; None where it is not known that it was out. All of its times have to be before."""
    times = [read_time(item[name], now) for name in WHEN if isinstance(item.get(name), str)]
    if not times or any(moment is None or not is_known(moment, opening) for moment in times):
        return None
    texts = {name: str(item.get(name) or "")[:MOST_TEXT] for name in ("title", "url", "description")}
    return {"time": str(times[0]), **texts}

"""`/position-environment`: GET reads through the cache, POST computes what-ifs; both answer in one envelope."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from position_server.environment.cache import Entry
from position_server.environment.envelope import encode_sections, iso
from position_server.environment.scheduler import WarmUps
from position_server.environment.service import Answer, EnvironmentService
from position_server.params import ParamReader
from position_server.web.answers import PreparedAnswer, Question
from position_server.web.base import Failure, JsonHandler, WebContext
from position_server.web.hits import HitTable
from position_server.web.operations import ENVIRONMENT_GET, ENVIRONMENT_POST

KEY_ARGUMENT = """-H 'X-API-Key: '"$POSITION_SERVER_KEY" """  # the shell puts the secret there
WITHOUT_TRACEBACKS = "without tracebacks"  # a key of an entry's answers, which the others are questions of


class EnvironmentHandler(JsonHandler):
    """Positions, prices, P&L and risk of some books, on a date, at a time of day."""

    docs: ClassVar[dict[str, Any]] = {"get": ENVIRONMENT_GET, "post": ENVIRONMENT_POST}

    def initialize(  # type: ignore[override]
        self,
        context: WebContext,
        route: str,
        environment: EnvironmentService,
        warm_ups: WarmUps,
        reader: ParamReader,
        hits: HitTable,
    ) -> None:
        super().initialize(context, route)
        self.environment = environment
        self.warm_ups = warm_ups
        self.reader = reader
        self.hits = hits
        self.echo: dict[str, Any] = {"request_params": None, "section_params": None}
        self.curl = ""

    async def get(self) -> None:
        base, options = self.reader.extract_from_get(self.request.query, self.environment.sections_now)
        self.echo["request_params"] = base.to_dict()
        self.curl = self._curl(urlencode([*base.to_query(), *options.to_query()]))
        answer = await self.environment.read(base, options)
        question = Question.of(self.curl, self.echo, options.sections)
        if options.max_age is None and options.require is None:
            self.hits.remember(self.request.host, self.request.uri or "", base.to_cache_key(), question)
        await self._send(answer, question)

    async def post(self) -> None:
        body = self.body()
        self.curl = self._curl(self.request.query, body.decode(errors="replace"))
        query, known = self.request.query, self.environment.sections_now
        request = await self.parsed(body, lambda text: self.reader.extract_from_post(text, query, known))
        self.echo = {"request_params": request.base.to_dict(), "section_params": request.section_params}
        answer = await self.environment.what_if(request)
        await self._send(answer, Question.of(self.curl, self.echo, None))

    async def _send(self, answer: Answer, question: Question) -> None:
        entry = answer.entry if self.sees_tracebacks else await self._without_tracebacks(answer.entry)
        prepared = PreparedAnswer(entry, question, hit=answer.hit)
        now = self.context.clock.monotonic()
        duration_ms = round((now - self.started) * 1000)
        head = prepared.head(self.request_id, iso(self.received_at), duration_ms, self.warm_ups.server_status, now)
        length, coding, chunks = prepared.content(head, self.request.headers.get("Accept-Encoding"))
        for name, value in (*prepared.headers, *coding, ("Content-Length", str(length))):
            self.set_header(name, value)
        if self.request.method != "POST" and self.check_etag_header():
            self.clear_header("Content-Length")
            self.clear_header("Content-Encoding")
            self.set_status(304)
            self.finish()
            return
        for chunk in chunks:
            self.write(bytes(chunk))
        self.finish()

    async def _without_tracebacks(self, entry: Entry) -> Entry:
        """The entry as all but admins see it. Where that differs, it has an id of its own; made once, on a thread."""
        if not self.context.expose_tracebacks or not any(state.error_stack for state in entry.states.values()):
            return entry
        hidden: Entry | None = entry.answers.get(WITHOUT_TRACEBACKS)
        if hidden is None:
            encode = partial(encode_sections, entry.states, expose_tracebacks=False)
            encoded = await asyncio.get_running_loop().run_in_executor(self.context.threads, encode)
            hidden = entry.answers[WITHOUT_TRACEBACKS] = replace(entry, encoded=encoded, answers={})
        return hidden

    def error_body(self, failure: Failure) -> dict[str, Any]:
        return {
            **self._common(),
            "cache_hit": False,
            "server_status": self.warm_ups.server_status,
            "environment_id": None,
            "age_seconds": None,
            "error": True,
            "error_code": failure.code,
            "message": failure.message,
            "problems": failure.problems,
            "error_stack": failure.error_stack,
            "sections": None,
        }

    def _common(self) -> dict[str, Any]:
        seconds = self.context.clock.monotonic() - self.started
        return {
            "request_id": self.request_id,
            "request_timestamp": iso(self.received_at),
            "duration_ms": round(seconds * 1000),
            "curl_command": self.curl or self._curl(self.request.query),
            **self.echo,
        }

    def _curl(self, query: str, body: str | None = None) -> str:
        """A command that replays this request in a shell."""
        url = f"{self.request.protocol}://{self.request.host}{self.request.path}" + (f"?{query}" if query else "")
        words = [url]
        if self.request.method == "POST":
            words = ["-X", "POST", "-H", "Content-Type: application/json", "--data-raw", body or "", url]
        elif self.request.method not in {"GET", "HEAD"}:
            words = ["-X", self.request.method or "", url]
        return f"curl -sS {KEY_ARGUMENT if self.guard.on else ''}{shlex.join(words)}"

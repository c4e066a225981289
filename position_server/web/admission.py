"""Admission: every route but those of health asks the guard who is calling, and whether that key's role suffices.

What is refused is answered by the handler's own `write_error`, after the body, so that the answer is read; the body is
thrown away. The fast path for hits asks the same guard by itself, and leaves everything but a reader to this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import ClassVar

from tornado.web import RequestHandler

from position_server.access import Caller, Guard, Role, Unknown
from position_server.errors import Forbidden, PositionServerError, Retryable, Unauthorized

CHALLENGE = 'Bearer realm="position-server"'  # RFC 6750; X-API-Key has no scheme of its own
ROLES: Mapping[str, Role] = MappingProxyType({"GET": Role.READER, "HEAD": Role.READER})


class GuardedHandler(RequestHandler):
    """A handler that knows its caller when its method runs."""

    roles: ClassVar[Mapping[str, Role]] = {}  # by method, where it is another than GET reader and the rest analyst
    for_everybody: ClassVar[bool] = False  # health checks carry no keys

    guard: Guard
    caller: Caller | None = None
    refusal: PositionServerError | None = None

    @classmethod
    def role_for(cls, method: str) -> Role:
        """The least role that may use this method."""
        return cls.roles.get("GET" if method == "HEAD" else method) or ROLES.get(method, Role.ANALYST)

    @property
    def sees_tracebacks(self) -> bool:
        """Whether the caller may be shown how the server looks inside."""
        return self.caller.role is Role.ADMIN if self.caller else not self.guard.on

    def admit(self) -> Awaitable[None] | None:
        """Finds out who is calling; what to wait for where that takes longer. To be returned from `prepare`."""
        if self.for_everybody:
            return None
        caller = self.guard.caller_of(self.request.headers)
        if isinstance(caller, Unknown):
            return self._identify()
        self._decide(caller)
        return None

    async def _identify(self) -> None:
        try:
            self._decide(await self.guard.identify(self.request.headers))
        except Retryable as error:
            self._refuse(error)

    def _decide(self, caller: Caller | None) -> None:
        method = self.request.method or ""
        needed = self.role_for(method)
        self.caller = caller
        if caller is None:
            self._refuse(Unauthorized())
        elif caller.role < needed:
            self._refuse(Forbidden(f"This needs the role {needed.word}; the key's is {caller.role.word}."))

    def _refuse(self, error: PositionServerError) -> None:
        self.refusal = error
        setattr(self, (self.request.method or "").lower(), self._raise_refusal)

    def _raise_refusal(self, *_: str) -> None:
        assert self.refusal is not None
        raise self.refusal

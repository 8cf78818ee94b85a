"""One limit on requests: whom it counts, what a request costs, what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from asgiref.sync import sync_to_async
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase

from django_counter.ratelimit import outages, response
from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.headers import apply_headers
from django_counter.ratelimit.identity import Identity
from django_counter.ratelimit.limit import RateLimit
from django_counter.signals import rate_limited

Cost: TypeAlias = int | Callable[[HttpRequest], int]
RefundWhen: TypeAlias = Callable[[HttpRequest, Any], bool]


class Look(Decision):
    """The decision on a request of which nothing was asked: it has not counted yet."""

    __slots__ = ()


class Hit(NamedTuple):
    """A request at a limit."""

    decision: Decision
    decisions: list[Decision]  # request.rate_limits, to which later ones are added
    identity: str
    cost: int  # that this hit asked for: nothing where the request was counted before

    @property
    def drew(self) -> bool:
        """Whether there is something to give back."""
        counted = self.decision.degraded in {None, "local"}
        return bool(self.cost) and self.decision.allowed and counted


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit, as it stands before a view or a site.

    In asynchronous code the functions of projects run in a thread: they may use the ORM.
    """

    limit: RateLimit
    identity: Identity
    cost: Cost = 1
    on_error: str = "allow"
    refund_when: RefundWhen | None = None

    def hit(self, request: HttpRequest) -> Hit:
        """Count a request, once, and keep the decision with it."""
        identity = self.identity.find(request)
        decisions = decisions_of(request)
        counted = self._counted(decisions, identity) if decisions else None
        if counted:
            return counted
        cost = self.cost if isinstance(self.cost, int) else self._possible(self.cost(request))
        decision = outages.hit(self.limit, identity, cost, self.on_error)
        if not decision.allowed:
            rate_limited.send_robust(
                RateLimit, request=request, limit=self.limit, decision=decision
            )
        decisions.append(decision if cost else Look(*decision))
        return Hit(decision, decisions, identity, cost)

    async def ahit(self, request: HttpRequest) -> Hit:
        """See hit()."""
        identity = await self.identity.aidentify(request)
        decisions = decisions_of(request)
        counted = self._counted(decisions, identity) if decisions else None
        if counted:
            return counted
        if isinstance(self.cost, int):
            cost = self.cost
        else:
            cost = self._possible(await sync_to_async(self.cost)(request))
        decision = await outages.ahit(self.limit, identity, cost, self.on_error)
        if not decision.allowed:
            await rate_limited.asend_robust(
                RateLimit, request=request, limit=self.limit, decision=decision
            )
        decisions.append(decision if cost else Look(*decision))
        return Hit(decision, decisions, identity, cost)

    def refund(self, request: HttpRequest, hit: Hit, answer: HttpResponseBase) -> None:
        """Give the hit back where the answer calls for it."""
        if not (self.refund_when and hit.drew and self.refund_when(request, answer)):
            return
        if outages.refund(self.limit, hit.identity, hit.cost, hit.decision):
            _note_refund(hit)

    async def arefund(self, request: HttpRequest, hit: Hit, answer: HttpResponseBase) -> None:
        """See refund()."""
        if not (self.refund_when and hit.drew):
            return
        if not await sync_to_async(self.refund_when)(request, answer):
            return
        if await outages.arefund(self.limit, hit.identity, hit.cost, hit.decision):
            _note_refund(hit)

    def _counted(self, decisions: list[Decision], identity: str) -> Hit | None:
        """Return the hit of a request that this limit has counted before, in another place."""
        for decision in decisions:
            if outages.made(self.limit, decision) and decision.identity == digest(identity):
                if decision.allowed and isinstance(decision, Look):
                    decisions.remove(decision)  # the one to be made takes its place
                    return None
                return Hit(decision, decisions, identity, 0)
        return None

    def _possible(self, cost: int) -> int:
        """Return the cost that a function found; refuse one that can never be allowed."""
        if isinstance(cost, int) and cost > self.limit.largest_cost:
            raise BadRequest(f"a cost of {cost} can never be allowed by {self.limit!r}")
        return cost


def decisions_of(request: HttpRequest) -> list[Decision]:
    """Return request.rate_limits: the decisions on a request so far."""
    kept = request.__dict__
    if "_request" in kept:  # REST framework's own, around the one that all others see
        kept = kept["_request"].__dict__
    return kept.setdefault("rate_limits", [])  # type: ignore[no-any-return]


def refusal(request: HttpRequest, decision: Decision) -> HttpResponseBase:
    """Return the answer to a denied request: 429, or 503 where an outage denied it."""
    if decision.degraded == "deny":
        answer = response.unavailable(request, decision.retry_after)
    else:
        answer = response.denied(request, decision)
    apply_headers(answer, decisions_of(request))
    return answer


async def arefusal(request: HttpRequest, decision: Decision) -> HttpResponseBase:
    """See refusal()."""
    if decision.degraded == "deny":
        answer = await response.aunavailable(request, decision.retry_after)
    else:
        answer = await response.adenied(request, decision)
    apply_headers(answer, decisions_of(request))
    return answer


def _note_refund(hit: Hit) -> None:
    hit.decisions[hit.decisions.index(hit.decision)] = hit.decision.refunded(hit.cost)

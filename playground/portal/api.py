"""The platform's API: own courses, curriculum, one lecture, one course, one quiz.

In: requests with a bearer token. Out: JSON pages. Links to the CDN are signed when the answer is
made. The route and the thing asked for make the target a fault script names:
`api:curriculum/<slug>`, `api:lecture/<slug>/<ref>`, `api:assessments/<slug>/<ref>`,
`api:course/<slug>`, `api:subscribed-courses`, `api:enrollments`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from playground.portal import courses as c
from playground.portal import fieldsets, shapes
from playground.portal.accounts import Account, Accounts, forbidden, missing, unauthorised
from playground.portal.catalogue import Catalogue, Entry, Listing, class_of
from playground.portal.faults import Faults
from playground.portal.ledger import Ledger
from playground.portal.signing import Form, Signer
from playground.wire import Reply, Request
from playground.wire.reply import document

ROOT = "/api-2.0"
ROUTES = {
    "subscribed-courses": re.compile(rf"{ROOT}/users/me/subscribed-courses/?"),
    "enrollments": re.compile(rf"{ROOT}/users/me/subscription-course-enrollments/?"),
    "lecture": re.compile(rf"{ROOT}/users/me/subscribed-courses/(\d+)/lectures/(\d+)/?"),
    "curriculum": re.compile(
        rf"{ROOT}/courses/(\d+)/(?:subscriber|cached-subscriber)-curriculum-items/?"
    ),
    "course": re.compile(rf"{ROOT}/courses/(\d+)/?"),
    "assessments": re.compile(rf"{ROOT}/quizzes/(\d+)/assessments/?"),
}
DEFAULT_PAGE = 12


@dataclass(frozen=True)
class Call:
    """A request that a route understood, with what its numbers stand for."""

    route: str
    listing: Listing | None = None
    entry: Entry | None = None

    @property
    def target(self) -> str:
        """The name of the call in fault scripts and in the ledger."""
        thing = self.entry.key if self.entry else self.listing.course.slug if self.listing else ""
        return f"api:{self.route}/{thing}".rstrip("/")


class Api:
    """Answers the platform's API."""

    def __init__(
        self,
        catalogue: Catalogue,
        accounts: Accounts,
        signer: Signer,
        faults: Faults,
        ledger: Ledger,
        cdn_base: Callable[[Request], str],
        page_cap: int,
    ) -> None:
        self._catalogue, self._accounts, self._signer = catalogue, accounts, signer
        self._faults, self._ledger = faults, ledger
        self._cdn_base = cdn_base
        self.page_cap = page_cap

    def answer(self, request: Request) -> Reply:
        """The reply to one request, faults included."""
        call = self._call(request.path)
        watcher = self._ledger.begin(call.target, request)
        actions = self._faults.take(call.target, request)
        reply = self._reply(request, call)
        for action in actions:
            reply = action.on_reply(request, reply)
        return replace(reply, watch=watcher)

    def _call(self, path: str) -> Call:
        for route, pattern in ROUTES.items():
            if found := pattern.fullmatch(path):
                return self._resolved(route, [int(number) for number in found.groups()])
        return Call("unknown")

    def _resolved(self, route: str, numbers: list[int]) -> Call:
        if route == "assessments":
            listing, entry = self._catalogue.find_entry(numbers[0]) or (None, None)
            return Call(route, listing, entry)
        listing = self._catalogue.by_id(numbers[0]) if numbers else None
        entry = listing.entry(numbers[1]) if listing and len(numbers) > 1 else None
        return Call(route, listing, entry)

    def _reply(self, request: Request, call: Call) -> Reply:
        account = self._accounts.of(request)
        if account is None:
            return unauthorised()
        if request.method not in ("GET", "HEAD"):
            return document({"detail": f'Method "{request.method}" not allowed.'}, 405)
        if call.listing and not account.owns(call.listing.course.slug):
            return forbidden()
        answers = {
            "subscribed-courses": self._subscribed,
            "enrollments": self._enrollments,
            "curriculum": self._curriculum,
            "lecture": self._lecture,
            "course": self._course,
            "assessments": self._assessments,
        }
        handler = answers.get(call.route)
        return handler(request, call, account) if handler else missing()

    def _subscribed(self, request: Request, call: Call, account: Account) -> Reply:
        archived = request.query.get("is_archived", "").lower() == "true"
        return self._courses(
            request, account, lambda one: not one.plan and one.archived == archived
        )

    def _enrollments(self, request: Request, call: Call, account: Account) -> Reply:
        return self._courses(request, account, lambda one: one.plan)

    def _courses(
        self, request: Request, account: Account, chosen: Callable[[c.Course], bool]
    ) -> Reply:
        search = request.query.get("search", "").lower()
        found = [
            shapes.course(listing)
            for listing in self._catalogue.listings
            if account.owns(listing.course.slug)
            and chosen(listing.course)
            and _is_found(listing.course, search)
        ]
        return self._page(request, found)

    def _curriculum(self, request: Request, call: Call, account: Account) -> Reply:
        if call.listing is None:
            return missing()
        types = request.query.get("curriculum_types")
        link = self._linker(request)
        chosen = [
            one
            for one in call.listing.entries
            if types is None or class_of(one.thing) in types.split(",")
        ]
        return self._page(request, chosen, lambda one: shapes.entry(one, link))

    def _lecture(self, request: Request, call: Call, account: Account) -> Reply:
        if call.entry is None or not isinstance(call.entry.thing, c.Lecture):
            return missing()
        return _shown(request, shapes.entry(call.entry, self._linker(request)))

    def _course(self, request: Request, call: Call, account: Account) -> Reply:
        return _shown(request, shapes.course(call.listing)) if call.listing else missing()

    def _assessments(self, request: Request, call: Call, account: Account) -> Reply:
        if call.entry is None or not isinstance(call.entry.thing, c.Quiz):
            return missing()
        return self._page(request, shapes.assessments(call.entry.thing, call.entry.id))

    def _page(
        self, request: Request, every: list[Any], shape: Callable[[Any], Any] = lambda one: one
    ) -> Reply:
        """One page of a list; only its own entries are given their shape, links and all."""
        size = min(_number(request.query.get("page_size"), DEFAULT_PAGE), self.page_cap)
        number = _number(request.query.get("page"), 1)
        first = (number - 1) * size
        if number > 1 and first >= len(every):
            return document({"detail": "Invalid page."}, 404)
        return document(
            {
                "count": len(every),
                "next": _sibling(request, number + 1) if first + size < len(every) else None,
                "previous": _sibling(request, number - 1) if number > 1 else None,
                "results": _reduced(request, [shape(one) for one in every[first : first + size]]),
            }
        )

    def _linker(self, request: Request) -> shapes.Link:
        base = self._cdn_base(request)

        def link(key: str, form: Form | None) -> str:
            query = f"?{self._signer.query(f'/{key}', form)}" if form else ""
            return f"{base}/{quote(key)}{query}"

        return link


def _is_found(course: c.Course, search: str) -> bool:
    return search in course.slug.lower() or search in course.title.lower()


def _shown(request: Request, value: dict[str, Any]) -> Reply:
    return document(_reduced(request, value))


def _reduced(request: Request, value: Any) -> Any:
    return fieldsets.keep(value, fieldsets.parse(request.query))


def _number(value: str | None, default: int) -> int:
    return int(value) if value and value.isdigit() and int(value) > 0 else default


def _sibling(request: Request, page: int) -> str:
    parts = urlsplit(request.target)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "page"]
    return f"{request.scheme}://{request.host}{parts.path}?{urlencode([*query, ('page', page)])}"

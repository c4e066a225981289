"""When something was published, and whether that was before the market opened: nothing later is shown to an agent.

Where a text leaves it open, the latest moment that it can mean is taken; what says nothing is not shown.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

FORMATS = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y/%m/%d")
AGO = re.compile(r"(\d{1,5}|an?) (second|minute|min|hour|day|week|month|year)s? ago", re.IGNORECASE)
SHORTEST_DAYS = {"second": 1 / 86_400, "minute": 1 / 1440, "min": 1 / 1440, "hour": 1 / 24}
SHORTEST_DAYS |= {"day": 1.0, "week": 7.0, "month": 28.0, "year": 365.0}


def read_time(text: str, now: datetime) -> datetime | date | None:
    """An aware moment, a day, or None for what is neither. `now` is what "3 days ago" is counted from."""
    text = text.strip()
    ago = AGO.fullmatch(text)
    if ago is not None:
        count = 1 if ago[1].lower().startswith("a") else int(ago[1])
        return _earlier(now, count * SHORTEST_DAYS[ago[2].lower()])
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    for form in FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo is not None else moment.date()
    return None


def is_known(published: datetime | date, opening: datetime) -> bool:
    """Whether that was out at the opening: a moment not after it, or a day before it."""
    if isinstance(published, datetime):
        return published <= opening
    return published < opening.date()


def _earlier(now: datetime, days: float) -> datetime | None:
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return None

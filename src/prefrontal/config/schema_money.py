"""The part of the tree that says what may be spent, and how fast."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, NotNegative
from prefrontal.contracts.money import OnExhaustion, RateWindow, Scope, UnknownPrice, Window


class BudgetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent in one window. Give `usd`, `tokens` or both."""

    name: Annotated[str | None, Meta(description="What messages call it; left out: made of scope, member and window.")] = None
    scope: Annotated[Scope, Meta(description="Whose spending is added up.")] = "global"
    of: Annotated[
        str,
        Meta(description='Which key (name or id), team, tag, model or role; "*": each by itself. Means nothing for `global`.'),
    ] = "*"
    window: Annotated[Window, Meta(description="Calendar window in UTC; a week starts on Monday; `total` never starts anew.")] = (
        "month"
    )
    usd: Annotated[NotNegative | None, Meta(description="Most to spend in the window, USD.")] = None
    tokens: Annotated[Count | None, Meta(description="Most tokens in the window, input and output together.")] = None
    on_exhaustion: Annotated[
        OnExhaustion, Meta(description="`deny` answers 429; `degrade` takes models that what is left still pays for.")
    ] = "deny"
    unknown_price: Annotated[
        UnknownPrice,
        Meta(description="A model without a known price is refused under this budget, or counts 0 and is marked in the books."),
    ] = "deny"


class RateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may happen at a time. Give at least one of `requests`, `tokens`, `concurrency`."""

    name: Annotated[str | None, Meta(description="What messages call it; left out: made of scope, member and window.")] = None
    scope: Annotated[Scope, Meta(description="Whose requests are counted.")] = "key"
    of: Annotated[
        str,
        Meta(description='Which key (name or id), team, tag, model or role; "*": each by itself. Means nothing for `global`.'),
    ] = "*"
    window: Annotated[RateWindow, Meta(description="Length of the sliding window that `requests` and `tokens` are for.")] = (
        "minute"
    )
    requests: Annotated[Count | None, Meta(description="Requests in any such window.")] = None
    tokens: Annotated[Count | None, Meta(description="Tokens in any such window, input and output together.")] = None
    concurrency: Annotated[Count | None, Meta(description="Requests in progress at once.")] = None

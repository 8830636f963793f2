"""The part of the tree about surviving faults and load: deployments, hedging, shedding."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Count0, NotNegative, Positive
from prefrontal.contracts.resilience import HedgeTo


class TlsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the certificate of one endpoint is checked."""

    verify: Annotated[bool, Meta(description="False accepts any certificate: for a test bench only.")] = True
    ca_file: Annotated[
        str | None,
        Meta(description="PEM file with the authorities to trust instead of the system's, for self-signed endpoints."),
    ] = None


class DeploymentEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that serves the model. What is left out is as the model's entry says."""

    name: Annotated[
        str | None, Meta(description="What records and metrics call it; left out: `d1`, `d2`, … in the order of the list.")
    ] = None
    endpoint: Annotated[str | None, Meta(description="Base URL.")] = None
    key: Annotated[str | None, Meta(description="The secret for this place, as `${NAME}`.")] = None
    keys: Annotated[tuple[str, ...], Meta(description="Several secrets for this place: each is a deployment by itself.")] = ()
    model: Annotated[str | None, Meta(description="The name this place knows the model by.")] = None
    weight: Annotated[Positive, Meta(description="Its share of the work beside others, such as 2 for twice as much.")] = 1.0
    concurrency: Annotated[Count | None, Meta(description="Requests at once.")] = None
    queue: Annotated[Count0 | None, Meta(description="Requests that may wait.")] = None
    headers: Annotated[dict[str, str], Meta(description="Extra headers, beside the model's.")] = {}
    tls: Annotated[TlsEntry | None, Meta(description="How its certificate is checked.")] = None


class HedgeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt beside a first one that is slow. Costs money: both attempts are paid for as far as they went."""

    after_ms: Annotated[
        Positive | None,
        Meta(description="Wait so long for the first token, ms; left out: `quantile` of what was measured at the deployment."),
    ] = None
    quantile: Annotated[
        float, Meta(gt=0, lt=1, description="Which share of the measured times is waited out. Specified: 0.95.")
    ] = 0.95
    max_share: Annotated[
        float, Meta(gt=0, le=1, description="At most this share of the requests gets a second attempt. Assumed.")
    ] = 0.05
    to: Annotated[
        HedgeTo,
        Meta(description="`deployment`: only to another one of the same model; `model`: else to the next model of the plan."),
    ] = "deployment"


class Shedding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to requests when there are more than may run. Waiting requests take turns by key."""

    queue: Annotated[
        int, Meta(ge=0, description="Requests that may wait for `limits.concurrency`; 0: refused at once. Assumed.")
    ] = 256
    target_s: Annotated[
        NotNegative, Meta(description="A wait that is still all right, s, in any queue; low priority is shed beyond it. Assumed.")
    ] = 1.0
    interval_s: Annotated[
        Positive, Meta(description="Low priority is shed once every wait of so long, s, was beyond `target_s`. Assumed.")
    ] = 5.0
    max_wait_s: Annotated[
        Positive, Meta(description="Nobody waits longer for `limits.concurrency`, s. Assumed: longer than people wait.")
    ] = 30.0

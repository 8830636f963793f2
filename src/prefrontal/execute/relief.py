"""What is asked of one model for effort, and what its refusals and its silences teach."""

from __future__ import annotations

import msgspec

from prefrontal.contracts.effort import Effort, EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError, ProviderRejected, ThinkingAteCap
from prefrontal.execute.call import Call
from prefrontal.execute.runtime import Runtime
from prefrontal.providers.effort import Dialects, nearest_level_after_400, render_for_call, step_down, without_budget_after_400

CAP_GROWTH = 2
"""When thinking ate a cap of ours, the next attempt gets this multiple (assumed)."""


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """How one model is asked this time: effort, the cap when it is ours to set, and which relief was already given."""

    card: ModelCard
    effort: Effort
    cap: int | None = None
    relieved: bool = False


class Relief:
    """Renders effort for a model and eases it once after a failure that easing can mend. What was learnt is in the runtime."""

    def __init__(self, *, dialects: Dialects, runtime: Runtime) -> None:
        self._dialects = dialects
        self._runtime = runtime

    def fields(self, call: Call, attempt: Try) -> EffortFields:
        """Return the effort rendered for this model, in the levels it is known to take."""
        card = self._taught(attempt.card)
        return render_for_call(attempt.effort, card, call.request, self._dialects, default_cap=attempt.cap or call.default_cap)

    def after(self, call: Call, attempt: Try, error: PrefrontalError) -> Try | None:
        """Return how to ask the same model once more after `error`, or None when there is nothing to ease."""
        if attempt.relieved:
            return None
        if isinstance(error, ThinkingAteCap):
            return self._more_room(call, attempt) or self._less_thinking(call, attempt)
        if isinstance(error, ProviderRejected) and attempt.effort.origin != "default":
            return self._relearned(call, attempt, error)
        return None

    def _more_room(self, call: Call, attempt: Try) -> Try | None:
        """Return the attempt with a larger cap, when the cap is ours and the model can answer at greater length."""
        cap, ceiling = self.fields(call, attempt).output_cap_tokens, attempt.card.max_output_tokens
        if call.request.max_output_tokens is not None or cap is None or (ceiling is not None and cap >= ceiling):
            return None
        grown = cap * CAP_GROWTH
        return msgspec.structs.replace(attempt, relieved=True, cap=grown if ceiling is None else min(grown, ceiling))

    def _less_thinking(self, call: Call, attempt: Try) -> Try | None:
        cap = attempt.cap or call.default_cap
        less = step_down(attempt.effort, self._taught(attempt.card), call.request, self._dialects, default_cap=cap)
        return None if less is None else msgspec.structs.replace(attempt, relieved=True, effort=less)

    def _relearned(self, call: Call, attempt: Try, error: ProviderRejected) -> Try | None:
        """Return the attempt with what a refusal of the effort field teaches about the model, and keep it for later calls."""
        state = self._runtime.state(attempt.card)
        sent = self.fields(call, attempt).level
        card = self._taught(attempt.card)
        levels = nearest_level_after_400(error.message, sent, card, self._dialects, param=error.param)
        if levels is not None:
            state.effort_levels = levels
            return msgspec.structs.replace(attempt, relieved=True)
        overrides = without_budget_after_400(error.message, card, self._dialects, param=error.param)
        if overrides is not None:
            state.effort_overrides = overrides
            return msgspec.structs.replace(attempt, relieved=True)
        return None

    def _taught(self, card: ModelCard) -> ModelCard:
        """Return the card with what earlier refusals taught."""
        state = self._runtime.find(card.place)
        if state is None or (state.effort_levels is None and state.effort_overrides is None):
            return card
        return msgspec.structs.replace(
            card,
            effort_levels=state.effort_levels or card.effort_levels,
            effort_overrides=state.effort_overrides or card.effort_overrides,
        )

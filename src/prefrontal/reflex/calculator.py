"""The calculator's grammar: which questions are arithmetic, and nothing but arithmetic."""

from __future__ import annotations

import re

from prefrontal.reflex.arithmetic import solve
from prefrontal.reflex.expressions import Token, Unanswerable, evaluate, tokenize
from prefrontal.reflex.numerals import HAS_DIGIT, NUMBER, SIGNED, has_number_words, with_digits
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext

_SEPARATOR = r"(?:, (?:and )?|,(?!\d{3}\b)| and | & )"
_KINDS = {
    "n": NUMBER,
    "s": SIGNED,
    "i": r"\d{1,30}",
    "m": rf"[$€£]?{NUMBER}(?: (?:dollars|euros|bucks))?",
    "list": rf"{SIGNED}(?:{_SEPARATOR}{SIGNED}){{1,40}}",
    "pct": r"(?: ?%| percent| per ?cent)",
}

_WHAT_PERCENT = r"(?:what )?(?:percent|percentage|per cent)"

_GRAMMAR = Grammar(
    {
        "percent_of": (
            r"(?:a )?{p:n}{_1:pct} (?:of|tip on|tip for|tax on) (?:a )?{n:m}(?: (?:bill|tab|check))?",
            r"(?:a )?tip of {p:n}{_1:pct} on (?:a )?{n:m}(?: (?:bill|tab|check))?",
        ),
        "percent_more": (
            r"increase {n:m} by {p:n}{_1:pct}",
            r"(?:raise|grow) {n:m} by {p:n}{_1:pct}",
            r"{n:m} (?:increased|raised) by {p:n}{_1:pct}",
            r"add {p:n}{_1:pct} (?:tax |vat |tip )?(?:to|on) {n:m}",
            r"{p:n}{_1:pct} (?:more|higher) than {n:m}",
            r"{n:m} ?(?:plus|\+) ?{p:n}{_1:pct}",
        ),
        "percent_less": (
            r"(?:decrease|reduce|lower|discount) {n:m} by {p:n}{_1:pct}",
            r"{n:m} (?:decreased|reduced|lowered|discounted) by {p:n}{_1:pct}",
            r"(?:subtract|take|deduct) {p:n}{_1:pct} (?:from|off|off of) {n:m}",
            r"{p:n}{_1:pct} (?:less|lower) than {n:m}",
            r"{n:m} ?(?:minus|less|-) ?{p:n}{_1:pct}",
            r"{p:n}{_1:pct} (?:off|discount on|off of) (?:of )?{n:m}",
            r"{n:m} (?:with|at|after) (?:a )?{p:n}{_1:pct} (?:off|discount)",
        ),
        "what_percent": (
            rf"{_WHAT_PERCENT} of {{b:n}} (?:is|are|equals|does) {{a:n}}(?: make)?",
            rf"{_WHAT_PERCENT} (?:is|are) {{a:n}} (?:out )?of {{b:n}}",
            rf"{{a:n}} is {_WHAT_PERCENT} of {{b:n}}",
            r"{a:n}(?: out of | of | over | ?/ ?){b:n} (?:as a|in) (?:percent|percentage|per cent)",
            r"{a:n} as (?:a )?(?:percent|percentage|per cent) of {b:n}",
        ),
        "percent_change": (r"(?:percent|percentage|per cent|%) {kind:change} (?:from|between) {a:n} (?:to|and) {b:n}",),
        "root": (r"{k:degree} root of {n:n}",),
        "power": (r"{n:s} (?:raised )?to the {e:i}(?:st|nd|rd|th)?(?: power)?", r"square of {n:n}", r"{c:cubeword} of {n:n}"),
        "product": (r"multiply {a:s} (?:by|and|with|times) {b:s}", r"product of {l:list}", r"multiply {l:list}"),
        "sum": (
            r"add {a:s} (?:and|to|with|plus) {b:s}",
            r"(?:sum|total) of {l:list}",
            r"add(?: up)? {l:list}",
            r"{l:list} (?:add up to|added together|sum to|add to|added up)",
        ),
        "difference": (r"subtract {b:s} from {a:s}", r"take {b:s} (?:away )?from {a:s}"),
        "distance": (r"difference between {a:s} and {b:s}",),
        "quotient": (r"divide {a:s} by {b:s}", r"quotient of {a:s} and {b:s}"),
        "fraction": (
            r"(?:(?:a|one|1) )?{part:part} (?:of )?{n:m}",
            r"{times:multiple} {n:m}",
            r"{a:i}/{b:i} of {n:m}",
            r"(?:{a:i} )?{parts:parts} of {n:m}",
        ),
        "as_decimal": (
            r"(?:convert |turn |change |express |write )?{a:i}/{b:i} (?:as|to|into|in) (?:a )?decimal(?: number| form)?",
        ),
        "as_fraction": (r"(?:convert |turn |change |express |write )?{n:n} (?:as|to|into) (?:a )?(?:simplified )?fraction",),
        "average": (r"(?:average|mean)(?: value)? (?:of|between) {l:list}", r"average {l:list}"),
        "median": (r"median of {l:list}",),
        "factorial": (r"{n:i} ?!", r"{n:i} factorial", r"factorial (?:of|for) {n:i}"),
        "gcd": (
            (
                r"(?:gcd|gcf|hcf|(?:greatest|highest) common (?:divisor|factor|denominator))(?: \((?:gcd|gcf|hcf)\))? "
                r"(?:of|for|between) {l:list}"
            ),
        ),
        "lcm": (r"(?:lcm|(?:least|lowest|smallest) common multiple)(?: \(lcm\))? (?:of|for|between) {l:list}",),
        "remainder": (
            r"{a:i} ?(?:mod|modulo|modulus) ?{b:i}",
            r"remainder (?:when|of|if) {a:i} (?:is )?(?:divided by|/) {b:i}",
            r"remainder (?:of|when) (?:dividing )?{a:i} (?:divided )?by {b:i}",
        ),
    },
    _KINDS
    | {
        "change": "(?:change|increase|decrease|growth|drop)",
        "degree": r"(?:(?:4|5|6|7|8|9|10|11|12)th|fourth|fifth|sixth|seventh|eighth|ninth|tenth)",
        "cubeword": "cube",
        "part": "(?:half|third|quarter|fifth|sixth|eighth|tenth)",
        "parts": "(?:thirds|quarters|fifths|sixths|eighths|tenths)",
        "multiple": "(?:twice|double|triple|thrice|quadruple)",
    },
)

_CUE = re.compile(
    r"(?:(?P<verb>calculate|compute|calc|work out|figure out|evaluate|solve|determine|what do you get (?:if|when) you"
    r"|how much (?:is|are|would)"
    r"|what do(?:es)?|(?:what(?:'s|s| is) )?the (?:result|value|answer) (?:of|to)|what will i get (?:if|when) i)"
    r"|what(?:'s|s)?(?: is| are| was| would| will)?|find)(?: be)?:? (?:the )?(?:(?:value|result) of )?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?: ?= ?\??| (?:is|are|equals|equal|is equal to|equal to)(?: (?:what|to|how much))?"
    r"| would be| be| come to| comes to| make)$",
    re.IGNORECASE,
)
_GATE = re.compile(r"[\d.(√∛+-]|[a-z€$£]", re.IGNORECASE)
_COMPACT = re.compile(rf"({NUMBER})( ?)([-/x×])( ?)({NUMBER})", re.IGNORECASE)
# "4-4-2", "1-800-555-1234", "1/2/2024": three or more numbers held together by the same close mark.
_CHAIN = re.compile(rf"{NUMBER}(?:(?:-{NUMBER}){{2,}}|(?:/{NUMBER}){{2,}}|(?: - \d{{3,}}){{2,}})")
# Things that have the shape of arithmetic and another meaning for everybody.
_IDIOMS = frozenset(
    ["9/11", "24/7", "20/20", "50/50", "4/20", "80/20", "7-11", "4x4", "2x4", "3x3", "8x10", "5x7", "16x9", "60/40", "70/30"]
)


class Calculator:
    """Exact arithmetic: expressions, percentages, powers and roots, averages, divisors, remainders."""

    name = "calculator"
    description = "Arithmetic, percentages, powers, roots, averages, greatest common divisors"

    def warm(self) -> None:
        """Nothing heavy to load."""

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks for one computation on given numbers."""
        spelled = has_number_words(text)
        if not spelled and HAS_DIGIT(text) is None:
            return None
        if spelled:
            text = with_digits(text)
        body, strong = _body(text)
        if body.endswith(" x") or not body or _GATE.match(body) is None:
            return None
        found = _GRAMMAR.match(body)
        if found is not None and not body[0].isalpha() and _is_idiom(body):
            return None
        if found is not None:
            form, parts = found
            arguments = {"form": form} | {key: part for key, part in parts.items() if not key.startswith("_")}
            if form == "root":
                arguments["k"] = parts["k"].lower()
            return Proposal(tool=self.name, arguments=arguments, reason=f"asks for arithmetic ({form.replace('_', ' ')})")
        tokens = tokenize(body)
        if tokens is None or not _is_expression(tokens, body, strong):
            return None
        return Proposal(
            tool=self.name, arguments={"form": "expression", "expression": body}, reason="is an arithmetic expression"
        )

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the result, or None when it is undefined, ambiguous or too large."""
        try:
            text, value = solve(proposal.arguments)
        except (Unanswerable, ZeroDivisionError):
            return None
        return ReflexAnswer(tool=self.name, text=text, value=value, arguments=proposal.arguments)


def _body(text: str) -> tuple[str, bool]:
    """Return the computation without "what is", "calculate" and "equals", and whether the words around it say arithmetic."""
    strong = False
    cue = _CUE.match(text)
    if cue is not None:
        strong = cue["verb"] is not None
        text = text[cue.end() :]
    elif text[:4].lower() == "the ":
        text = text[4:]
    tail = _TAIL.search(text)
    if tail is not None:
        text, strong = text[: tail.start()], True
    return text.rstrip(" :"), strong


def _is_idiom(body: str) -> bool:
    return body.replace(" ", "").lower() in _IDIOMS


def _is_expression(tokens: list[Token], body: str, strong: bool) -> bool:
    """Say whether the tokens are a computation and not a date, a phone number, a range, a score or a resolution."""
    kinds = [token.kind for token in tokens]
    numbers = kinds.count("number")
    if not numbers or (numbers == 1 and not {"function", "suffix", "power"} & set(kinds)):
        return False
    if not {"function", "suffix", "power", "operator"} & set(kinds) or not _evaluates(tokens):
        return False
    if "root of" in body.lower() and "operator" in kinds and not body.endswith(")"):
        return False  # "the square root of 16 plus 9": where does the root end?
    compact = _COMPACT.fullmatch(body)
    if compact is None:
        return numbers < 3 or _CHAIN.fullmatch(body) is None
    return strong or not _looks_otherwise(compact)


def _evaluates(tokens: list[Token]) -> bool:
    try:
        evaluate(tokens)
    except (Unanswerable, ZeroDivisionError):
        return False
    return True


def _looks_otherwise(compact: re.Match[str]) -> bool:
    """Say whether "a-b", "a/b" or "axb" without any word of arithmetic is more likely something else."""
    first, second = compact[1].replace(",", ""), compact[5].replace(",", "")
    spaced, operator = bool(compact[2] or compact[4]), compact[3]
    if (operator != "x" and _is_idiom(compact[0])) or (_is_idiom(compact[0]) and not spaced):
        return True
    if not (first.isdigit() and second.isdigit()):
        return False
    left, right = int(first), int(second)
    if operator == "/":  # a day and a month, a time signature, odds, a share
        return not spaced and ((left <= 31 and right <= 31) or left + right == 100)
    if operator == "-":  # a range, a score, a phone number
        years = 1000 <= left <= 2999 and 1000 <= right <= 2999
        phone = not spaced and len(first) == 3 and len(second) == 4
        return phone or (left <= right and (not spaced or years))
    return not spaced and left >= 240 and right >= 240  # a screen's resolution

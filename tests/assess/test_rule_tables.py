"""The shipped tables agree with each other and refuse mistakes."""

import msgspec
import pytest

from prefrontal.assess.language import LanguageFile
from prefrontal.assess.lexicon import Cue, compile_lexicon, count_cues
from prefrontal.assess.rules import RuleFile, compile_rules, parse_atom
from prefrontal.assess.text import opening, read_text

NO_LANGUAGES = LanguageFile(scripts=(), letters={}, marks={}, stop_words={})


def words(text):
    return read_text(text).words


def rule_file(**rule):
    body = {"prior": {}, "confidence": [[0, 0.5]], "rules": [{"rule": "r", "points": {"code": 1}, **rule}]}
    return msgspec.convert(body, RuleFile)


def test_the_shipped_rules_have_distinct_names_and_conditions(rules):
    """A signal names one rule, and no rule holds for everything."""
    names = [rule.name for rule in rules.rules]
    assert len(names) == len(set(names))
    assert all(rule.all or rule.any for rule in rules.rules)


def test_the_shipped_confidence_rises_with_the_lead(rules):
    """A clearer decision is never less certain."""
    leads, shares = zip(*rules.confidence, strict=True)
    assert list(leads) == sorted(leads)
    assert list(shares) == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_a_rule_about_nothing_known_is_refused():
    """A misspelt cue or fact is an error at load, with its name and the rule's."""
    with pytest.raises(ValueError, match=r"'r'.*'sumary'"):
        compile_rules({"courtesy": Cue(), "summary": Cue(words=("summary",))}, rule_file(all=["sumary"]), NO_LANGUAGES)


def test_a_phrase_of_one_word_is_refused():
    """A single word belongs among the words."""
    with pytest.raises(ValueError, match="hello"):
        compile_lexicon({"greeting": Cue(phrases=("hello",))})


def test_an_unknown_field_is_refused():
    """A table with a misspelt key does not load."""
    with pytest.raises(msgspec.ValidationError, match="phrase"):
        msgspec.convert({"phrase": ["a b"]}, Cue)


def test_cues_count_different_words_and_whole_phrases():
    """Each word or phrase counts once; a phrase counts only as a whole."""
    lexicon = compile_lexicon({"sum": Cue(words=("total", "sum"), phrases=("in all", "how many in all"))})
    assert count_cues(words("the total of the total sum"), lexicon) == {"sum": 2}
    assert count_cues(words("how many apples in all"), lexicon) == {"sum": 1}
    assert count_cues(words("how many in all"), lexicon) == {"sum": 2}
    assert count_cues(words("many in most all"), lexicon) == {}


@pytest.mark.parametrize(("atom", "parts"), [("a", ("a", 1, "")), ("a#3", ("a", 3, "")), ("a#2@open", ("a", 2, "open"))])
def test_an_atom_names_cue_count_and_zone(atom, parts):
    """The notation of the rule file is read as documented."""
    assert parse_atom(atom) == parts


def test_the_opening_begins_after_courtesies(rules):
    """A "could you please" is skipped to reach the verb."""
    assert opening(read_text("Hi, could you please write me a poem").words, rules.courtesy)[0] == "write"


def test_a_label_counts_only_with_something_behind_it():
    """The phrase "Context: none" names no source."""
    assert "context" in read_text("Context: The mill burned down in the year of the flood. Question: When?").labels
    assert "context" not in read_text("Context: None Question: When did the mill burn down, and who saw it?").labels

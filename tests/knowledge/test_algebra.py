"""The algebra keeps its promises exactly."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.algebra import SparseVector, bind, bundle, dot, permute, similarity, unbind, unbundle, vector

DIMS = st.sampled_from([10_000, 65_536, 100_000])


@st.composite
def vectors(draw: st.DrawFn, count: int, *, atom: bool = False) -> list[SparseVector]:
    dim = draw(DIMS)
    size = st.just(1) if atom else st.integers(0, 12)
    made = []
    for _ in range(count):
        n = draw(size)
        where = draw(st.lists(st.integers(0, dim - 1), min_size=n, max_size=n))
        what = draw(st.lists(st.integers(-127, 127), min_size=n, max_size=n))
        made.append(vector(dim, where, what))
    return made


@given(vectors(3))
def test_bundles_do_not_depend_on_order_or_grouping(three: list[SparseVector]) -> None:
    """Adding is commutative and associative, bit for bit."""
    a, b, c = three
    assert bundle(a, b, c) == bundle(c, bundle(b, a)) == bundle(bundle(a, c), b)


@given(vectors(2))
def test_what_was_bundled_is_taken_out_exactly(two: list[SparseVector]) -> None:
    """A sum less one of its parts is what was there before."""
    a, b = two
    assert unbundle(bundle(a, b), b) == a


@given(vectors(3))
def test_binding_commutes_and_distributes(three: list[SparseVector]) -> None:
    """Binding to a sum is the sum of the bindings."""
    a, b, c = three
    assert bind(a, b) == bind(b, a)
    assert bind(a, bundle(b, c)) == bundle(bind(a, b), bind(a, c))


@given(vectors(1), st.integers(0, 9_999), st.sampled_from([-1, 1]))
def test_an_atom_unbinds_what_it_bound(one: list[SparseVector], where: int, sign: int) -> None:
    """A key of one non-zero gives back exactly what was bound with it."""
    key = vector(one[0].dim, [where], [sign])
    assert unbind(bind(one[0], key), key) == one[0]


@given(vectors(2), st.integers(-6, 6))
def test_permuting_is_undone_and_keeps_products(two: list[SparseVector], steps: int) -> None:
    """A permutation and its inverse cancel, products stay, and sums go through."""
    a, b = two
    assert permute(permute(a, steps), -steps) == a
    assert dot(permute(a, steps), permute(b, steps)) == dot(a, b)
    assert permute(bundle(a, b), steps) == bundle(permute(a, steps), permute(b, steps))


def test_order_of_a_pair_is_visible() -> None:
    """`dog bites` and `bites dog` are different vectors, because permuting does not commute with binding."""
    dog, bites = vector(65_536, [811], [1]), vector(65_536, [40_001], [-1])
    assert similarity(bind(permute(dog), bites), bind(permute(bites), dog)) == 0.0


def test_similarity_lies_between_minus_one_and_one() -> None:
    """Cosines of a vector with itself, its opposite and nothing."""
    a = vector(1_000, [1, 5, 9], [3, -4, 12])
    assert similarity(a, a) == pytest.approx(1.0)
    assert similarity(a, vector(1_000, a.indices, -a.values)) == pytest.approx(-1.0)
    assert similarity(a, vector(1_000, [], [])) == 0.0


def test_bad_vectors_are_refused() -> None:
    """Other dimensions, indices outside and uneven lists are client errors."""
    with pytest.raises(InvalidRequest):
        bundle(vector(1_000, [1], [1]), vector(1_001, [1], [1]))
    with pytest.raises(InvalidRequest):
        vector(1_000, [1_000], [1])
    with pytest.raises(InvalidRequest):
        vector(1_000, [1, 2], [1])
    with pytest.raises(InvalidRequest, match="permuted back"):
        permute(vector(1_001 * 3, [5], [1]), -1)


def test_repeated_indices_add_and_zeros_go() -> None:
    """The same index twice is one entry; a zero is none."""
    made = vector(1_000, [7, 3, 7, 9], [2, 1, 3, 0])
    assert made.indices.tolist() == [3, 7]
    assert made.values.tolist() == [1, 5]
    assert made.dense()[7] == 5
    assert made.indices.dtype == np.int64


def test_equal_vectors_are_not_unequal() -> None:
    """Equality and inequality agree, and both look at the content."""
    one, same, other = vector(1_000, [1], [2]), vector(1_000, [1], [2]), vector(1_000, [1], [3])
    assert (one == same, operator.ne(one, same)) == (True, False)
    assert (one == other, operator.ne(one, other)) == (False, True)

"""MaxCut against the definition of a cut, every cut of small graphs, and networkx."""

from __future__ import annotations

from itertools import product
from typing import Any

import networkx as nx
import numpy as np
import pennylane as qml
import pytest
import scipy.sparse as sps
from hypothesis import given, settings
from hypothesis import strategies as st

from varq import spec
from varq.problems import graph as module
from varq.problems.graph import MaxCut

EXACT = 1e-12  # sums of at most some dozen weights of order one
LAW = settings(deadline=None, max_examples=30, derandomize=True)


@st.composite
def weighted(draw: st.DrawFn) -> MaxCut:
    nodes = draw(st.integers(2, 7))
    pairs = [(i, j) for i in range(nodes) for j in range(i)]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    weights = draw(st.lists(st.integers(-3, 4), min_size=len(chosen), max_size=len(chosen)))
    return MaxCut([(i, j, w / 2) for (i, j), w in zip(chosen, weights, strict=True)], nodes)


def every_cut(problem: MaxCut) -> dict[str, float]:
    return {
        "".join(bits): sum(w for i, j, w in problem.graph if bits[i] != bits[j])
        for bits in product("01", repeat=problem.wires)
    }


@LAW
@given(weighted(), st.sampled_from([1, 3, 20]))
def test_the_best_cut_is_the_best_of_all(problem: MaxCut, block: int) -> None:
    cuts = every_cut(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_NODES", block)
        best = problem.best_bits()
        assert best is not None
        assert problem.reference() == -max(cuts.values())
        assert cuts[best] == max(cuts.values())
        assert best == min(bits for bits, cut in cuts.items() if cut == max(cuts.values()))


@LAW
@given(weighted())
def test_the_hamiltonian_is_minus_the_cut(problem: MaxCut) -> None:
    energies = problem.pauli.sparse().toarray().real.diagonal()
    cuts = np.array(list(every_cut(problem).values()))
    assert np.abs(energies + cuts).max() < EXACT
    assert problem.pauli.is_diagonal
    bits = np.array([list(map(int, b)) for b in every_cut(problem)])
    assert np.abs(problem.cut(bits) - cuts).max() < EXACT
    matrix = qml.matrix(problem.hamiltonian, wire_order=range(problem.wires))
    assert np.abs(matrix.diagonal() + cuts).max() < EXACT


def test_known_graphs() -> None:
    assert MaxCut(nx.petersen_graph()).reference() == -12
    assert MaxCut(nx.complete_graph(7)).reference() == -12  # 3 * 4
    assert MaxCut(nx.complete_bipartite_graph(6, 8)).reference() == -48
    assert MaxCut(nx.cycle_graph(25)).reference() == -24
    assert MaxCut([(0, 1)], nodes=40).reference() is None
    assert MaxCut([(0, 1)], nodes=40).best_bits() is None


def test_all_forms_of_a_graph_are_one_problem() -> None:
    edges = MaxCut([(0, 1), (2, 1, 0.5), [3, 2, 2]])
    matrix = np.zeros((4, 4))
    for i, j, w in edges.graph:
        matrix[i, j] = matrix[j, i] = w
    named = nx.Graph()
    named.add_weighted_edges_from([("a", "b", 1), ("b", "c", 0.5), ("c", "d", 2)])
    forms = [MaxCut(matrix), MaxCut(sps.csr_array(matrix)), MaxCut(named), MaxCut(((1, 0), (1, 2, 0.5), (2, 3, 2.0)))]
    assert {spec.identity(f) for f in forms} == {spec.identity(edges)}
    assert MaxCut(named).labels == ("a", "b", "c", "d")
    assert MaxCut(nx.path_graph(3)).labels is None
    assert spec.loads(spec.dumps(MaxCut(named))).labels == ("a", "b", "c", "d")


def test_it_survives_the_spec() -> None:
    problem = MaxCut.random_regular(3, 10, seed=4)
    again = spec.loads(spec.dumps(problem))
    assert again == problem
    assert spec.identity(again) == spec.identity(problem)
    assert (repr(problem), problem.unit) == ("MaxCut(10 nodes, 15 edges)", "")
    assert "weighted" in repr(MaxCut([(0, 1, 2.0)]))


@pytest.mark.parametrize(("degree", "nodes"), [(1, 6), (2, 7), (3, 16), (4, 9), (5, 12)])
def test_random_regular_graphs_are_regular(degree: int, nodes: int) -> None:
    one, same, other = (MaxCut.random_regular(degree, nodes, seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert set(np.bincount(np.array(one.edges).ravel(), minlength=nodes)) == {degree}


def test_random_regular_graphs_are_uniform() -> None:
    # Six nodes have 10 + 60 labeled cubic graphs: two disjoint triangles' complement (10) and the prism (60).
    bipartite = sum(nx.is_bipartite(nx.Graph(MaxCut.random_regular(3, 6, seed).edges)) for seed in range(350))
    sigma = np.sqrt(350 * 1 / 7 * 6 / 7)
    assert abs(bipartite - 50) < 4 * sigma


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaxCut([]), ValueError, "at least one edge"),
        (lambda: MaxCut([(0, 0)]), ValueError, r"from a node to itself. Got \(0, 0\)"),
        (lambda: MaxCut([(0, 1), (1, 0)]), ValueError, r"each edge once. Got \(0, 1\) twice"),
        (lambda: MaxCut([(0, -1)]), ValueError, "at least 0. Got -1. Number the nodes from 0"),
        (lambda: MaxCut([(0, 1, float("nan"))]), ValueError, "weight must be finite"),
        (lambda: MaxCut([(0, 1, "a")]), TypeError, "weight must be a real number"),
        (lambda: MaxCut([(0, 1.5)]), TypeError, "graph must be an integer"),
        (
            lambda: MaxCut([("a", "b")]),
            TypeError,
            r"a node of graph must be an integer. Got 'a' .*other names come in a networkx graph: MaxCut\(nx.Graph",
        ),
        (lambda: MaxCut([0, 1]), ValueError, r"must hold edges \(i, j\)"),
        (lambda: MaxCut("ring"), TypeError, "edges, a matrix or a networkx graph. Got str"),
        (lambda: MaxCut([(0, 5)], nodes=3), ValueError, "nodes must be at least 6. Got 3"),
        (lambda: MaxCut(np.ones((2, 3))), ValueError, r"symmetric adjacency matrix.*\(2, 3\)"),
        (lambda: MaxCut(np.array([[0, 1], [0, 0]])), ValueError, "symmetric adjacency matrix"),
        (lambda: MaxCut(np.eye(2)), ValueError, "diagonal that is not zero"),
        (lambda: MaxCut(np.array([[0, np.nan], [np.nan, 0]])), ValueError, "graph must be finite"),
        (lambda: MaxCut(nx.DiGraph([(0, 1)])), ValueError, "must be undirected"),
        (lambda: MaxCut([(0, 1)], labels=("a",)), ValueError, "one name for each of the 2 nodes"),
        (lambda: MaxCut([(0, 1)], labels=5), TypeError, "labels must be of type Iterable. Got 5"),
        (lambda: MaxCut([(0, 1)]).cut([[0], [0, 1]]), ValueError, "2 times 0 or 1"),
        (lambda: MaxCut([(0, 1)]).cut("011"), ValueError, "2 times 0 or 1"),
        (lambda: MaxCut([(0, 1)]).cut([0, 2]), ValueError, "2 times 0 or 1"),
        (lambda: MaxCut([(0, 70)]).pauli, ValueError, "nodes must be at most 63"),
        (lambda: MaxCut.random_regular(3, 5), ValueError, "must be even. Got degree 3 and 5"),
        (lambda: MaxCut.random_regular(3, 6, "x"), TypeError, "seed must be an integer. Got 'x'"),
        (lambda: MaxCut.random_regular(4, 4), ValueError, "degree must be at most 3"),
        (lambda: MaxCut.random_regular(9, 40), ValueError, "Choose a lower degree"),
    ],
)
def test_bad_input_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_one_edge_is_one_edge() -> None:
    assert (repr(MaxCut([(0, 1)])), MaxCut([(0, 1)]).title) == ("MaxCut(2 nodes, 1 edge)", "MaxCut, 2 nodes, 1 edge")


def test_the_best_cut_of_negative_weights_cuts_nothing() -> None:
    repelled = MaxCut([(0, 1, -1.0)])
    assert (str(repelled.reference()), repelled.best_bits()) == ("0.0", "00")

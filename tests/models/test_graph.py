"""Communication graphs."""

import numpy as np
import pytest

from gridloop.simulators.models.graph import adjacency, edges, laplacian, laplacian_eigenvalues, links

NAMES = ["a", "b", "c", "d"]


def test_named_graphs() -> None:
    assert edges("line", NAMES) == (("a", "b"), ("b", "c"), ("c", "d"))
    assert edges("ring", NAMES) == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"))
    assert edges("star", NAMES) == (("a", "b"), ("a", "c"), ("a", "d"))
    assert len(edges("full", NAMES)) == 6
    assert edges([["a", "c"], ["b", "a"]], NAMES) == (("a", "c"), ("b", "a"))


@pytest.mark.parametrize("kind", ["line", "ring", "star", "full"])
def test_small_graphs_have_every_edge_once(kind: str) -> None:
    assert edges(kind, []) == edges(kind, ["a"]) == ()
    assert edges(kind, ["a", "b"]) == (("a", "b"),)


def test_links_go_both_ways() -> None:
    assert links((("a", "b"), ("b", "c"))) == (("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"))


def test_eigenvalues_are_the_textbook_ones() -> None:
    n = 7
    names = [f"n{k}" for k in range(n)]
    k = np.arange(n)
    line, ring = 2 - 2 * np.cos(np.pi * k / n), 2 - 2 * np.cos(2 * np.pi * k / n)
    for kind, values in (("line", line), ("ring", ring), ("star", [0] + [1] * (n - 2) + [n]), ("full", [0] + [n] * 6)):
        weights = adjacency(edges(kind, names), names)
        assert laplacian_eigenvalues(weights) == pytest.approx(np.sort(values), abs=1e-12)
        assert laplacian(weights).sum(axis=1) == pytest.approx(np.zeros(n))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ("tree", "graph = 'tree': there are line, ring, star, full and lists of pairs"),
        ([["a", "x"]], "graph: there is no x; there are a, b, c, d"),
        ([["a", "a"]], r"graph: \['a', 'a'\] must be two different names"),
        ([["a", "b"], ["b", "a"]], r"graph: \['b', 'a'\] is there twice"),
    ],
)
def test_wrong_graphs_are_refused(graph: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        edges(graph, NAMES)  # type: ignore[arg-type]

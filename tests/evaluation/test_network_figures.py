"""Maps and projections of a network, and that a notebook shows the figures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from roots.errors import ConfigError
from roots.evaluation import draw_attention, draw_projection, principal_components
from roots.evaluation.canvas import new_figure


def test_principal_components_equal_those_of_scikit_learn_but_for_signs() -> None:
    vectors = np.random.default_rng(3).normal(size=(40, 7)) * np.arange(1, 8) + 5
    ours, shares = principal_components(vectors, 3)
    theirs = PCA(3).fit(vectors)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.transform(vectors)), atol=1e-10)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_)


def test_a_sign_is_that_of_the_greatest_value() -> None:
    ours, _ = principal_components(np.random.default_rng(4).normal(size=(20, 5)), 2)
    flipped, _ = principal_components(-np.random.default_rng(4).normal(size=(20, 5)), 2)
    for points in (ours, flipped):
        assert (points[np.abs(points).argmax(0), [0, 1]] > 0).all()


def test_vectors_that_are_all_alike_explain_nothing() -> None:
    points, shares = principal_components(np.ones((5, 3)))
    assert not points.any()
    assert not shares.any()


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (5,)])
def test_too_few_vectors_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=f"shape \\({shape[0]},.*no 2 principal components"):
        principal_components(np.ones(shape))
    assert len(principal_components(np.ones((2, 2)))[0]) == 2  # the cure


def test_every_map_is_drawn_and_its_tokens_are_written() -> None:
    figure = draw_attention(np.tile(np.eye(3), (5, 1, 1)), ["$a", "\n", " b"])
    shown = [axes for axes in figure.axes if axes.images and axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [f"head {n}" for n in range(5)]
    np.testing.assert_array_equal(shown[4].images[0].get_array(), np.eye(3))
    labels = [label.get_text() for label in shown[0].get_yticklabels()]
    assert labels == [r"\$a", "↵", "·b"]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 3, 3\) do not fit 4 tokens"):
        draw_attention(np.zeros((2, 3, 3)), list("abcd"))
    with pytest.raises(ConfigError, match="2 maps have 1 names"):
        draw_attention(np.zeros((2, 3, 3)), list("abc"), names=["x"])
    draw_attention(np.zeros((2, 3, 3)), list("abc"), names=["x", "y"])


def test_groups_have_colours_and_some_points_names() -> None:
    vectors = np.random.default_rng(5).normal(size=(9, 4))
    figure = draw_projection(vectors, list("abcdefghi"), groups=["x", "y", "x"] * 3, most_names=5)
    axes = figure.axes[0]
    assert [len(dots.get_offsets()) for dots in axes.collections] == [6, 3]
    assert [text.get_text() for text in axes.texts] == list("acegi")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y"]
    assert "of the variance" in axes.get_xlabel()
    assert not draw_projection(vectors, list("abcdefghi"), most_names=0).axes[0].texts
    with pytest.raises(ConfigError, match="9 vectors have 2 groups"):
        draw_projection(vectors, groups=["x", "y"])


def test_ipython_shows_a_figure_as_its_png() -> None:
    from IPython.core.formatters import DisplayFormatter

    figure = new_figure(2.0, 1.0)
    figure.subplots().plot([1, 2])
    shown, _ = DisplayFormatter().format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")

"""Pictures of made-up reports; warnings of matplotlib and numpy are errors."""

import numpy as np
import pytest
from matplotlib.image import imread

from equijax.audit._plot import draw, worst_row
from tests.audit.reports import AWKWARD, made_report, made_row


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_reports_are_drawn(name, tmp_path):
    AWKWARD[name].plot(tmp_path / "picture.png")
    picture = imread(tmp_path / "picture.png")
    assert min(picture.shape[:2]) > 400 and picture[..., :3].std() > 0.02


def test_axes_are_named_and_the_largest_bars_are_shown():
    shares, elements = draw(AWKWARD["many"]).axes[:2]
    names = [label.get_text() for label in shares.get_yticklabels()]
    assert len(names) == 30 and names[-1] == "layer.79" and "(30 of 80)" in shares.get_title()
    assert "(30 of 70)" in elements.get_title() and elements.get_xscale() == "log"
    assert "%" in shares.get_xlabel() and "relative" in elements.get_xlabel()


def test_long_names_keep_their_ends_and_places_are_whole_numbers():
    name = "encoder.stages.2.blocks.17.attention.projection"
    figure = draw(made_report(made_row(name, error_map=np.ones((4, 4)))))
    figure.canvas.draw()
    label = figure.axes[0].get_yticklabels()[0].get_text()
    assert len(label) == 34 and label.startswith("encoder.") and label.endswith("17.attention.projection")
    ticks = [text.get_text() for text in figure.axes[2].get_xticklabels()]
    assert ticks and all(float(text.replace("−", "-")).is_integer() for text in ticks)


def test_bars_errors_and_words():
    report = made_report(made_row("a", share=1.25), made_row("b", share=-0.25, error_map=np.ones((3, 3))))
    shares, elements = draw(report).axes[:2]
    assert [round(bar.get_width()) for bar in shares.patches] == [125, -25] and "negative" in shares.get_xlabel()
    assert [text.get_text() for text in elements.texts] == ["no action"]
    undefined = draw(AWKWARD["not a number"]).axes[1]
    assert [text.get_text() for text in undefined.texts] == ["not finite", "not finite", "no action", "not finite"]


def test_the_row_with_the_largest_share_is_pictured():
    rows = [made_row("a", share=0.2, error_map=np.ones(3)), made_row("b", share=-0.9, error_map=np.ones(3)), made_row("c")]
    found = worst_row(made_report(*rows))
    assert found is not None and found.name == "b" and worst_row(AWKWARD["a point"]) is None

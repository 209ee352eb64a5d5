"""The curves of a run show all that was logged."""

from minitf.reports.curves import training_curves

STEPS = list(range(50, 3050, 50))
METRICS = {
    "train/loss": (STEPS, [2.0 + 100 / step for step in STEPS]),
    "train/nll": (STEPS, [2.0 + 100 / step for step in STEPS]),
    "val/loss": ([1000, 2000, 3000], [2.5, 2.3, 2.2]),
    "val/bleu": ([1000, 2000, 3000], [20.0, 25.0, 26.0]),
    "train/lr": (STEPS, [1e-3] * len(STEPS)),
    "train/grad_norm": (STEPS, [1.0] * len(STEPS)),
}


def test_the_losses_fill_their_panel_and_the_others_begin_at_zero():
    loss, *others = training_curves(METRICS).axes
    assert loss.get_ylim()[0] > 1.5
    assert [axes.get_ylim()[0] for axes in others] == [0, 0, 0]


def test_losses_that_are_equal_are_both_seen():
    below, above, _ = training_curves(METRICS).axes[0].lines
    assert below.get_label() == "train/loss"
    assert below.get_linewidth() > 2 * above.get_linewidth()


def test_the_legend_lies_beside_the_curves():
    figure = training_curves(METRICS)
    figure.canvas.draw()
    loss = figure.axes[0]
    legend = loss.get_legend().get_window_extent()
    assert not legend.overlaps(loss.get_window_extent())
    assert all(0 <= end <= size for end, size in zip(legend.max, figure.bbox.size, strict=True))
    assert min(legend.min) >= 0

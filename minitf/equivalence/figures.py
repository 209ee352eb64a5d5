"""Figures of a verification: the lockstep curves with rounding's envelope."""

from typing import TYPE_CHECKING, Any

from minitf.equivalence.training_level import ENVELOPE_FACTOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {
    "loss": "difference in loss",
    "gradient_norm": "difference in gradient norm",
    "weight_distance": "distance of the weights |w − w_ref| / |w_ref|",
}


def lockstep_figure(curves: dict[str, Any], title: str, labels: tuple[str, str]) -> "Figure":
    """Loss curves of both, and their differences beside the yardsticks.

    Args:
        curves: a training level's `curves` of the report.
        title: above the figure.
        labels: reference's and candidate's.

    Returns:
        A matplotlib figure of four panels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(title)
    (losses, *panels) = figure.subplots(2, 2).flat
    runs, steps = curves["runs"], range(1, curves["steps"] + 1)
    losses.plot(
        steps, runs["reference"]["loss"], color="tab:blue", lw=3, alpha=0.5, label=labels[0]
    )
    losses.plot(steps, runs["candidate"]["loss"], color="black", lw=1, ls="--", label=labels[1])
    losses.set_title("loss per target token", fontsize=10)
    losses.legend(frameon=False, fontsize=8)
    for panel, (measure, name) in zip(panels, _TITLES.items(), strict=True):
        _difference_panel(panel, curves, measure, name)
    for panel in (losses, *panels):
        panel.set_xlabel("step", fontsize=8)
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
    return figure


def _difference_panel(panel: Any, curves: dict[str, Any], measure: str, name: str) -> None:
    runs, steps = curves["runs"], range(1, curves["steps"] + 1)

    def distances(run: str) -> list[float]:
        if measure == "weight_distance":
            return list(runs[run][measure])
        pairs = zip(runs[run][measure], runs["reference"][measure], strict=True)
        return [abs(a - b) for a, b in pairs]

    envelope = curves["envelope"][measure]
    everything = [d for run in runs for d in distances(run) if d > 0] + [
        e for e in envelope if e > 0
    ]
    floor = min(everything, default=1e-16) / 3  # where zero is drawn on the logarithmic axis
    allowed = [max(e, floor) for e in envelope]
    panel.fill_between(steps, floor, allowed, color="tab:green", alpha=0.12, lw=0,
                       label=f"rounding's envelope ({ENVELOPE_FACTOR:g} ×)")  # fmt: skip
    copies = [run for run in runs if run.startswith("rounded")]
    for run in copies:
        panel.plot(steps, [max(d, floor) for d in distances(run)], color="tab:green", lw=0.8,
                   label="reference, rounding otherwise" if run == copies[0] else None)  # fmt: skip
    for run, color, label in (("one", "tab:orange", "one weight moved by 1 ULP"),
                              ("again", "tab:blue", "reference again"),
                              ("candidate", "black", "candidate")):  # fmt: skip
        found = distances(run)
        if any(found):
            panel.plot(steps, [max(d, floor) for d in found], color=color,
                       lw=1.6 if run == "candidate" else 1, label=label)  # fmt: skip
        else:
            panel.plot([], [], color=color, label=f"{label}: zero throughout")
    panel.set_yscale("log")
    panel.set_title(f"{name} (bottom: 0)", fontsize=10)
    panel.legend(framealpha=0.7, edgecolor="none", fontsize=7)
    if curves["outside_at"]:
        panel.axvline(curves["outside_at"], color="tab:red", lw=0.8, ls=":")

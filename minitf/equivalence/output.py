"""Where a report goes: report.json, report.html, figures, and a wandb run."""

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minitf.equivalence.figures import lockstep_figure
from minitf.equivalence.report import Report
from minitf.reports.certificate import render_certificate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(report: Report, directory: Path) -> dict[str, "Figure"]:
    """Write report.json, report.html and figures/*.png.

    Returns:
        The figures, by the title of their level.
    """
    directory.mkdir(parents=True, exist_ok=True)
    plain = report.to_dict()
    (directory / "report.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    figures = _figures(report)
    images = {}
    for title, figure in figures.items():
        (directory / "figures").mkdir(exist_ok=True)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
        images[title] = buffer.getvalue()
        name = title.lower().replace(", ", "_").replace(" ", "_")
        figure.savefig(directory / "figures" / f"{name}.png", dpi=130)
    (directory / "report.html").write_text(render_certificate(plain, images), encoding="utf-8")
    return figures


def _figures(report: Report) -> dict[str, "Figure"]:
    labels = (report.reference["label"], report.candidate["label"])
    return {
        level.title: lockstep_figure(
            level.curves, f"{level.title}: {labels[1]} against {labels[0]}", labels
        )
        for level in report.levels
        if level.curves
    }


def log_to_wandb(report: Report, figures: dict[str, "Figure"], directory: Path) -> str | None:
    """One wandb run with verdicts, tables, figures and the report; offline without a key.

    Returns:
        The run's directory, to look at with `wandb leet` or upload with `wandb sync`.
    """
    import wandb

    from minitf.training.loggers import wandb_mode

    mode, _ = wandb_mode()
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "minitf"),
        job_type="verify",
        name=f"verify {report.candidate['label']} against {report.reference['label']}",
        dir=str(directory),
        mode=mode,  # type: ignore[arg-type]
        config={"settings": report.settings, "environment": report.environment,
                "reference": report.reference, "candidate": report.candidate},
        settings=wandb.Settings(silent=True, console="off"),
    )  # fmt: skip
    logged: dict[str, Any] = {}
    for level in report.levels:
        for table in level.tables:
            rows = [[str(cell) for cell in row] for row in table.rows]
            columns: list[str | int] = [*table.columns]
            logged[f"{level.title}/{table.title}"] = wandb.Table(columns=columns, data=rows)
        if level.title in figures:
            logged[f"{level.title}/lockstep"] = wandb.Image(figures[level.title])
    logged["report"] = wandb.Html((directory / "report.html").read_text(encoding="utf-8"))
    run.log(logged)
    run.summary.update(
        {"verdict": report.verdict, "statement": report.statement}
        | {f"verdict/{level.title}": level.verdict.value for level in report.levels}
    )
    found: str = run.dir
    run.finish()
    return str(Path(found).parent) if mode == "offline" else None

"""The certificate of `minitf verify` as one HTML page that needs nothing beside it."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_TEMPLATE = Path(__file__).with_name("certificate.html")
_TONE = {"bit-identical": "exact", "within rounding": "", "different": "bad", "not run": ""}


def render_certificate(report: Mapping[str, Any], images: Mapping[str, str]) -> str:
    """The page.

    Args:
        report: what report.json holds (`minitf.equivalence.report` documents it).
        images: SVG text of figures, by the title of the level they belong to.
    """
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        verdict=escape(report["verdict"]),
        tone="" if report["exit_code"] == 0 else "bad",
        statement=escape(report["statement"]),
        created=escape(report["created"]),
        seconds=f"{report['seconds']:.0f}",
        command=escape(report["command"]),
        overview=_overview(report["levels"]),
        known=_list("Documented differences met", report["known_differences"], "notes"),
        rules="".join(f"<p>{escape(rule)}</p>" for rule in report["rules"].values()),
        levels="".join(_level(level, images.get(level["title"], "")) for level in report["levels"]),
        settings="".join(
            _mapping(title, report[title.lower()])
            for title in ("Settings", "Environment", "Reference", "Candidate")
        ),
    )


def _overview(levels: Sequence[Mapping[str, Any]]) -> str:
    rows = [[level["title"], _verdict(level), level["summary"]] for level in levels]
    return "<h3>Levels</h3>" + _table(["level", "verdict", "summary"], rows)


def _verdict(level: Mapping[str, Any]) -> str:
    if level["verdict"] == "not run":
        return "not judged"
    if level["level"] == "properties" and level["verdict"] != "different":
        return "hold"
    return str(level["verdict"])


def _level(level: Mapping[str, Any], image: str) -> str:
    badge = f'<span class="badge {_TONE[level["verdict"]]}">{_verdict(level)}</span>'
    parts = [
        f"<h2>{escape(level['title'])} {badge}"
        f'<span class="seconds">{level["seconds"]:.1f} s</span></h2>',
        f"<p>{escape(level['summary'])}</p>",
        _list("", level["findings"], "findings"),
    ]
    if image:
        # What stands before the svg element, an XML declaration, has no place inside a page.
        parts.append(f"<figure>{image[image.index('<svg') :]}</figure>")
    for table in level["tables"]:
        content = _table(table["columns"], table["rows"])
        if table["folded"]:
            title = f"{escape(table['title'])} ({len(table['rows'])})"
            parts.append(f"<details><summary>{title}</summary>{content}</details>")
        else:
            parts.append(f"<h3>{escape(table['title'])}</h3>{content}")
    parts.append(_list("Notes", level["notes"], "notes"))
    return "".join(parts)


def _list(title: str, items: Iterable[str], kind: str) -> str:
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'{heading}<ul class="{kind}">{rows}</ul>' if rows else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    numeric = [
        bool(rows) and all(_is_number(row[i]) for row in rows) for i, _ in enumerate(columns)
    ]
    head = "".join(
        f"<th{_number_class(number)}>{escape(column)}</th>"
        for column, number in zip(columns, numeric, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cell(value, n) for value, n in zip(row, numeric, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: Any, number: bool) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    if number:
        return f'<td class="number">{escape(text)}</td>'
    bad = ' class="bad"' if text in ("different", "violated") else ""
    return f"<td{bad}>{escape(text)}</td>"


def _number_class(number: bool) -> str:
    return ' class="number"' if number else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or value in ("inf", "-inf", "nan")


def _mapping(title: str, values: Mapping[str, Any]) -> str:
    rows = [[key, value] for key, value in _flat(values)]
    return f"<div><h3>{escape(title)}</h3>{_table(['', ''], rows)}</div>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)

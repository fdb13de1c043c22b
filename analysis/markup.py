"""A table as Markdown, CSV, LaTeX (booktabs) or HTML. What it says is decided elsewhere."""

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True)
class Text:
    """The content of one field: text, bold or not, with a fainter second line or none."""

    text: str
    bold: bool = False
    second: str = ""


Field = str | Text


@dataclass(frozen=True)
class Column:
    """A column's header and alignment, and whether its text may take several lines."""

    header: str
    align: Literal["left", "right", "center"] = "right"
    wrap: bool = False


@dataclass(frozen=True)
class Grid:
    """A table: columns, rows of as many fields, and the rows before which a rule is drawn."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Field]]
    rules: frozenset[int] = frozenset()


Section = tuple[str, Grid | None, Sequence[str]]
"""A heading (or ""), a table or none, and lines of text below it."""
Pictures = Mapping[str, str]
"""{file name without its ending: caption}."""
NO_PICTURES: Pictures = MappingProxyType({})


def as_text(field: Field) -> Text:
    """Return a field as what it holds."""
    return field if isinstance(field, Text) else Text(field)


def changes(groups: Iterable[Any]) -> frozenset[int]:
    """Return the rows, of which `groups` tells one by one to what they belong, before which another group begins."""
    listed = list(groups)
    return frozenset(i for i in range(1, len(listed)) if listed[i] != listed[i - 1])


def markdown(grid: Grid) -> str:
    """Return the table as GitHub-flavoured Markdown."""

    def one(field: Field) -> str:
        part = as_text(field)
        text = part.text.replace("|", "\\|")
        text = f"**{text}**" if part.bold else text
        return f"{text}<br>{part.second}" if part.second else text

    marks = {"left": ":--", "right": "--:", "center": ":-:"}
    lines = [[column.header for column in grid.columns], [marks[column.align] for column in grid.columns]]
    lines += [[one(field) for field in row] for row in grid.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_page(title: str, lead: str, sections: Sequence[Section], pictures: Pictures = NO_PICTURES) -> str:
    """Return a page of Markdown: title, what it is from, pictures, sections."""
    blocks = [f"# {title}\n", f"{lead}\n", *(f"![{text}]({name}.png)\n" for name, text in pictures.items())]
    for heading, grid, lines in sections:
        blocks += [f"## {heading}\n"] if heading else []
        blocks += [markdown(grid)] if grid else []
        blocks += ["".join(f"- {line}\n" for line in lines)] if lines else []
    return "\n".join(blocks)


TEX_PACKAGES = r"% needs \usepackage{booktabs,graphicx,amssymb,rotating}"
WIDE, WIDEST = 6, 10  # tables with more columns are scaled to the text's width, or to its height on a page turned round
PAGE_ROWS, TURNED_ROWS = 45, 26  # of LaTeX

_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\u2002": r"\enspace{}",
    "−": "$-$",
    "–": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": "$<$",
    ">": "$>$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "≈": r"$\approx$",
    "…": r"\dots{}",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
}


def tex_escape(text: str) -> str:
    """Return text as LaTeX sets it literally."""
    return "".join(_TEX.get(sign, sign) for sign in text)


def latex(grid: Grid, caption: str, label: str, notes: Sequence[str] = ()) -> str:
    """Return the table as LaTeX floats, one per page's worth of rows; they need `TEX_PACKAGES`."""

    def one(field: Field) -> str:
        part = as_text(field)
        text = rf"\textbf{{{tex_escape(part.text)}}}" if part.bold else tex_escape(part.text)
        return rf"\shortstack[r]{{{text}\\{{\scriptsize {tex_escape(part.second)}}}}}" if part.second else text

    layout = "".join("p{7cm}" if column.wrap else column.align[0] for column in grid.columns)
    head = " & ".join(tex_escape(column.header) for column in grid.columns) + r" \\"
    wide, turned = len(grid.columns) > WIDE, len(grid.columns) > WIDEST
    kind, size, page = ("sidewaystable*", "height", TURNED_ROWS) if turned else ("table*", "width", PAGE_ROWS)
    lines = []
    for start in range(0, len(grid.rows), page):
        last = start + page >= len(grid.rows)
        heading = f"{caption.rstrip('.')}, continued." if start else caption
        lines += [rf"\begin{{{kind}}}\centering", rf"\caption{{{tex_escape(heading)}}}"]
        lines += [] if start else [rf"\label{{{label}}}"]
        lines += [rf"\resizebox{{\text{size}}}{{!}}{{%"] if wide else [r"\footnotesize"]
        lines += [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", head, r"\midrule"]
        for i, row in enumerate(grid.rows[start : start + page], start):
            lines += [r"\midrule"] if i > start and i in grid.rules else []
            lines.append(" & ".join(one(field) for field in row) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}" + "}" * wide]
        lines += [r"\par\raggedright\scriptsize"] if last and notes else []
        lines += [rf"\par\smallskip {tex_escape(plain(note))}" for note in notes] if last else []
        lines.append(rf"\end{{{kind}}}")
    return "\n".join([*lines, ""])


_TEX_FIGURE = r"""\begin{figure*}
\centering\includegraphics{%s.pdf}
\caption{%s.}\label{fig:%s}
\end{figure*}
"""


def latex_page(
    name: str, caption: str, lead: str, sections: Sequence[Section], pictures: Pictures = NO_PICTURES
) -> str:
    """Return the tables and pictures of a page as floats, labelled by its name; a heading is its table's caption."""
    floats = [_TEX_FIGURE % (file, tex_escape(text), file) for file, text in pictures.items()]
    for i, (heading, grid, lines) in enumerate(sections):
        if grid:
            label = f"tab:{name}" + (f"-{i}" if i else "")
            floats.append(latex(grid, f"{heading or caption}. {lead}", label, lines))
    return "\n".join(floats)


_STYLE = """\
:root { color-scheme: light dark; --faint: light-dark(#6a6a6a, #9a9a9a); --rule: light-dark(#ddd, #444); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 96rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.7rem; vertical-align: top; white-space: nowrap; }
td.wrap { white-space: normal; min-width: 18rem; }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
tr.rule > * { border-top: 1px solid var(--rule); }
figure { margin: 1rem 0; } img { max-width: 100%; background: #fff; }
small, figcaption { color: var(--faint); }
.left { text-align: left; } .right { text-align: right; } .center { text-align: center; }
"""


def html_table(grid: Grid) -> str:
    """Return the table as HTML."""

    def one(tag: str, field: Field, column: Column) -> str:
        part = as_text(field)
        text = html.escape(part.text)
        text = f"<b>{text}</b>" if part.bold else text
        text += f"<br><small>{html.escape(part.second)}</small>" if part.second else ""
        return f'<{tag} class="{column.align}{" wrap" * column.wrap}">{text}</{tag.split()[0]}>'

    head = "".join(one('th scope="col"', column.header, column) for column in grid.columns)
    lines = ['<div class="scroll"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for i, row in enumerate(grid.rows):
        fields = "".join(one("td", field, column) for field, column in zip(row, grid.columns, strict=True))
        lines.append(f"<tr{' class=rule' if i in grid.rules else ''}>{fields}</tr>")
    return "\n".join([*lines, "</tbody></table></div>", ""])


def html_body(title: str, lead: str, sections: Sequence[Section], pictures: Pictures = NO_PICTURES) -> str:
    """Return title, what it is from, pictures and sections as HTML."""
    blocks = [f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(lead)}</p>\n"]
    for name, text in pictures.items():
        caption = html.escape(text)
        blocks.append(f'<figure><img src="{name}.png" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n')
    for heading, grid, lines in sections:
        blocks += [f"<h2>{html.escape(heading)}</h2>\n"] if heading else []
        blocks += [html_table(grid)] if grid else []
        items = "".join(f"<li>{html_inline(line)}</li>\n" for line in lines)
        blocks += [f"<ul>\n{items}</ul>\n"] if lines else []
    return "".join(blocks)


def html_page(title: str, body: str) -> str:
    """Return a whole page that needs nothing but itself."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>\n'
        f"<style>\n{_STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )


def html_inline(text: str) -> str:
    """Return a line of text with `code` as HTML."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def plain(text: str) -> str:
    """Return a line of text without the marks of code."""
    return text.replace("`", "")


def csv_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV with full precision; None is an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()

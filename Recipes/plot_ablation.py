#!/usr/bin/env python3
"""Sums up what Recipes/ablation.sh measured.

    Recipes/plot_ablation.py OUT     reads OUT/measures, prints tables in Markdown, draws OUT/students.svg and OUT/five-minutes.svg

Figures are means over clips; what a run lacks is a dash. Whiskers are standard errors of these means: a difference well within
them says nothing.
"""

import html
import json
import math
import pathlib
import statistics
import sys

# Folder under OUT/measures, heading, runs: their files and what they are called.
SHORT = ("short", "Teacher and student", {"teacher": "teacher, 25 steps", "student": "student, 4 steps"})
STUDENTS = ("students", "Students", {
    "default": "as Recipes/mini.sh",
    "ode": "ODE initialisation alone",
    "early": "early ODE initialisation",
    "raw-conditions": "raw conditions",
    "slow": "learning rates / 5",
    "aggressive": "learning rates × 4",
    "corrupted": "history corruption",
})
LONG = ("long", "Long videos", {
    "anchor": "anchor:3/9",
    "rolling": "rolling:9",
    "full": "full",
    "corrupted": "anchor:3/9, history corruption",
})

# Heading, where it is in a clip's figures, decimals.
MOUTH, LIKENESS, LEAST = "lipSync.opening.correlation", "identity.mean", "identity.least"
END, LARGEST = "picture.lastColourDrift", "picture.colourDrift"
COLUMNS = [
    ("mouth opening", MOUTH, 2),
    ("lag, ms", "lipSync.opening.lag", 0),
    ("other sound", "lipSync.control.correlation", 2),
    ("opening and loudness", "speech.envelope.correlation", 2),
    ("opening in silence / speech", "speech.silentOpening", 2),
    ("likeness", LIKENESS, 3),
    ("least", LEAST, 3),
    ("colour drift at the end", END, 1),
    ("backdrop flicker", "picture.backdropFlicker", 2),
]
WHOLE = [("Fréchet distance", "frechetDistance", 2), ("frames/s", "generatedFramesPerSecond", 1)]  # of a run, not of a clip
RATE = 16  # frames a second

PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"]  # told apart by colour-blind readers too (Okabe and Ito)


# MARK: figures


def at(tree, path):
    """The finite number, or the list, at a path of keys; None where there is none."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, list) or isinstance(tree, (int, float)) and math.isfinite(tree) else None


def mean(clips, path):
    values = [value for value in (at(clip, path) for clip in clips) if value is not None]
    return statistics.fmean(values) if values else None


def error(clips, path):
    """The standard error of the mean; 0 where there are too few clips to tell."""
    values = [value for value in (at(clip, path) for clip in clips) if value is not None]
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0


def seconds(clips):
    """The length of the longest; its first frame is the picture itself."""
    return (max((clip["frames"] for clip in clips), default=1) - 1) / RATE


def number(value, decimals):
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # the sum has no -0


class Run:
    def __init__(self, name, label, report):
        self.name, self.label, self.report = name, label, report
        self.clips, self.truth = report["clips"], report.get("truth", [])


def read(out, group):
    folder, _, labels = group
    files = {name: out / "measures" / folder / f"{name}.json" for name in labels}
    return [Run(name, labels[name], json.loads(file.read_text())) for name, file in files.items() if file.is_file()]


def table(group, runs):
    def cell(value, decimals):
        return "–" if value is None else number(value, decimals)

    def row(label, clips, report):
        cells = [cell(mean(clips, path), decimals) for _, path, decimals in COLUMNS]
        cells += [cell(at(report, path), decimals) for _, path, decimals in WHOLE]
        return [label, f"{len(clips)} × {seconds(clips):.0f} s", *cells]

    rows = [row(run.label, run.clips, run.report) for run in runs]
    if runs[0].truth:
        rows.append(row("true videos", runs[0].truth, {}))
    heads = ["run", "clips", *(head for head, _, _ in COLUMNS + WHOLE)]
    lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2), *rows]
    return "\n".join([f"## {group[1]}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


# MARK: drawing


class Axis:
    """Values to pixels, from round number to round number."""

    def __init__(self, values, start, end, count=5):
        low, high = min(values), max(values)
        span = (high - low) or abs(high) or 1
        power = 10 ** math.floor(math.log10(span / count))
        self.step = next(power * factor for factor in (1, 2, 5, 10) if span <= count * power * factor * (1 + 1e-9))
        self.low, self.high = (f(v / self.step) * self.step for f, v in ((math.floor, low), (math.ceil, high)))
        if self.low == self.high:
            self.high += self.step
        self.start, self.end = start, end

    def __call__(self, value):
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self):
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        for index in range(round((self.high - self.low) / self.step) + 1):
            value = self.low + index * self.step
            yield self(value), number(value, decimals)


class Drawing:
    def __init__(self, width, height, title):
        font = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"#222\""
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font} role="img">',
            f"<title>{html.escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
        ]
        self.text(16, 24, title, weight="bold")

    def text(self, x, y, text, anchor="start", weight="normal", turned=False):
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        style = f'text-anchor="{anchor}" font-weight="{weight}"{turn}'
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{html.escape(text)}</text>')

    def line(self, points, colour="#222", width=1.0, dashes=""):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" stroke-dasharray="{dashes or "none"}"'
        self.parts.append(f'<polyline points="{points}" fill="none" {style}/>')

    def bar(self, x, y, width, height, colour):
        x, width = min(x, x + width), abs(width)
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def dot(self, x, y, colour, hollow=False):
        fill = "#fff" if hollow else colour
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>')

    def across(self, axis, top, bottom, title):
        """A horizontal axis below a panel, with lines of its ticks."""
        for x, label in axis.ticks:
            self.line([(x, top), (x, bottom + 4)], "#ddd")
            self.text(x, bottom + 18, label, "middle")
        self.line([(axis.start, bottom), (axis.end, bottom)])
        self.text((axis.start + axis.end) / 2, bottom + 38, title, "middle")

    def upright(self, axis, left, right, title):
        for y, label in axis.ticks:
            self.line([(left - 4, y), (right, y)], "#ddd")
            self.text(left - 8, y + 4, label, "end")
        self.line([(left, axis.start), (left, axis.end)])
        self.text(left - 52, (axis.start + axis.end) / 2, title, "middle", turned=True)

    def save(self, path):
        path.write_text("\n".join([*self.parts, "</svg>", ""]))


ROW = 26


def bars(drawing, left, right, top, rows, path, title, truth):
    """A panel of horizontal bars from 0, with their standard errors. Rows are runs with colours, or None for a gap."""
    marks = {i: (mean(row[0].clips, path), error(row[0].clips, path), row[1]) for i, row in enumerate(rows) if row}
    marks = {i: mark for i, mark in marks.items() if mark[0] is not None}
    ends = [value + sign * spread for value, spread, _ in marks.values() for sign in (-1, 1)]
    axis, bottom = Axis([0, 0.1, *ends, *truth], left, right), top + ROW * len(rows)
    drawing.across(axis, top, bottom, title)
    for index, (value, spread, colour) in marks.items():
        y = top + ROW * (index + 0.5)
        drawing.bar(axis(0), y - 8, axis(value) - axis(0), 16, colour)
        drawing.line([(axis(value - spread), y), (axis(value + spread), y)], width=1.5)
        for end in (value - spread, value + spread):
            drawing.line([(axis(end), y - 4), (axis(end), y + 4)], width=1.5)
    drawing.line([(axis(0), top), (axis(0), bottom)])
    for value in truth:
        drawing.line([(axis(value), top), (axis(value), bottom)], dashes="4 3")


def spans(drawing, left, right, top, rows, path, extreme, title, truth=(), zero=()):
    """A panel of means, as dots, and extremes, as hollow ones."""
    marks = {i: (mean(row[0].clips, path), mean(row[0].clips, extreme), row[1]) for i, row in enumerate(rows) if row}
    marks = {i: mark for i, mark in marks.items() if None not in mark}
    values = [value for mark in marks.values() for value in mark[:2]]
    axis, bottom = Axis([*values, *truth, *zero] or [0, 1], left, right), top + ROW * len(rows)
    drawing.across(axis, top, bottom, title)
    for index, (value, end, colour) in marks.items():
        y = top + ROW * (index + 0.5)
        drawing.line([(axis(end), y), (axis(value), y)], colour, 2)
        drawing.dot(axis(end), y, colour, hollow=True)
        drawing.dot(axis(value), y, colour)
    for value in truth:
        drawing.line([(axis(value), top), (axis(value), bottom)], dashes="4 3")


def labels(drawing, top, rows):
    for index, row in enumerate(rows):
        if row:
            drawing.text(206, top + ROW * (index + 0.5) + 4, row[0].label, "end")


def draw_students(short, students, path):
    rows = [(run, PALETTE[1]) for run in short] + [None] * bool(short and students) + [(run, PALETTE[0]) for run in students]
    clips = next((run.truth for run in students + short if run.truth), [])

    def true(path):
        value = mean(clips, path)
        return [] if value is None else [value]

    top, left = 44, 216
    legend = top + ROW * len(rows) + 66
    drawing = Drawing(900, legend + 18, "Lip sync and likeness of the students")
    labels(drawing, top, rows)
    bars(drawing, left, 520, top, rows, MOUTH, "mouth opening, correlation", true(MOUTH))
    spans(drawing, 576, 872, top, rows, LIKENESS, LEAST, "likeness to the picture, cosine", true(LIKENESS))

    x = left
    for runs, colour in ((short, PALETTE[1]), (students, PALETTE[0])):
        if runs:
            drawing.bar(x, legend - 10, 12, 12, colour)
            drawing.text(x + 18, legend, f"{seconds(runs[0].clips):.0f} s clips")
            x += 92
    drawing.line([(x, legend - 4), (x + 20, legend - 4)], width=1.5)
    drawing.text(x + 26, legend, "standard error")
    x += 138
    drawing.line([(x, legend - 4), (x + 20, legend - 4)], dashes="4 3")
    drawing.text(x + 26, legend, "true videos")
    key_of_dots(drawing, x + 120, legend, "mean", "least frame")
    drawing.save(path)


def key_of_dots(drawing, x, y, full, hollow):
    drawing.dot(x + 5, y - 4, "#222")
    drawing.text(x + 15, y, full)
    drawing.dot(x + 65, y - 4, "#222", hollow=True)
    drawing.text(x + 75, y, hollow)


def means(series, size):
    """Of every so many values in a row, with the place of their middle."""
    pieces = [(start, series[start : start + size]) for start in range(0, len(series), size)]
    return [(start + len(piece) / 2, statistics.fmean(piece)) for start, piece in pieces]


def draw_long(runs, path):
    """Lines over time where the figures have a series by second, else the figures of the whole videos."""
    colours = {name: PALETTE[index] for index, name in enumerate(LONG[2])}
    rows = [(run, colours[run.name]) for run in runs]
    length = max(seconds(run.clips) for run in runs)
    title = f"{length / 60:.0f} minutes of one person" if length >= 120 else f"{length:.0f} seconds of one person"
    panels = [("identity.bySecond", "likeness, cosine", []), ("picture.colourDriftBySecond", "colour drift, 1/255", [0])]
    if not any(at(run.clips[0], panels[0][0]) for run in runs):
        top, legend = 44, 44 + ROW * len(rows) + 66
        drawing = Drawing(900, legend + 18, title)
        labels(drawing, top, rows)
        spans(drawing, 216, 520, top, rows, LIKENESS, LEAST, "likeness to the picture, cosine")
        spans(drawing, 576, 872, top, rows, END, LARGEST, "colour drift, 1/255", zero=[0])
        key_of_dots(drawing, 216, legend, "mean", "least frame")
        key_of_dots(drawing, 576, legend, "end", "largest")
        return drawing.save(path)

    size = max(1, round(length / 60))  # about 60 points a line
    unit, name = (60, "minutes") if length >= 120 else (1, "seconds")
    drawing = Drawing(900, 520, title + (f", means of {size} s" if size > 1 else ""))
    across = Axis([0, length / unit], 84, 876, count=8)
    for (series, heading, least), top in zip(panels, (44, 252)):
        lines = {row: means(at(row[0].clips[0], series) or [], size) for row in rows}
        axis = Axis([value for line in lines.values() for _, value in line] + least or [0, 1], top + 180, top, count=4)
        drawing.upright(axis, 84, 876, heading)
        drawing.line([(84, top + 180), (876, top + 180)])
        for (_, colour), line in lines.items():
            drawing.line([(across(second / unit), axis(value)) for second, value in line], colour, 2)
    drawing.across(across, 432, 432, name)
    for index, (run, colour) in enumerate(rows):
        x = 84 + 150 * index
        drawing.line([(x, 500), (x + 22, 500)], colour, 3)
        drawing.text(x + 28, 504, run.label)
    drawing.save(path)


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit("usage: Recipes/plot_ablation.py OUT")
    out = pathlib.Path(sys.argv[1])
    short, students, long = (read(out, group) for group in (SHORT, STUDENTS, LONG))
    for group, runs in ((SHORT, short), (STUDENTS, students), (LONG, long)):
        if runs:
            print(table(group, runs))
    if short or students:
        draw_students(short, students, out / "students.svg")
    if long:
        draw_long(long, out / "five-minutes.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())

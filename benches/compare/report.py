"""Writes what was measured: results.md for readers and one SVG of bars per measure; results.json has all of it."""

import html
import math

# Colours that differ in brightness too.
COLOURS = {"tidemill": "#0b6e8f", "duckdb": "#b7b7b7", "flink": "#e2574c", "clink": "#f0a830", "laminardb": "#7a5195", "tidemill-flat": "#7fb3d5"}
OURS = "tidemill"
PLOTS = {
    "events_per_processor_second": ("Thousand events per processor second: longer is better", 1e-3),
    "peak_megabytes": ("Peak resident memory in MB: shorter is better", 1.0),
}
LABEL_WIDTH, BAR_HEIGHT, GAP, BARS_WIDTH = 60, 11, 10, 640


def figures(results, query, engine):
    """What one engine's median run of a query comes to; None where nothing was measured."""
    found = results["queries"][query].get(engine, {})
    median = found.get("median")
    if not median:
        return None
    return {
        "equal": found["status"] == "equal",
        "seconds": median["seconds"],
        "events_per_second": results["events"] / median["seconds"],
        "events_per_processor_second": results["events"] / max(median["processor_seconds"], 1e-3),
        "peak_megabytes": median["peak_bytes"] / 1e6,
    }


def engines_of(results):
    return [name for name, about in results["engines"].items() if "not run" not in about]


def ratio(results, query, engine):
    """Tidemill's events per processor second by the other's; None unless both gave the right answer."""
    ours, theirs = figures(results, query, OURS), figures(results, query, engine)
    if not ours or not theirs or not ours["equal"] or not theirs["equal"]:
        return None
    return ours["events_per_processor_second"] / theirs["events_per_processor_second"]


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def cell(results, query, engine):
    measured = figures(results, query, engine)
    if measured and measured["equal"]:
        return f"{measured['events_per_processor_second'] / 1000:.0f} k, {measured['seconds']:.1f} s, {measured['peak_megabytes']:.0f} MB"
    return why_not(results, query, engine)


def why_not(results, query, engine):
    """In words, why an engine has no figures of a query."""
    status = results["queries"][query].get(engine, {}).get("status", "not run")
    return {"equal": "not measured", "differs": "DIFFERS"}.get(status, status)


def table(results):
    names = engines_of(results)
    titles = [results["engines"][name]["title"] for name in names]
    others = [name for name in names if name != OURS]
    ratios = [f"vs {results['engines'][name]['title']}" for name in others] if OURS in names else []
    lines = ["| query | rows | " + " | ".join(titles + ratios) + " |", "|---" * (2 + len(names) + len(ratios)) + "|"]
    for query, of_engines in results["queries"].items():
        rows = next((found["answer"]["rows"] for found in of_engines.values() if found.get("status") == "equal"), "-")
        cells = [cell(results, query, name) for name in names]
        for name in others if ratios else []:
            value = ratio(results, query, name)
            cells.append(f"{value:.2f}" if value else "-")
        lines.append(f"| {query} | {rows} | " + " | ".join(cells) + " |")
    return lines


def reasons(results):
    for query, of_engines in results["queries"].items():
        for name, found in of_engines.items():
            if found.get("status", "equal") != "equal":
                said = " ".join(found.get("reason", "").split()).replace("|", "/")
                yield f"- {query}, {results['engines'][name]['title']}: {found['status']}: {said}"


def means(results):
    for name in engines_of(results):
        values = [value for query in results["queries"] if (value := ratio(results, query, name))]
        if name != OURS and values:
            least = min(values)
            yield (f"- {results['engines'][name]['title']}: {geometric_mean(values):.2f} over {len(values)} queries with equal answers "
                   f"(from {least:.2f} to {max(values):.2f}; Tidemill is behind in {sum(value < 1 for value in values)})")


def losses(results):
    for name in engines_of(results):
        ratios = [(ratio(results, query, name), query) for query in results["queries"]]
        worse = sorted((value, query) for value, query in ratios if value and value < 1)
        if worse and name != OURS:
            yield f"- against {results['engines'][name]['title']}: " + ", ".join(f"{query} {value:.2f}" for value, query in worse)


def write(results, folder):
    load = results["load"]
    machine = results["machine"]
    runs = "one measured run" if results["runs"] == 1 else f"medians of {results['runs']} measured runs"
    lines = [
        f"{results['events']:,} events ({results['bytes'] / 1e6:.0f} MB), {runs}; {results['date']}; {machine['cores']} cores of "
        f"{machine['processor']}, load {min(load):.1f} to {max(load):.1f}. {results['note']}".strip(),
        "", "Each cell: events per processor second, seconds, peak resident memory. "
        "Ratios: Tidemill's events per processor second by the other's.", "",
        *table(results), "", "Behind, in events per processor second:", "", *(list(losses(results)) or ["- nowhere"]),
        "", "Geometric means of these ratios:", "", *(list(means(results)) or ["- none"]),
        "", "Not counted:", "", *(list(reasons(results)) or ["- nothing"]),
        *[f"- {about['title']}: NOT RUN: {about['not run']}" for about in results["engines"].values() if "not run" in about],
        "",
    ]
    (folder / "results.md").write_text("\n".join(lines))
    for measure in PLOTS:
        (folder / f"{measure}.svg").write_text(plot(results, measure))


def plot(results, measure):
    """Horizontal bars, one group per query; only right answers have a bar."""
    title, scale = PLOTS[measure]
    names = engines_of(results)
    values = {(query, name): found[measure] * scale for query in results["queries"] for name in names
              if (found := figures(results, query, name)) and found["equal"]}
    most = max(values.values(), default=1)
    group = len(names) * BAR_HEIGHT + GAP
    height, width = 60 + group * len(results["queries"]), LABEL_WIDTH + BARS_WIDTH + 80
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="10">',
             f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="8" y="16" font-size="13">{html.escape(title)}</text>']
    for index, name in enumerate(names):
        parts.append(f'<rect x="{8 + index * 120}" y="26" width="10" height="10" fill="{COLOURS[name]}"/>'
                     f'<text x="{22 + index * 120}" y="35">{html.escape(results["engines"][name]["title"])}</text>')
    for row, query in enumerate(results["queries"]):
        top = 50 + row * group
        parts.append(f'<text x="8" y="{top + group / 2}">{query}</text>')
        for index, name in enumerate(names):
            value, y = values.get((query, name)), top + index * BAR_HEIGHT
            text = f"{value:,.0f}" if value is not None else why_not(results, query, name)
            length = BARS_WIDTH * (value or 0) / most
            parts.append(f'<rect x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT - 2}" fill="{COLOURS[name]}"/>'
                         f'<text x="{LABEL_WIDTH + length + 4:.1f}" y="{y + 8}" font-size="8" fill="#555">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])

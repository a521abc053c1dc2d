//! The dashboard's queries, and the dashboard drawn from what Prometheus returns for them.

use std::fmt::Write;

use serde_json::Value;

use crate::server::{Prometheus, job};

/// Neutral greys and hues that stand out on white and on black alike.
const STYLE: &str = "
  text { font: 10px system-ui, sans-serif; fill: #57606a }
  .row { font-size: 14px; font-weight: 600; fill: #24292f } .title { font-size: 11px; font-weight: 600; fill: #24292f }
  rect { fill: none; stroke: #8c959f; stroke-opacity: .35 }
  polyline { fill: none; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) { text { fill: #9da7b1 } .row, .title { fill: #e6edf3 } }
";

const COLOURS: [&str; 6] = ["#4493f8", "#3fa45b", "#d4a72c", "#e5534b", "#a371f7", "#8c959f"];

/// Pixels of a step of Grafana's grid.
const STEP: (f64, f64) = (50.0, 22.0);

/// The dashboard's queries, its variables filled in.
pub(crate) fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("it has panels");
    panels.iter().flat_map(targets).map(|target| fill_in(text(&target["expr"]), "2s")).collect()
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}

fn fill_in(expression: &str, rate_interval: &str) -> String {
    let expression = expression.replace("$job", &job()).replace("$namespace", ".*");
    expression.replace("$__rate_interval", rate_interval)
}

/// Draws the dashboard over a stretch of time, in seconds since 1970.
pub(crate) fn draw(dashboard: &Value, prometheus: &Prometheus, time: (f64, f64)) -> String {
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let place = |panel: &Value| {
        ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_f64().expect("each panel has its place"))
    };
    let bottom = panels.iter().map(|panel| place(panel)[1] + place(panel)[3]).fold(0.0, f64::max) * STEP.1;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1200 {bottom}\" role=\"img\" \
         aria-label=\"the dashboard\">\n<style>{STYLE}</style>\n"
    );
    for panel in panels {
        let [x, y, w, h] = place(panel);
        let (x, y, w, h) = (x * STEP.0 + 4.0, y * STEP.1, w * STEP.0 - 8.0, h * STEP.1 - 8.0);
        if panel["type"] == "row" {
            label(&mut svg, x, y + 15.0, "row", text(&panel["title"]));
        } else {
            draw_panel(&mut svg, panel, prometheus, time, (x, y, w, h));
        }
    }
    svg + "</svg>\n"
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn draw_panel(
    svg: &mut String,
    panel: &Value,
    prometheus: &Prometheus,
    (from, to): (f64, f64),
    (x, y, w, h): (f64, f64, f64, f64),
) {
    let lines: Vec<Line> = targets(panel).flat_map(|target| lines(target, prometheus, (from, to))).collect();
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let highest = values.fold(0.0, f64::max);
    let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
    label(svg, x + 6.0, y + 13.0, "title", text(&panel["title"]));
    label(svg, x + 6.0, y + 26.0, "", &format!("to {}", amount(highest, unit)));
    let (top, height) = (y + 32.0, h - 52.0);
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>").expect("a String takes it");
    let mut legend_at = x + 6.0;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(time, value)| {
                let right = x + 6.0 + (time - from) / (to - from) * (w - 12.0);
                format!("{right:.0},{:.1}", top + height - value / highest.max(f64::MIN_POSITIVE) * height)
            })
            .collect();
        writeln!(svg, "<polyline stroke=\"{colour}\" points=\"{}\"/>", points.join(" ")).expect("as above");
        let width = 5.6 * line.name.len() as f64 + 8.0;
        if legend_at + width < x + w {
            writeln!(svg, "<g style=\"fill: {colour}\">").expect("as above");
            let text = format!("<text x=\"{legend_at:.0}\" y=\"{}\" style=\"fill: {colour}\">", y + h - 6.0);
            writeln!(svg, "{text}{}</text></g>", escape(&line.name)).expect("as above");
            legend_at += width;
        }
    }
}

/// The series of one query that were ever more than nothing, or the first of those that were not.
fn lines(target: &Value, prometheus: &Prometheus, (from, to): (f64, f64)) -> Vec<Line> {
    let series = prometheus.range(&fill_in(text(&target["expr"]), "5s"), from, to, 1.0);
    let all = series.iter().map(|series| {
        let mut name = text(&target["legendFormat"]).to_owned();
        for (label, value) in series["metric"].as_object().into_iter().flatten() {
            name = name.replace(&format!("{{{{{label}}}}}"), text(value));
        }
        let samples = series["values"].as_array().expect("a series has samples").iter();
        let points = samples.filter_map(|sample| {
            Some((
                sample[0].as_f64()?,
                sample[1].as_str()?.parse().ok().filter(|value: &f64| value.is_finite())?,
            ))
        });
        Line { name, points: points.collect() }
    });
    let (some, none): (Vec<Line>, Vec<Line>) =
        all.partition(|line| line.points.iter().any(|(_, value)| *value != 0.0));
    if some.is_empty() { none.into_iter().take(1).collect() } else { some }
}

fn amount(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.1} MiB", value / f64::from(1 << 20)),
        "percentunit" => format!("{:.1} %", value * 100.0),
        "reqps" => format!("{value:.1} per second"),
        "s" if value < 1.0 => format!("{:.1} ms", value * 1000.0),
        "s" => format!("{value:.1} s"),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.3}"),
    }
}

fn label(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(text))
        .expect("a String takes it");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

//! The picture of a run: requests, latency and failures over time, each pod's phases under them.

use std::fmt::Write;

use super::columns::count;
use super::summary::Report;
use crate::record::kind::Kind;
use crate::record::pods::{End, PodHistory};
use crate::record::timeline::Bucket;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 940.0;
const PANEL: f64 = 92.0;
const GAP: f64 = 38.0;
const LANE: f64 = 14.0;
const STEPS: usize = 240;

/// Neutral greys and hues that stand out on white and on black alike.
const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 15px; font-weight: 600; fill: #24292f }
  .grid { stroke: #8c959f; stroke-opacity: .35 }
  .area { fill: #4493f8; fill-opacity: .35 } .line { fill: none; stroke: #4493f8; stroke-width: 1.5 }
  .slow { fill: none; stroke: #a371f7; stroke-width: 1.5 }
  .lost { fill: #e5534b } .starting { fill: #d4a72c } .ready { fill: #3fa45b }
  .terminating { fill: #8c959f } .draining { fill: #8c959f; fill-opacity: .45 }
  @media (prefers-color-scheme: dark) { text { fill: #9da7b1 } .title { fill: #e6edf3 } }
";

/// Seconds to pixels.
#[derive(Clone, Copy)]
struct Time {
    seconds: f64,
}

/// Draws a run as one SVG that reads in light and in dark.
pub(crate) fn draw(report: &Report) -> String {
    let buckets = thinned(&report.observed.timeline.buckets);
    let step = buckets.step as f64 * report.observed.timeline.width.as_secs_f64();
    let time = Time { seconds: (buckets.list.len() as f64 * step).max(0.1) };
    let lanes = lanes(&report.histories);
    let rows = lanes.iter().max().map_or(0, |lane| lane + 1);
    let tops = [0.0, 1.0, 2.0, 3.0].map(|panel| 58.0 + panel * (PANEL + GAP));
    let pods_top = tops[3] + report.observed.tallies.len() as f64 * LANE + GAP;
    let bottom = pods_top + rows as f64 * LANE;
    let height = bottom + 56.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"{label}\">\n<style>{STYLE}</style>\n",
        label = escape(&title(report)),
    );
    text(&mut svg, 16.0, 26.0, "title", &title(report));
    let rates: Vec<f64> = buckets.list.iter().map(|bucket| bucket.requests as f64 / step).collect();
    let p99s: Vec<f64> = buckets.list.iter().map(|bucket| bucket.p99_us as f64 / 1000.0).collect();
    let lost: Vec<f64> = buckets.list.iter().map(|bucket| bucket.failed as f64).collect();
    panel(&mut svg, time, tops[0], "requests per second", &rates, area);
    panel(&mut svg, time, tops[1], "p99 latency in milliseconds", &p99s, line);
    panel(&mut svg, time, tops[2], &lost_label(report, step), &lost, bars);
    text(&mut svg, 16.0, tops[3] - 10.0, "", "lost requests of each client");
    for (n, kind) in report.observed.tallies.keys().enumerate() {
        client(&mut svg, time, *kind, &buckets.list, tops[3] + n as f64 * LANE);
    }
    text(&mut svg, 16.0, pods_top - 10.0, "", "pods");
    for (history, lane) in report.histories.iter().zip(&lanes) {
        pod(&mut svg, time, history, pods_top + *lane as f64 * LANE);
    }
    axis(&mut svg, time, bottom + 4.0);
    legend(&mut svg, height - 12.0);
    svg.push_str("</svg>\n");
    svg
}

fn title(report: &Report) -> String {
    let setting = &report.setting;
    format!(
        "{}: {} rollout{}, {} requests, {} lost",
        setting.name,
        setting.rollouts,
        if setting.rollouts == 1 { "" } else { "s" },
        count(report.all.requests()),
        count(report.all.failures()),
    )
}

fn lost_label(report: &Report, step: f64) -> String {
    match report.all.failures() {
        0 => "lost requests: none".into(),
        _ => format!("lost requests, per {step:.1} s"),
    }
}

/// Buckets for the eye: at most 240.
struct Thinned {
    list: Vec<Bucket>,
    step: usize,
}

fn thinned(buckets: &[Bucket]) -> Thinned {
    let step = buckets.len().div_ceil(STEPS).max(1);
    // The last stretch may be shorter than the others and would look like a drop.
    let whole = buckets.len() / step * step;
    Thinned { list: buckets[..whole].chunks(step).map(Bucket::joined).collect(), step }
}

/// The first free row for each pod, so that the picture is no taller than the pods at one time.
fn lanes(histories: &[PodHistory]) -> Vec<usize> {
    let mut free_from: Vec<f64> = Vec::new();
    histories
        .iter()
        .map(|history| {
            let until = history.gone.unwrap_or(f64::INFINITY);
            match free_from.iter().position(|free| *free <= history.started) {
                Some(lane) => {
                    free_from[lane] = until;
                    lane
                }
                None => {
                    free_from.push(until);
                    free_from.len() - 1
                }
            }
        })
        .collect()
}

fn panel(
    svg: &mut String,
    time: Time,
    top: f64,
    label: &str,
    values: &[f64],
    shape: fn(&mut String, Time, f64, &[f64], f64),
) {
    let most = round_up(values.iter().copied().fold(0.0, f64::max));
    text(svg, 16.0, top - 10.0, "", label);
    // A scale above nothing at all would look like something.
    let parts = if values.iter().all(|value| *value == 0.0) { &[0.0][..] } else { &[1.0, 0.5, 0.0] };
    for part in parts {
        let y = top + PANEL * (1.0 - part);
        let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {y}H{RIGHT}"/>"#);
        anchored(svg, LEFT - 8.0, y + 4.0, "end", &short(most * part));
    }
    shape(svg, time, top, values, most);
}

fn area(svg: &mut String, time: Time, top: f64, values: &[f64], most: f64) {
    let points = points(time, top, values, most);
    let base = top + PANEL;
    let _ = writeln!(svg, r#"<path class="area" d="M{LEFT} {base}L{points}V{base}Z"/>"#);
    let _ = writeln!(svg, r#"<path class="line" d="M{points}"/>"#);
}

fn line(svg: &mut String, time: Time, top: f64, values: &[f64], most: f64) {
    let points = points(time, top, values, most);
    let _ = writeln!(svg, r#"<path class="slow" d="M{points}"/>"#);
}

fn bars(svg: &mut String, time: Time, top: f64, values: &[f64], most: f64) {
    let step = time.seconds / values.len().max(1) as f64;
    for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let height = (value / most * PANEL).max(2.0);
        let (x, y) = (time.x(n as f64 * step), top + PANEL - height);
        let width = (time.x(step) - LEFT).max(2.0);
        let _ = writeln!(
            svg,
            r#"<rect class="lost" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        );
    }
}

fn points(time: Time, top: f64, values: &[f64], most: f64) -> String {
    let step = time.seconds / values.len().max(1) as f64;
    let mut points = String::new();
    for (n, value) in values.iter().enumerate() {
        let (x, y) = (time.x((n as f64 + 0.5) * step), top + PANEL - value / most * PANEL);
        let _ = write!(points, "{x:.1} {y:.1} ");
    }
    match points.is_empty() {
        true => format!("{LEFT} {}", top + PANEL),
        false => points.trim_end().to_string(),
    }
}

/// One kind of client: a mark wherever it lost requests.
fn client(svg: &mut String, time: Time, kind: Kind, buckets: &[Bucket], y: f64) {
    let (name, middle, height) = (kind.name(), y + LANE / 2.0, LANE - 4.0);
    let step = time.seconds / buckets.len().max(1) as f64;
    anchored(svg, LEFT - 8.0, middle + 4.0, "end", name);
    let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {middle}H{RIGHT}"/>"#);
    for (n, bucket) in buckets.iter().enumerate() {
        if let Some(failed) = bucket.failed_by_client.get(&kind) {
            let (x, width) = (time.x(n as f64 * step), (time.x(step) - LEFT).max(2.0));
            let _ = writeln!(
                svg,
                r#"<rect class="lost" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{height}"><title>{name}: {failed} lost</title></rect>"#,
                top = y + 2.0,
            );
        }
    }
}

/// One pod: starting, ready, terminating while still in the endpoints, then draining without new connections.
fn pod(svg: &mut String, time: Time, history: &PodHistory, y: f64) {
    let end = history.gone.unwrap_or(time.seconds);
    let terminating = history.terminating.unwrap_or(end);
    let left = history.left_endpoints.filter(|_| history.terminating.is_some()).unwrap_or(end);
    let ready = history.ready.unwrap_or(terminating).min(terminating);
    for (class, from, to) in [
        ("starting", history.started, ready),
        ("ready", ready, terminating),
        ("terminating", terminating, left.min(end)),
        ("draining", left.min(end), end),
    ] {
        let (from, to) = (time.x(from), time.x(to));
        if to - from > 0.05 {
            let (width, height) = (to - from, LANE - 4.0);
            let _ = writeln!(
                svg,
                r#"<rect class="{class}" x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{height}"><title>{name}: {class}</title></rect>"#,
                name = escape(&history.name),
            );
        }
    }
    if matches!(history.end, Some(End::Killed | End::Crashed)) {
        let (x, y) = (time.x(end) - 3.0, y - 1.0);
        let _ =
            writeln!(svg, r#"<rect class="lost" x="{x:.1}" y="{y:.1}" width="4" height="{}"/>"#, LANE - 2.0);
    }
}

fn axis(svg: &mut String, time: Time, y: f64) {
    let step = round_up(time.seconds / 8.0);
    let mut at = 0.0;
    while at <= time.seconds {
        let x = time.x(at);
        let _ = writeln!(svg, r#"<path class="grid" d="M{x:.1} {y}v5"/>"#);
        anchored(svg, x, y + 18.0, "middle", &format!("{} s", short(at)));
        at += step;
    }
}

fn legend(svg: &mut String, y: f64) {
    let mut x = LEFT;
    for (class, label) in [
        ("starting", "starting"),
        ("ready", "ready"),
        ("terminating", "terminating, still gets new connections"),
        ("draining", "draining, no new connections"),
        ("lost", "lost, or killed"),
    ] {
        let _ = writeln!(svg, r#"<rect class="{class}" x="{x}" y="{}" width="12" height="10"/>"#, y - 9.0);
        text(svg, x + 18.0, y, "", label);
        x += 40.0 + label.len() as f64 * 6.2;
    }
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let _ = writeln!(svg, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escape(words));
}

fn anchored(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escape(words));
}

/// The next of 1, 2, 5, 10, 20, 50 and so on.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| *step >= value * 0.9999)
        .unwrap_or(value)
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match value >= 1000.0 {
        true => count(value.round() as u64),
        false => text.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Time {
    fn x(self, at: f64) -> f64 {
        LEFT + (at / self.seconds).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(started: f64, gone: Option<f64>) -> PodHistory {
        PodHistory {
            name: "pod".into(),
            started,
            ready: Some(started + 0.5),
            terminating: gone.map(|gone| gone - 1.0),
            left_endpoints: gone.map(|gone| gone - 0.5),
            gone,
            end: gone.map(|_| End::Exit(0)),
        }
    }

    #[test]
    fn a_lane_is_used_again_once_its_pod_is_gone() {
        let histories = [history(0.0, Some(5.0)), history(4.0, None), history(6.0, None)];
        assert_eq!(lanes(&histories), [0, 1, 0]);
    }

    #[test]
    fn a_clients_row_is_marked_where_it_lost() {
        let lost = Bucket { failed_by_client: [(Kind::H2Blocking, 3)].into(), ..Bucket::default() };
        let buckets = [Bucket::default(), lost, Bucket::default()];
        let row = |kind| {
            let mut svg = String::new();
            client(&mut svg, Time { seconds: 30.0 }, kind, &buckets, 0.0);
            svg
        };
        let marked = row(Kind::H2Blocking);
        let at = LEFT + (RIGHT - LEFT) / 3.0;
        assert_eq!(marked.matches("<rect").count(), 1);
        assert!(
            marked.contains(&format!("x=\"{at:.1}\"")) && marked.contains("h2-blocking: 3 lost"),
            "{marked}"
        );
        assert!(row(Kind::Idle).contains(">idle<") && !row(Kind::Idle).contains("<rect"));
    }

    #[test]
    fn scales_end_on_round_numbers() {
        assert_eq!([round_up(0.0), round_up(0.3), round_up(7.0), round_up(2000.0)], [1.0, 0.5, 10.0, 2000.0]);
        assert_eq!([short(2500.0), short(0.5), short(20.0)], ["2 500", "0.5", "20"]);
    }
}

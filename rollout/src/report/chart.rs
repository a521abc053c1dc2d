//! The picture of a run: requests, latency and failures over time, each pod's phases under them.

use std::fmt::Write;

use super::columns::count;
use super::escape::escape;
use super::summary::Report;
use crate::record::kind::Kind;
use crate::record::pods::{End, PodHistory};
use crate::record::timeline::Bucket;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const PLOT: f64 = 848.0;
const PANEL: f64 = 92.0;
const GAP: f64 = 38.0;
const LANE: f64 = 14.0;

/// Neutral greys and hues that stand out on white and on black alike.
const STYLE: &str = "
  .chart text { font: 12px system-ui, sans-serif; fill: #57606a }
  .chart .title { font-size: 15px; font-weight: 600; fill: #24292f }
  .chart path { vector-effect: non-scaling-stroke }
  .chart .grid { stroke: #8c959f; stroke-opacity: .35 }
  .chart .area { fill: #4493f8; fill-opacity: .35 } .chart .line { fill: none; stroke: #4493f8; stroke-width: 1.5 }
  .chart .slow { fill: none; stroke: #a371f7; stroke-width: 1.5 }
  .chart .lost { fill: #e5534b } .chart .starting { fill: #d4a72c } .chart .ready { fill: #3fa45b }
  .chart .terminating { fill: #8c959f } .chart .draining { fill: #8c959f; fill-opacity: .45 }
  @media (prefers-color-scheme: dark) { .chart text { fill: #9da7b1 } .chart .title { fill: #e6edf3 } }
";

/// What the phases and the marks mean, in the order of a pod's life.
pub(crate) const LEGEND: [(&str, &str); 5] = [
    ("starting", "starting"),
    ("ready", "ready"),
    ("terminating", "terminating, still gets new connections"),
    ("draining", "draining, no new connections"),
    ("lost", "lost, or killed"),
];

/// How many stretches of time a chart has at most.
#[derive(Clone, Copy)]
pub(crate) enum Detail {
    /// For the eye.
    Smooth = 240,
    /// All that there is, to be zoomed into.
    Full = 600,
}

/// The chart so far: labels, and what lies along the time, which a page can stretch.
struct Drawing {
    frame: String,
    plot: String,
    time: Time,
}

/// Seconds to pixels of the plot.
#[derive(Clone, Copy)]
struct Time {
    seconds: f64,
}

/// Draws a run as one SVG that reads in light and in dark.
pub(crate) fn draw(report: &Report, detail: Detail) -> String {
    let buckets = thinned(&report.observed.timeline.buckets, detail as usize);
    let step = buckets.step as f64 * report.observed.timeline.width.as_secs_f64();
    let time = Time { seconds: (buckets.list.len() as f64 * step).max(0.1) };
    let lanes = lanes(&report.histories);
    let rows = lanes.iter().max().map_or(0, |lane| lane + 1);
    let tops = [0.0, 1.0, 2.0, 3.0].map(|panel| 58.0 + panel * (PANEL + GAP));
    let pods_top = tops[3] + report.observed.tallies.len() as f64 * LANE + GAP;
    let bottom = pods_top + rows as f64 * LANE;
    let height = bottom + 56.0;

    let mut drawing = Drawing { frame: String::new(), plot: String::new(), time };
    drawing.text(16.0, 26.0, "title", &title(report));
    let rates: Vec<f64> = buckets.list.iter().map(|bucket| bucket.requests as f64 / step).collect();
    let p99s: Vec<f64> = buckets.list.iter().map(|bucket| bucket.p99_us as f64 / 1000.0).collect();
    let lost: Vec<f64> = buckets.list.iter().map(|bucket| bucket.failed as f64).collect();
    drawing.panel(tops[0], "requests per second", &rates, Drawing::area);
    drawing.panel(tops[1], "p99 latency in milliseconds", &p99s, Drawing::line);
    drawing.panel(tops[2], &lost_label(report, step), &lost, Drawing::bars);
    drawing.text(16.0, tops[3] - 10.0, "", "lost requests of each client");
    for (n, kind) in report.observed.tallies.keys().enumerate() {
        drawing.client(*kind, &buckets.list, tops[3] + n as f64 * LANE);
    }
    if !report.histories.is_empty() {
        drawing.text(16.0, pods_top - 10.0, "", "pods");
    }
    for (history, lane) in report.histories.iter().zip(&lanes) {
        drawing.pod(history, pods_top + *lane as f64 * LANE);
    }
    drawing.axis(bottom + 4.0);
    drawing.legend(height - 12.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         data-seconds=\"{seconds:.1}\" data-bottom=\"{bottom:.0}\" aria-label=\"{label}\">\n<style>{STYLE}</style>\n{frame}\
         <svg class=\"plot\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {PLOT} {height:.0}\" preserveAspectRatio=\"none\">\n{plot}</svg>\n</svg>\n",
        label = escape(&title(report)),
        seconds = time.seconds,
        frame = drawing.frame,
        plot = drawing.plot,
    )
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

/// Fewer buckets, each of some that are joined.
struct Thinned {
    list: Vec<Bucket>,
    step: usize,
}

fn thinned(buckets: &[Bucket], most: usize) -> Thinned {
    let step = buckets.len().div_ceil(most).max(1);
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

impl Drawing {
    fn panel(&mut self, top: f64, label: &str, values: &[f64], shape: fn(&mut Self, f64, &[f64], f64)) {
        let most = round_up(values.iter().copied().fold(0.0, f64::max));
        self.text(16.0, top - 10.0, "", label);
        // A scale above nothing at all would look like something.
        let parts = if values.iter().all(|value| *value == 0.0) { &[0.0][..] } else { &[1.0, 0.5, 0.0] };
        for part in parts {
            let y = top + PANEL * (1.0 - part);
            self.grid(y);
            self.anchored(LEFT - 8.0, y + 4.0, "end", &short(most * part));
        }
        shape(self, top, values, most);
    }

    fn area(&mut self, top: f64, values: &[f64], most: f64) {
        let points = points(self.time, top, values, most);
        let base = top + PANEL;
        let end = self.time.x(self.time.seconds);
        let _ = writeln!(self.plot, r#"<path class="area" d="M0 {base}L{points}L{end} {base}Z"/>"#);
        let _ = writeln!(self.plot, r#"<path class="line" d="M{points}"/>"#);
    }

    fn line(&mut self, top: f64, values: &[f64], most: f64) {
        let points = points(self.time, top, values, most);
        let _ = writeln!(self.plot, r#"<path class="slow" d="M{points}"/>"#);
    }

    fn bars(&mut self, top: f64, values: &[f64], most: f64) {
        let step = self.time.seconds / values.len().max(1) as f64;
        for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let height = (value / most * PANEL).max(2.0);
            let (x, y) = (self.time.x(n as f64 * step), top + PANEL - height);
            self.bar("lost", (x, y), (self.time.x(step).max(2.0), height), "");
        }
    }

    /// One kind of client: a mark wherever it lost requests.
    fn client(&mut self, kind: Kind, buckets: &[Bucket], y: f64) {
        let (name, middle) = (kind.name(), y + LANE / 2.0);
        let step = self.time.seconds / buckets.len().max(1) as f64;
        self.anchored(LEFT - 8.0, middle + 4.0, "end", name);
        self.grid(middle);
        for (n, bucket) in buckets.iter().enumerate() {
            if let Some(failed) = bucket.failed_by_client.get(&kind) {
                let size = (self.time.x(step).max(2.0), LANE - 4.0);
                self.bar(
                    "lost",
                    (self.time.x(n as f64 * step), y + 2.0),
                    size,
                    &format!("{name}: {failed} lost"),
                );
            }
        }
    }

    /// One pod: a bar for each of its phases.
    fn pod(&mut self, history: &PodHistory, y: f64) {
        let end = history.gone.unwrap_or(self.time.seconds);
        for (phase, from, to) in history.phases(self.time.seconds) {
            let (from, to) = (self.time.x(from), self.time.x(to));
            if to - from > 0.05 {
                let title = format!("{}: {}", history.name, phase.name());
                self.bar(phase.name(), (from, y), (to - from, LANE - 4.0), &title);
            }
        }
        if matches!(history.end, Some(End::Killed | End::Crashed)) {
            let title = format!("{}: killed, or exited by itself", history.name);
            self.bar("lost", (self.time.x(end) - 3.0, y - 1.0), (4.0, LANE - 2.0), &title);
        }
    }

    fn axis(&mut self, y: f64) {
        self.frame.push_str("<g class=\"axis\">\n");
        let step = round_up(self.time.seconds / 8.0);
        let mut at = 0.0;
        while at <= self.time.seconds {
            let x = LEFT + self.time.x(at);
            let _ = writeln!(self.frame, r#"<path class="grid" d="M{x:.1} {y}v5"/>"#);
            self.anchored(x, y + 18.0, "middle", &format!("{} s", short(at)));
            at += step;
        }
        self.frame.push_str("</g>\n");
    }

    fn legend(&mut self, y: f64) {
        self.frame.push_str("<g class=\"legend\">\n");
        let mut x = LEFT;
        for (class, label) in LEGEND {
            let _ = writeln!(
                self.frame,
                r#"<rect class="{class}" x="{x}" y="{}" width="12" height="10"/>"#,
                y - 9.0
            );
            self.text(x + 18.0, y, "", label);
            x += 40.0 + label.len() as f64 * 6.2;
        }
        self.frame.push_str("</g>\n");
    }

    /// A part of the plot at this place, of this size.
    fn bar(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), title: &str) {
        let title = match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escape(title)),
        };
        let _ = writeln!(
            self.plot,
            r#"<rect class="{class}" x="{x:.2}" y="{y:.1}" width="{width:.2}" height="{height:.1}">{title}</rect>"#
        );
    }

    fn grid(&mut self, y: f64) {
        let _ = writeln!(self.plot, r#"<path class="grid" d="M0 {y}H{PLOT}"/>"#);
    }

    fn text(&mut self, x: f64, y: f64, class: &str, words: &str) {
        let _ = writeln!(self.frame, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escape(words));
    }

    fn anchored(&mut self, x: f64, y: f64, anchor: &str, words: &str) {
        let _ = writeln!(
            self.frame,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escape(words)
        );
    }
}

fn points(time: Time, top: f64, values: &[f64], most: f64) -> String {
    let step = time.seconds / values.len().max(1) as f64;
    let mut points = String::new();
    for (n, value) in values.iter().enumerate() {
        let (x, y) = (time.x((n as f64 + 0.5) * step), top + PANEL - value / most * PANEL);
        let _ = write!(points, "{x:.2} {y:.1} ");
    }
    match points.is_empty() {
        true => format!("0 {}", top + PANEL),
        false => points.trim_end().to_string(),
    }
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

impl Time {
    fn x(self, at: f64) -> f64 {
        (at / self.seconds).clamp(0.0, 1.0) * PLOT
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
            let time = Time { seconds: 30.0 };
            let mut drawing = Drawing { frame: String::new(), plot: String::new(), time };
            drawing.client(kind, &buckets, 0.0);
            drawing.frame + &drawing.plot
        };
        let marked = row(Kind::H2Blocking);
        let at = PLOT / 3.0;
        assert_eq!(marked.matches("<rect").count(), 1);
        assert!(
            marked.contains(&format!("x=\"{at:.2}\"")) && marked.contains("h2-blocking: 3 lost"),
            "{marked}"
        );
        assert!(row(Kind::Idle).contains(">idle<") && !row(Kind::Idle).contains("<rect"));
    }

    #[test]
    fn each_stretch_that_lost_requests_has_a_bar_on_the_grid() {
        let time = Time { seconds: 30.0 };
        let mut drawing = Drawing { frame: String::new(), plot: String::new(), time };
        drawing.panel(0.0, "lost requests", &[0.0, 2.0, 1.0], Drawing::bars);
        let count = |part| drawing.plot.matches(part).count();
        assert_eq!((count("class=\"lost\""), count("class=\"grid\"")), (2, 3), "{}", drawing.plot);
    }

    #[test]
    fn scales_end_on_round_numbers() {
        assert_eq!([round_up(0.0), round_up(0.3), round_up(7.0), round_up(2000.0)], [1.0, 0.5, 10.0, 2000.0]);
        assert_eq!([short(2500.0), short(0.5), short(20.0)], ["2 500", "0.5", "20"]);
    }
}

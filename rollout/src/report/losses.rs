//! The lost requests on the page: each with its pod, and what that pod went through.

use std::fmt::Write;

use super::columns::count;
use super::escape::escape;
use super::summary::Report;
use crate::record::pods::{End, PodHistory, PodPhase};
use crate::record::recorder::Failure;

/// The others can be unfolded.
const SHOWN: usize = 12;

/// Every lost request that was kept, as an article.
pub(super) fn losses(html: &mut String, report: &Report) {
    let failures = &report.observed.failures;
    let lost = report.all.failures();
    html.push_str("<h3>Lost requests</h3>\n");
    if failures.is_empty() {
        html.push_str("<p>None.</p>\n");
        return;
    }
    if lost > failures.len() as u64 {
        let _ = writeln!(html, "<p>The first {} of {}.</p>", failures.len(), count(lost));
    }
    let (first, others) = failures.split_at(failures.len().min(SHOWN));
    articles(html, first, &report.histories);
    if !others.is_empty() {
        let _ = writeln!(html, "<details>\n<summary>{} more</summary>", others.len());
        articles(html, others, &report.histories);
        html.push_str("</details>\n");
    }
}

fn articles(html: &mut String, failures: &[Failure], histories: &[PodHistory]) {
    html.push_str("<div class=\"losses\">\n");
    for failure in failures {
        loss(html, failure, histories);
    }
    html.push_str("</div>\n");
}

fn loss(html: &mut String, failure: &Failure, histories: &[PodHistory]) {
    let at = failure.at;
    let _ = write!(
        html,
        "<article>\n<h4><a href=\"#\" data-at=\"{at:.3}\">{at:.3} s</a> {}: {}</h4>\n\
         <p>Its connection had answered {} before; {} bytes of the response came.</p>\n",
        failure.kind.name(),
        escape(&failure.detail),
        failure.answered_before,
        failure.bytes_received,
    );
    let history = failure
        .pod
        .as_ref()
        .and_then(|pod| histories.iter().rev().find(|h| h.name == pod.name && h.started <= at));
    match (&failure.pod, history) {
        (Some(pod), Some(history)) => {
            let _ =
                writeln!(html, "<p><i class=\"{}\"></i>{}</p>", pod.phase.name(), escape(&pod.to_string()));
            life(html, history, at);
        }
        (Some(pod), None) => _ = writeln!(html, "<p>{}</p>", escape(&pod.to_string())),
        (None, _) => elsewhere(html, histories, at),
    }
    html.push_str("</article>\n");
}

/// A bar of the pod's phases around the loss, and when each began.
fn life(html: &mut String, history: &PodHistory, at: f64) {
    let from = history.terminating.unwrap_or(at).min(at);
    let to = history.gone.unwrap_or(at).max(at);
    let span = (to - from).max(1.0);
    let (from, to) = (from - 0.25 * span, to + 0.1 * span);
    let percent = |time: f64| ((time - from) / (to - from)).clamp(0.0, 1.0) * 100.0;
    html.push_str("<div class=\"life\">");
    for (phase, begin, end) in history.phases(to) {
        let (left, right) = (percent(begin), percent(end));
        if right - left > 0.1 {
            let _ = write!(
                html,
                "<i class=\"{}\" style=\"left:{left:.1}%;width:{:.1}%\"></i>",
                phase.name(),
                right - left
            );
        }
    }
    let _ = writeln!(html, "<b style=\"left:{:.1}%\"></b></div>", percent(at));
    let gone = match history.end {
        Some(End::Exit(code)) => format!("exited with {code}"),
        Some(End::Killed) => "killed".to_string(),
        Some(End::Crashed) => "exited without SIGTERM".to_string(),
        _ => "gone".to_string(),
    };
    let mut events: Vec<(f64, &str)> = [
        (Some(history.started), "started"),
        (history.ready, "ready"),
        (history.terminating, "began to terminate"),
        (history.left_endpoints, "got no new connections"),
        (Some(at), "lost this request"),
        (history.gone, &gone),
    ]
    .into_iter()
    .filter_map(|(time, what)| Some((time?, what)))
    .collect();
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let events: Vec<String> = events.iter().map(|(time, what)| format!("{what} at {time:.3} s")).collect();
    let _ = writeln!(html, "<p class=\"events\">{}</p>", escape(&events.join(" · ")));
}

/// Where nobody knows which pod it was: those that were not simply ready.
fn elsewhere(html: &mut String, histories: &[PodHistory], at: f64) {
    let changing: Vec<String> = histories
        .iter()
        .map(|history| (history, history.phase_at(at)))
        .filter(|(_, (phase, _))| {
            matches!(phase, PodPhase::Starting | PodPhase::Terminating | PodPhase::Draining)
        })
        .map(|(history, (phase, seconds))| format!("{} {} for {seconds:.3} s", history.name, phase.name()))
        .collect();
    if !changing.is_empty() {
        let _ = writeln!(html, "<p>Its pod is not known; then: {}.</p>", escape(&changing.join(", ")));
    }
}

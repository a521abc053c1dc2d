//! A run as JUnit XML: a test case for each kind of client, and one for the run itself.

use std::fmt::Write;

use super::escape::escape;
use super::summary::Report;
use super::text::{headline, notes};

/// A suite for each run.
pub(crate) fn suites(reports: &[Report]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        suite(&mut xml, report);
    }
    xml + "</testsuites>\n"
}

fn suite(xml: &mut String, report: &Report) {
    let name = escape(&format!("rollout of {}", report.setting.name));
    let observed = &report.observed;
    let failed = observed.tallies.values().filter(|tally| tally.failures() > 0).count();
    let unfinished = !report.finished() || observed.own_fault.is_some() || report.all.ok == 0;
    // Writing to a String cannot fail.
    let _ = writeln!(
        xml,
        "<testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" time=\"{:.3}\">",
        observed.tallies.len() + 1,
        u8::from(unfinished),
        report.loaded.as_secs_f64(),
    );
    let case = |case: &str| format!("<testcase classname=\"{name}\" name=\"{case}\"");
    let _ = match unfinished {
        true => writeln!(
            xml,
            "{}>\n<error message=\"{}\">{}</error>\n</testcase>",
            case("the run is finished"),
            escape(&headline(report)),
            escape(
                &notes(report)
                    .into_iter()
                    .map(|(label, note)| format!("{label} {note}\n"))
                    .collect::<String>()
            ),
        ),
        false => writeln!(xml, "{}/>", case("the run is finished")),
    };
    for (kind, tally) in &observed.tallies {
        let case = case(&format!("{} loses nothing", kind.name()));
        if tally.failures() == 0 {
            let _ = writeln!(xml, "{case}/>");
            continue;
        }
        let message = format!("{} of {} requests were lost", tally.failures(), tally.requests());
        let _ = writeln!(xml, "{case}>\n<failure message=\"{message}\">");
        for failure in observed.failures.iter().filter(|failure| failure.kind == *kind) {
            let pod = failure.pod.as_ref().map(|pod| format!("; {pod}")).unwrap_or_default();
            let _ = writeln!(xml, "at {:.3} s: {}", failure.at, escape(&format!("{}{pod}", failure.detail)));
        }
        xml.push_str("</failure>\n</testcase>\n");
    }
    xml.push_str("</testsuite>\n");
}

//! What Argo Rollouts and Flagger ask of Prometheus, put to a Prometheus: bad pods look bad, good ones good, and the other
//! revision's pods make no difference.

use std::{fmt::Write, fs, path::PathBuf, process::Command};

use manifests::{
    Rendered,
    custom::Custom,
    render::{kustomize, service},
};

/// The questions of one target: their names, and what the controller would send for the new pods `POD-abc-1`.
fn questions(target: &str) -> Vec<(String, String)> {
    let (rendered, name) = (
        Rendered::read(&kustomize(target).expect("the target renders")).expect("its kinds are known"),
        service(),
    );
    let mut all = Vec::new();
    for custom in &rendered.custom {
        match custom {
            Custom::AnalysisTemplate(template) => {
                all.extend(template.spec.metrics.iter().map(|metric| {
                    let query = metric.provider["prometheus"]["query"].as_str().expect("a question is text");
                    let query =
                        query.replace("{{args.namespace}}", "here").replace("{{args.revision}}", "abc");
                    (metric.name.clone(), query)
                }));
            }
            Custom::MetricTemplate(template) => {
                let query = template.spec.query.replace("{{ namespace }}", "here");
                let query = query.replace("{{ target }}", &name).replace("{{ interval }}", "2m");
                let own = template.metadata.name.clone().expect("a template has a name");
                all.push((own.trim_start_matches(&format!("{name}-")).to_owned(), query));
            }
            _ => {}
        }
    }
    all
}

/// A request counter's lines: so many a minute with this status, of one pod, so many of them within half a second.
fn series(text: &mut String, pod: &str, status: &str, each: u32, fast: u32) {
    let labels = format!(
        "job=\"{}\", namespace=\"here\", pod=\"{pod}\", http_response_status_code=\"{status}\"",
        service()
    );
    for (suffix, le, rate) in [("count", "", each), ("bucket", ", le=\"0.5\"", fast)] {
        let metric = format!("http_server_request_duration_seconds_{suffix}{{{labels}{le}}}");
        let _ = writeln!(text, "  - series: '{metric}'\n    values: '0+{rate}x10'");
    }
}

/// What promtool says when a question is expected to have this answer, with what the pods were seen to do.
fn ask(name: &str, query: &str, input: &str, answer: Option<&str>) -> Result<(), String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("questions");
    fs::create_dir_all(&dir).expect("cargo made the directory above");
    let samples = answer.map_or("[]".to_owned(), |value| format!("[{{labels: '{{}}', value: {value}}}]"));
    let one_line = query.split_whitespace().collect::<Vec<_>>().join(" ").replace('\'', "''");
    let test = format!(
        "evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n{input}  promql_expr_test:\n  - expr: '{one_line}'\n    eval_time: 10m\n    exp_samples: {samples}\n"
    );
    let file = dir.join(format!("{name}.yaml"));
    fs::write(&file, test).expect("the directory was just made");
    let output = Command::new("promtool").args(["test", "rules"]).arg(&file).output();
    let output = output.map_err(|e| format!("promtool is needed, `make tools` fetches it ({e})"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

#[test]
fn the_questions_tell_good_pods_from_bad_ones() {
    let name = service();
    for (target, old) in
        [("tests/argo-rollouts", format!("{name}-old-1")), ("tests/flagger", format!("{name}-primary-old-1"))]
    {
        let new = format!("{name}-abc-1");
        let questions = questions(target);
        assert_eq!(questions.len(), 2, "{target}: {questions:?}");
        for (metric, query) in questions {
            let (mut good, mut bad, mut silent) = (String::new(), String::new(), String::new());
            for input in [&mut good, &mut bad, &mut silent] {
                // The old pods fail and are slow, and there are more of them.
                series(input, &old, "500", 600, 0);
            }
            series(&mut good, &new, "200", 60, 60);
            series(&mut bad, &new, "200", 45, 30);
            series(&mut bad, &new, "500", 15, 0);
            let (of_good, of_bad) = if metric == "errors" { ("0", "0.25") } else { ("1", "0.5") };
            for (what, input, answer) in
                [("good", &good, Some(of_good)), ("bad", &bad, Some(of_bad)), ("silent", &silent, None)]
            {
                let asked =
                    ask(&format!("{}-{metric}-{what}", target.replace('/', "-")), &query, input, answer);
                assert_eq!(asked, Ok(()), "{target}: {metric} of {what} pods");
            }
        }
    }
}

//! How log lines look, and the fields of spans in them.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use tracing::{field::Visit, span::Record};
use tracing_serde::SerdeMapVisitor;
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty when stdout is a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Writes a span's fields as a JSON object straight into the span: every request opens one, and tracing-subscriber's
/// own way through a map of values costs as much as the rest of the span.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_str(&json_object(|object| fields.record(object))?)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let more = json_object(|object| fields.record(object))?;
        // One object of two.
        current.fields.pop();
        if current.fields.len() > 1 && more.len() > 2 {
            current.fields.push(',');
        }
        current.fields.push_str(&more[1..]);
        Ok(())
    }
}

fn json_object(record: impl FnOnce(&mut dyn Visit)) -> Result<String, fmt::Error> {
    let mut text = Vec::with_capacity(192);
    let mut json = serde_json::Serializer::new(&mut text);
    let mut object = SerdeMapVisitor::new(json.serialize_map(None).map_err(|_| fmt::Error)?);
    record(&mut object);
    object.finish().map_err(|_| fmt::Error)?;
    String::from_utf8(text).map_err(|_| fmt::Error)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn span_fields_are_json_whatever_is_in_them() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer({
                let written = written.clone();
                move || Shared(written.clone())
            })
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .fmt_fields(SpanFields);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let span = tracing::error_span!(
                "request",
                path = "/\"quoted\"\n",
                count = 3,
                debug = ?Some(1),
                later = tracing::field::Empty
            );
            span.record("later", "recorded");
            span.in_scope(|| tracing::info!("here"));
            tracing::error_span!("empty").in_scope(|| tracing::info!("there"));
            let span = tracing::error_span!("late", later = tracing::field::Empty);
            span.record("later", 1);
            span.record("unknown", 2);
            span.in_scope(|| tracing::info!("and there"));
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["span"]["path"], "/\"quoted\"\n");
        assert_eq!(lines[0]["span"]["count"], 3);
        assert_eq!(lines[0]["span"]["debug"], "Some(1)");
        assert_eq!(lines[0]["span"]["later"], "recorded");
        assert_eq!(lines[1]["message"], "there");
        assert_eq!(lines[2]["span"], serde_json::json!({ "name": "late", "later": 1 }));
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}

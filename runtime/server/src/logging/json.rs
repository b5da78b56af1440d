//! One JSON object per event: `timestamp, level, target, message` and all fields of the event and
//! its spans, flat (configuration.md §9).

use std::{fmt, io::Write};

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

/// Writes events as JSON lines.
pub struct JsonLines<W> {
    writer: W,
}

/// The fields of a span, kept until it closes.
struct Fields(Map<String, Value>);

/// Longest text of one field, in bytes: a log line must not become a way to fill the disk.
const LONGEST_TEXT: usize = 8192;

/// Fields that must never appear, whoever logs them by mistake (configuration.md §9).
const SECRET_NAMES: &[&str] =
    &["password", "secret", "token", "jwt", "authorization", "cookie", "set-cookie", "api_key"];

impl<W> JsonLines<W> {
    pub fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        span.extensions_mut().insert(Fields(fields));
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Fields(fields)) = span.extensions_mut().get_mut() {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Map::new();
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap_or(now);
        line.insert("timestamp".to_owned(), now.format(&Rfc3339).unwrap_or_default().into());
        line.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), Value::String(String::new()));
        // Outermost span first, so that the most specific value of a field wins.
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(fields)) = span.extensions().get() {
                for (name, value) in fields {
                    insert(&mut line, name, value.clone());
                }
            }
        }
        event.record(&mut Collect(&mut line));
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // When nobody reads the log any more, serving goes on.
        let _ = self.writer.make_writer().write_all(text.as_bytes());
    }
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        insert(self.0, field.name(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        insert(self.0, field.name(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        insert(self.0, field.name(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        insert(self.0, field.name(), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        insert(self.0, field.name(), bounded(value).into());
    }
    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        insert(self.0, field.name(), bounded(&text).into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        insert(self.0, field.name(), bounded(&format!("{value:?}")).into());
    }
}

fn insert(line: &mut Map<String, Value>, name: &str, value: Value) {
    // A field of these names would replace what every line has.
    let name = match name.strip_prefix("r#").unwrap_or(name) {
        "timestamp" | "level" | "target" => return,
        name => name,
    };
    let is_secret = SECRET_NAMES.iter().any(|secret| name.eq_ignore_ascii_case(secret));
    line.insert(name.to_owned(), if is_secret { "[redacted]".into() } else { value });
}

fn bounded(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST_TEXT)])
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `body` logs.
    fn logged(body: impl FnOnce()) -> Vec<Map<String, Value>> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLines::new(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, body);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn fields_of_spans_and_event_are_flat() {
        let lines = logged(|| {
            let span = tracing::info_span!("request", request_id = "r1", status = tracing::field::Empty, user_id = 1);
            let _entered = span.enter();
            span.record("status", 200);
            let inner = tracing::info_span!("inner", user_id = 2);
            let _inner = inner.enter();
            tracing::info!(target: "http", duration_ms = 1.5, route = %"/v1/x", "answered {}", 7);
        });
        let line = &lines[0];
        let names: Vec<_> = line.keys().take(4).map(String::as_str).collect();
        assert_eq!(names, ["timestamp", "level", "target", "message"]);
        assert_eq!((line["level"].as_str(), line["target"].as_str()), (Some("info"), Some("http")));
        assert_eq!(line["message"], "answered 7");
        assert_eq!(line["request_id"], "r1");
        assert_eq!(line["status"], 200);
        assert_eq!(line["user_id"], 2);
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["route"], "/v1/x");
        OffsetDateTime::parse(line["timestamp"].as_str().unwrap(), &Rfc3339).unwrap();
    }

    #[test]
    fn errors_come_with_their_causes_and_secrets_do_not_come() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let lines = logged(|| {
            let error = Outer(io::Error::other("inner\nline"));
            tracing::error!(error = &error as &dyn std::error::Error, password = "hunter2", Authorization = %"hunter2", token_id = "t", "no");
            tracing::info!(huge = "ä".repeat(LONGEST_TEXT), "x");
        });
        assert_eq!(lines[0]["error"], "outer: inner\nline");
        assert_eq!(lines[0]["token_id"], "t");
        assert!(!format!("{:?}", lines[0]).contains("hunter2"));
        assert!(lines[1]["huge"].as_str().unwrap().len() <= LONGEST_TEXT + 4);
    }
}

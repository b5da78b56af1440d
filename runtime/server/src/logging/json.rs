//! One JSON object per event: `timestamp, level, target, message` and all fields of the event and
//! its spans, flat (configuration.md §9).

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io::Write as _,
    ops::Range,
};

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
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (mut fields, mut line) = BUFFERS.take();
        fields.clear();
        fields.insert("message", |text| text.extend_from_slice(b"\"\""));
        // Outermost span first, so that the most specific value of a field wins.
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(known) = span.extensions().get::<Fields>() {
                known.iter().for_each(|(name, value)| fields.insert(name, |text| text.extend_from_slice(value)));
            }
        }
        event.record(&mut fields);
        line.clear();
        write_line(&mut line, event.metadata(), &fields);
        // When nobody reads the log any more, serving goes on.
        let _ = self.writer.make_writer().write_all(&line);
        BUFFERS.set((fields, line));
    }
}

thread_local! {
    /// Kept for the next line of this thread: every request logs one. Taken while in use, because a
    /// value's own `Debug` may log, too.
    static BUFFERS: Cell<(Fields, Vec<u8>)> = const { Cell::new((Fields::new(), Vec::new())) };
}

fn write_line(line: &mut Vec<u8>, metadata: &tracing::Metadata<'_>, fields: &Fields) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap_or(now);
    // Fails for years beyond 9999 only.
    let _ = now.format_into(line, &Rfc3339);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend(metadata.level().as_str().bytes().map(|letter| letter.to_ascii_lowercase()));
    line.extend_from_slice(b"\",\"target\":");
    put(line, metadata.target());
    for (name, value) in fields.iter() {
        line.push(b',');
        put(line, name);
        line.push(b':');
        line.extend_from_slice(value);
    }
    line.extend_from_slice(b"}\n");
}

/// Fields in the order in which their names first came, with their values as JSON.
#[derive(Default)]
struct Fields {
    names: Vec<(&'static str, Range<usize>)>,
    text: Vec<u8>,
}

impl Fields {
    const fn new() -> Self {
        Self { names: Vec::new(), text: Vec::new() }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.text.clear();
    }

    fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.names.iter().map(|(name, range)| (*name, &self.text[range.clone()]))
    }

    /// Adds what `write` appends, or puts it in the place of an earlier value of that name.
    fn insert(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        // A field of these names would replace what every line has.
        let name = match name.strip_prefix("r#").unwrap_or(name) {
            "timestamp" | "level" | "target" => return,
            name => name,
        };
        let start = self.text.len();
        if SECRET_NAMES.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            self.text.extend_from_slice(b"\"[redacted]\"");
        } else {
            write(&mut self.text);
        }
        let range = start..self.text.len();
        match self.names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = range,
            None => self.names.push((name, range)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), |text| put(text, &value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), |text| put(text, &value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), |text| put(text, &value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), |text| put(text, &value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field.name(), |text| put_bounded(text, value));
    }
    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            chain = format!("{chain}: {cause}");
            next = cause.source();
        }
        self.record_str(field, &chain);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), |text| {
            let start = text.len();
            text.push(b'"');
            if write!(InsideString(text), "{value:?}").is_err() {
                // A `Debug` that fails leaves half a string.
                text.truncate(start);
                text.extend_from_slice(b"null");
                return;
            }
            text.push(b'"');
            if text.len() - start > LONGEST_TEXT {
                text.truncate(start);
                put_bounded(text, &format!("{value:?}"));
            }
        });
    }
}

/// Appends pieces of text as the inside of a JSON string.
struct InsideString<'a>(&'a mut Vec<u8>);

impl fmt::Write for InsideString<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let start = self.0.len();
        put(self.0, piece);
        self.0.pop();
        self.0.remove(start);
        Ok(())
    }
}

fn put(text: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let start = text.len();
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}

fn put_bounded(text: &mut Vec<u8>, value: &str) {
    if value.len() <= LONGEST_TEXT {
        put(text, value);
    } else {
        put(text, &format!("{}…", &value[..value.floor_char_boundary(LONGEST_TEXT)]));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Map, Value};
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

    #[test]
    fn values_that_run_long_or_fail_still_give_a_line() {
        struct Broken;
        impl fmt::Display for Broken {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        let lines = logged(|| {
            tracing::info!(long = ?"x".repeat(LONGEST_TEXT * 2), broken = %Broken, ratio = f64::NAN, "said \"{}\"", 1);
        });
        assert_eq!(lines[0]["message"], "said \"1\"");
        assert!((LONGEST_TEXT..=LONGEST_TEXT + 4).contains(&lines[0]["long"].as_str().unwrap().len()));
        assert_eq!((&lines[0]["broken"], &lines[0]["ratio"]), (&Value::Null, &Value::Null));
    }
}

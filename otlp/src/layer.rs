//! From `tracing`'s spans to OpenTelemetry's, with the ids that the engine gave them.
//!
//! The attributes of a request's span follow <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use landfall::{telemetry::TracingLayer, trace};
use opentelemetry::{
    Context, InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{SpanContext, SpanKind, Status, TraceContextExt, TraceState},
};
use opentelemetry_sdk::trace::{
    SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, Registry, filter::filter_fn, layer};

/// Where the engine's spans and lines of requests come from.
const ENGINE: &str = "landfall::trace";

/// The methods that are names; `_OTHER` stands for all the rest.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// A layer that hands each span to the processor when it closes, if the sampler wants it.
pub(crate) fn exporting(processor: Arc<dyn SpanProcessor>, sampler: Box<dyn ShouldSample>) -> TracingLayer {
    let wanted = filter_fn(|metadata| match metadata.is_span() {
        true => *metadata.level() <= Level::INFO,
        false => metadata.target() == ENGINE,
    });
    let scope = InstrumentationScope::builder("landfall").build();
    Box::new(
        Exporting { processor, sampler, scope }.with_filter(wanted.with_max_level_hint(LevelFilter::TRACE)),
    )
}

struct Exporting {
    processor: Arc<dyn SpanProcessor>,
    sampler: Box<dyn ShouldSample>,
    scope: InstrumentationScope,
}

/// A span that is open.
struct Open {
    context: SpanContext,
    parent: SpanId,
    parent_is_remote: bool,
    started: SystemTime,
    attributes: Fields,
    response: Option<(SystemTime, Fields)>,
}

#[derive(Default)]
struct Fields(Vec<KeyValue>);

impl Layer<Registry> for Exporting {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: layer::Context<'_, Registry>) {
        let Some(span) = registry.span(id) else { return };
        let mut open = match trace::current().filter(|_| is_request(attributes.metadata())) {
            Some(request) => self.request(request),
            None => {
                let parent = span.parent();
                let parent = parent.as_ref().map(|parent| parent.extensions());
                let parent = parent.as_ref().and_then(|parent| parent.get::<Open>());
                self.part(parent.map(|parent| &parent.context))
            }
        };
        attributes.record(&mut open.attributes);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, registry: layer::Context<'_, Registry>) {
        let Some(span) = registry.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.attributes);
        }
    }

    /// The engine says when a request was responded to, and how.
    fn on_event(&self, event: &Event<'_>, registry: layer::Context<'_, Registry>) {
        let Some(span) = registry.event_span(event).filter(|span| is_request(span.metadata())) else {
            return;
        };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            let mut fields = Fields::default();
            event.record(&mut fields);
            open.response = Some((SystemTime::now(), fields));
        }
    }

    fn on_close(&self, id: Id, registry: layer::Context<'_, Registry>) {
        let Some(span) = registry.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        let Some(open) = open.filter(|open| open.context.is_sampled()) else { return };
        let is_request = is_request(span.metadata());
        let (ended, response) = open.response.unwrap_or_else(|| (SystemTime::now(), Fields::default()));
        let (name, kind, attributes, status) = if is_request {
            let (name, attributes, status) = of_request(&open.attributes, &response);
            (name.into(), SpanKind::Server, attributes, status)
        } else {
            (Cow::Borrowed(span.name()), SpanKind::Internal, open.attributes.0, Status::Unset)
        };
        self.processor.on_end(SpanData {
            span_context: open.context,
            parent_span_id: open.parent,
            parent_span_is_remote: open.parent_is_remote,
            span_kind: kind,
            name,
            start_time: open.started,
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl Exporting {
    /// The span of a request, whose ids the engine has made.
    fn request(&self, request: trace::TraceContext) -> Open {
        let state = trace::tracestate();
        let state = state.as_ref().and_then(|state| state.to_str().ok()?.parse::<TraceState>().ok());
        let state = state.unwrap_or_default();
        let (trace_id, parent) = (TraceId::from(request.trace_id), SpanId::from(request.parent_id));
        let flags = TraceFlags::new(request.flags);
        let is_remote = request.parent_id != 0;
        let caller = is_remote.then(|| SpanContext::new(trace_id, parent, flags, true, state.clone()));
        let flags = flags.with_sampled(self.is_sampled(caller, trace_id, SpanKind::Server));
        trace::set_sampled(flags.is_sampled());
        let context = SpanContext::new(trace_id, request.span_id.into(), flags, false, state);
        Open::new(context, parent, is_remote)
    }

    /// A span inside of a request, or of work that no request asked for.
    fn part(&self, parent: Option<&SpanContext>) -> Open {
        let span_id = fastrand::u64(1..).into();
        let (trace_id, flags, state, parent) = match parent {
            Some(parent) => {
                (parent.trace_id(), parent.trace_flags(), parent.trace_state().clone(), parent.span_id())
            }
            None => {
                let trace_id = TraceId::from(fastrand::u128(1..));
                let sampled = self.is_sampled(None, trace_id, SpanKind::Internal);
                (
                    trace_id,
                    TraceFlags::default().with_sampled(sampled),
                    TraceState::default(),
                    SpanId::INVALID,
                )
            }
        };
        Open::new(SpanContext::new(trace_id, span_id, flags, false, state), parent, false)
    }

    fn is_sampled(&self, caller: Option<SpanContext>, trace_id: TraceId, kind: SpanKind) -> bool {
        let parent = caller.map(|caller| Context::new().with_remote_span_context(caller));
        let result = self.sampler.should_sample(parent.as_ref(), trace_id, "", &kind, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

impl Open {
    fn new(context: SpanContext, parent: SpanId, parent_is_remote: bool) -> Self {
        let started = SystemTime::now();
        Self { context, parent, parent_is_remote, started, attributes: Fields::default(), response: None }
    }
}

fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.target() == ENGINE && metadata.name() == "request"
}

/// Name, attributes and status of a request's span; one without a response was left by its caller.
fn of_request(request: &Fields, response: &Fields) -> (String, Vec<KeyValue>, Status) {
    let method = request.text("method");
    let known = METHODS.into_iter().find(|known| *known == method);
    let route = Some(response.text("route")).filter(|route| route.starts_with('/'));
    let mut attributes = vec![
        KeyValue::new("http.request.method", known.unwrap_or("_OTHER")),
        KeyValue::new("url.path", request.text("path").into_owned()),
        KeyValue::new("url.scheme", "http"),
    ];
    if known.is_none() {
        attributes.push(KeyValue::new("http.request.method_original", method.clone().into_owned()));
    }
    if let Some(route) = &route {
        attributes.push(KeyValue::new("http.route", route.clone().into_owned()));
    }
    let status = match response.get("status") {
        Some(Value::I64(status)) => {
            attributes.push(KeyValue::new("http.response.status_code", *status));
            (*status >= 500).then(|| status.to_string())
        }
        _ => Some("cancelled".to_owned()),
    };
    let error = status.is_some();
    attributes.extend(status.map(|kind| KeyValue::new("error.type", kind)));
    let method = known.unwrap_or("HTTP");
    let name = route.map_or(method.to_owned(), |route| format!("{method} {route}"));
    (name, attributes, if error { Status::error("") } else { Status::Unset })
}

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|field| field.key.as_str() == name).map(|field| &field.value)
    }

    fn text(&self, name: &str) -> Cow<'_, str> {
        self.get(name).map(Value::as_str).unwrap_or_default()
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

//! A subscriber that asks for a span just before something would show that it is not there.

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_core::span::Current;

/// Has `open` called before each event, and before each span that is made, entered or asked for: what nobody logs in
/// needs no span. What opens it finds no subscriber where one is in force for a thread or a block alone.
pub(crate) struct OnDemand<S> {
    pub(crate) inner: S,
    pub(crate) open: fn(),
}

impl<S: Subscriber> Subscriber for OnDemand<S> {
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        (self.open)();
        self.inner.new_span(span)
    }

    fn event(&self, event: &Event<'_>) {
        (self.open)();
        self.inner.event(event);
    }

    fn enter(&self, span: &Id) {
        (self.open)();
        self.inner.enter(span);
    }

    fn current_span(&self) -> Current {
        (self.open)();
        self.inner.current_span()
    }

    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.inner.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.inner.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.inner.max_level_hint()
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.inner.event_enabled(event)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn exit(&self, span: &Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.inner.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.inner.try_close(span)
    }
}

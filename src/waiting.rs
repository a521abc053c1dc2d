//! How long a request waits for its turn: from the moment its connection had something to do until it does it.

use std::{
    cell::Cell,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

thread_local! {
    static READY_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static ANSWERED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Since when what runs on this thread right now could have run.
pub(crate) fn ready_since() -> Instant {
    READY_SINCE.get().unwrap_or_else(Instant::now)
}

/// What runs on this thread has just answered a request.
pub(crate) fn answered(now: Instant) {
    ANSWERED.set(Some(now));
}

/// When what runs on this thread last answered a request in its present turn, else now: to ask the clock costs as much as a
/// dozen atomic operations.
pub(crate) fn last_answered() -> Instant {
    ANSWERED.get().unwrap_or_else(Instant::now)
}

pin_project! {
    /// A task of its own that knows since when it could have run.
    pub(crate) struct Timed<F> {
        #[pin]
        future: F,
        wakes: Arc<Wakes>,
        waker: Waker,
    }
}

impl<F> Timed<F> {
    /// This future, which could run from now on.
    pub(crate) fn new(future: F) -> Self {
        let wakes =
            Arc::new(Wakes { created: ready_since(), first: AtomicU64::new(0), task: OnceLock::new() });
        Self { future, waker: wakes.clone().into(), wakes }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A task has the same waker all its life.
        this.wakes.task.get_or_init(|| cx.waker().clone());
        let first = this.wakes.first.swap(NEVER, Relaxed);
        ANSWERED.set(None);
        READY_SINCE.set((first != NEVER).then(|| this.wakes.created + Duration::from_nanos(first)));
        let polled = this.future.poll(&mut Context::from_waker(this.waker));
        READY_SINCE.set(None);
        polled
    }
}

/// No wake since the last turn.
const NEVER: u64 = u64::MAX;

/// Notes when the task is woken, and wakes it.
struct Wakes {
    created: Instant,
    /// The first wake since the last turn, in nanoseconds after the creation.
    first: AtomicU64,
    task: OnceLock<Waker>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.first.load(Relaxed) == NEVER {
            self.first.store(self.created.elapsed().as_nanos() as u64, Relaxed);
        }
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

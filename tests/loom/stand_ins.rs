//! What stands in for the crates that the tested files use: what makes threads wait is made of loom's parts, the rest
//! does nothing.

/// `tokio::sync` and `tokio_util::sync`, and what the engine takes from `std::sync`.
pub mod sync {
    pub use loom::sync::{Mutex, MutexGuard, atomic};
    use std::{
        pin::Pin,
        sync::Arc,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    /// loom's, with the methods that it lacks. Nothing times out.
    #[derive(Debug, Default)]
    pub struct Condvar(loom::sync::Condvar);

    type Locked<'a, T> = Result<MutexGuard<'a, T>, std::sync::PoisonError<MutexGuard<'a, T>>>;

    impl Condvar {
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }

        pub fn wait_while<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            mut waits: impl FnMut(&mut T) -> bool,
        ) -> Locked<'a, T> {
            while waits(&mut guard) {
                guard = self.0.wait(guard)?;
            }
            Ok(guard)
        }

        pub fn wait_timeout_while<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _limit: Duration,
            waits: impl FnMut(&mut T) -> bool,
        ) -> Result<(MutexGuard<'a, T>, ()), std::sync::PoisonError<MutexGuard<'a, T>>> {
            self.wait_while(guard, waits).map(|guard| (guard, ()))
        }
    }

    /// Only what wakes all that wait.
    #[derive(Debug, Default)]
    pub struct Notify(Mutex<(u64, Vec<Waker>)>);

    impl Notify {
        pub fn notify_waiters(&self) {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            state.1.drain(..).for_each(Waker::wake);
        }

        pub fn notified_owned(self: Arc<Self>) -> futures::OwnedNotified {
            let since = self.0.lock().unwrap().0;
            futures::OwnedNotified { notify: self, since }
        }
    }

    pub mod futures {
        use super::{Arc, Context, Notify, Pin, Poll};

        #[derive(Debug)]
        pub struct OwnedNotified {
            pub(super) notify: Arc<Notify>,
            pub(super) since: u64,
        }

        impl Future for OwnedNotified {
            type Output = ();

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                let mut state = self.notify.0.lock().unwrap();
                if state.0 > self.since {
                    return Poll::Ready(());
                }
                state.1.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    #[derive(Debug, Clone, Default)]
    pub struct CancellationToken(Arc<Mutex<(bool, Vec<Waker>)>>);

    pub struct WaitForCancellationFutureOwned(CancellationToken);

    impl CancellationToken {
        pub fn new() -> Self {
            Self::default()
        }

        pub fn cancel(&self) {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.drain(..).for_each(Waker::wake);
        }

        pub fn cancelled_owned(self) -> WaitForCancellationFutureOwned {
            WaitForCancellationFutureOwned(self)
        }
    }

    impl Future for WaitForCancellationFutureOwned {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let mut state = self.0.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        }
    }
}

/// `tokio_util::task`.
pub mod task {
    #[derive(Debug)]
    pub struct TaskTracker;

    impl TaskTracker {
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self
        }

        pub fn token(&self) -> task_tracker::TaskTrackerToken {
            task_tracker::TaskTrackerToken
        }

        pub fn spawn(&self, _task: impl Future) {}
    }

    pub mod task_tracker {
        pub struct TaskTrackerToken;
    }
}

/// `tokio::select!`, in what is never run.
#[macro_export]
macro_rules! select {
    (() = $one:ident => {} () = $other:ident => {}) => {
        let _ = ($one, $other);
    };
}

/// `prometheus::IntCounter`, which is not looked at.
#[derive(Debug, Clone)]
pub struct IntCounter;

impl IntCounter {
    pub fn inc(&self) {}

    pub fn get(&self) -> u64 {
        0
    }
}

/// The engine's own.
pub(crate) mod metrics {
    pub(crate) struct Metrics;

    pub(crate) struct IntGauge;

    impl IntGauge {
        pub(crate) fn set(&self, _: i64) {}
    }

    impl Metrics {
        pub(crate) fn counters(&self, _: &str, _: &str, _: &str, values: &[&str]) -> Vec<super::IntCounter> {
            values.iter().map(|_| super::IntCounter).collect()
        }

        pub(crate) fn gauges(&self, _: &str, _: &str, _: &str, values: &[&str]) -> Vec<IntGauge> {
            values.iter().map(|_| IntGauge).collect()
        }

        pub(crate) fn on_scrape(&self, _: impl Fn() + Send + 'static) {}
    }
}

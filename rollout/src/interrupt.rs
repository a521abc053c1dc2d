//! Ctrl-C and SIGTERM: the run ends early, and prints what it has.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::unable::{OrUnable, Unable};

/// Tells, to any number of listeners, that the run was asked to end.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Returns once the run was asked to end.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Awaits what comes before the load; there is nothing to print yet when it is asked to end.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T, Unable>>) -> Result<T, Unable> {
        tokio::select! {
            done = work => done,
            () = self.asked() => Err(Unable("ended before there was any load".into())),
        }
    }

    /// Says whether the run was asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Starts to listen for SIGINT and SIGTERM.
pub(crate) fn listen() -> Result<Interrupt, Unable> {
    let mut int = signal(SignalKind::interrupt()).or_unable("listening for SIGINT")?;
    let mut term = signal(SignalKind::terminate()).or_unable("listening for SIGTERM")?;
    let (asked, listener) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        asked.send_replace(true);
        asked.closed().await;
    });
    Ok(Interrupt(listener))
}

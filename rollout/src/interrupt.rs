//! Ctrl-C and SIGTERM: the run ends early, and prints what it has.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::unable::{OrUnable, Unable};

/// SIGINT or SIGTERM, received or not; any number may await it.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Returns once a signal was received.
    pub(crate) async fn interrupted(&mut self) {
        if self.0.wait_for(|received| *received).await.is_err() {
            std::future::pending().await
        }
    }

    /// Awaits what comes before the load; there is nothing to print yet when a signal comes.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T, Unable>>) -> Result<T, Unable> {
        tokio::select! {
            done = work => done,
            () = self.interrupted() => Err(Unable("ended before there was any load".into())),
        }
    }

    /// Says whether a signal was received.
    pub(crate) fn is_interrupted(&self) -> bool {
        *self.0.borrow()
    }
}

/// Starts to listen for SIGINT and SIGTERM.
pub(crate) fn listen() -> Result<Interrupt, Unable> {
    let mut int = signal(SignalKind::interrupt()).or_unable("listening for SIGINT")?;
    let mut term = signal(SignalKind::terminate()).or_unable("listening for SIGTERM")?;
    let (received, listener) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        received.send_replace(true);
        received.closed().await;
    });
    Ok(Interrupt(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_from_when_it_came() {
        let (received, listener) = watch::channel(false);
        let interrupt = Interrupt(listener);
        assert!(!interrupt.is_interrupted());
        received.send_replace(true);
        assert!(interrupt.is_interrupted());
    }
}

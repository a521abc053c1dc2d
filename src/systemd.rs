//! What systemd hands over and wants to hear: listening sockets, readiness, signs of life.

use std::{env, io, net::TcpListener, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::sleep;
use tracing::warn;

use crate::{
    health::{Endpoint, Health},
    lifecycle::{Lifecycle, Phase},
};

/// The listeners of the service's port and of the admin port, in the order of the socket unit, where there are any.
pub(crate) fn listeners() -> io::Result<[Option<TcpListener>; 2]> {
    let mut sockets = ListenFd::from_env();
    Ok([sockets.take_tcp_listener(0)?, sockets.take_tcp_listener(1)?])
}

/// Says once that it is ready and once that it stops, and that it is alive as often as systemd wants to hear it.
pub(crate) async fn notify(health: Health, lifecycle: Lifecycle) {
    const AGAIN: Duration = Duration::from_millis(100);
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let alive = async {
        let interval = sd_notify::watchdog_enabled().map(|limit| limit / 4);
        while !health.passes(Endpoint::Readyz) && lifecycle.phase() < Phase::Draining {
            sleep(AGAIN).await;
        }
        if lifecycle.phase() < Phase::Draining {
            say(NotifyState::Ready);
        }
        while let Some(interval) = interval {
            if health.passes(Endpoint::Livez) {
                say(NotifyState::Watchdog);
            }
            sleep(interval).await;
        }
    };
    let stopping = async {
        lifecycle.reached(Phase::Draining).await;
        say(NotifyState::Stopping);
    };
    tokio::join!(alive, stopping);
}

fn say(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd can't be told");
    }
}

//! A script under load: what `local` and `cluster` have in common.

use std::time::Duration;

use crate::args;
use crate::clients::{client::Context, load::Load};
use crate::interrupt::Interrupt;
use crate::record::recorder::Observations;
use crate::unable::Unable;

/// What was seen while the script ran.
pub(crate) struct Session {
    pub(crate) observed: Observations,
    pub(crate) loaded: Duration,
    pub(crate) ending: Ending,
}

/// How the script came to its end.
pub(crate) enum Ending {
    Finished,
    Interrupted,
    Failed(Unable),
}

/// Runs the clients for as long as the script takes, or until it is interrupted.
pub(crate) async fn under_load(
    load: &args::Load,
    idle: (Duration, Duration),
    context: &Context,
    interrupt: &mut Interrupt,
    script: impl Future<Output = Result<(), Unable>>,
) -> Result<Session, Unable> {
    let recorder = &context.recorder;
    let began = recorder.elapsed();
    let clients = Load::start(&load.mix(), idle, load.h2_streams, context);
    let ending = tokio::select! {
        ended = script => match ended {
            Ok(()) => Ending::Finished,
            Err(unable) => Ending::Failed(unable),
        },
        () = interrupt.interrupted() => Ending::Interrupted,
    };
    let loaded = recorder.elapsed() - began;
    if matches!(ending, Ending::Finished) {
        clients.stop().await?;
    }
    // Before anything is ended by force: what that breaks is not the servers' doing.
    let observed = recorder.observations();
    Ok(Session { observed, loaded, ending })
}

//! A script under load: what `local` and `cluster` have in common.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clients::client::Context;
use crate::clients::load::{Clients, Load};
use crate::interrupt::Interrupt;
use crate::record::recorder::Observations;
use crate::unable::Unable;

/// For a library's first response, beyond the pause before it.
const BEGUN: Duration = Duration::from_secs(60);

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
    clients: &Clients,
    context: &Context,
    interrupt: &mut Interrupt,
    script: impl Future<Output = Result<(), Unable>>,
) -> Result<Session, Unable> {
    let recorder = &context.recorder;
    let began = recorder.elapsed();
    let load = Load::start(clients, context);
    let script = async {
        begun(clients, context).await?;
        script.await
    };
    let ending = tokio::select! {
        ended = script => match ended {
            Ok(()) => Ending::Finished,
            Err(unable) => Ending::Failed(unable),
        },
        () = interrupt.interrupted() => Ending::Interrupted,
    };
    let loaded = recorder.elapsed() - began;
    if matches!(ending, Ending::Finished) {
        load.stop().await?;
    }
    // Before anything is ended by force: what that breaks is not the servers' doing.
    let observed = recorder.observations();
    Ok(Session { observed, loaded, ending })
}

/// Waits until each library has its first response: some take seconds to start.
async fn begun(clients: &Clients, context: &Context) -> Result<(), Unable> {
    let deadline = Instant::now() + clients.idle.1 + BEGUN;
    for library in &clients.libraries {
        while !context.recorder.has(library.kind) {
            if Instant::now() > deadline {
                return Err(Unable(format!("{} has sent nothing yet", library.kind.name())));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

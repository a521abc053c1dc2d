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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use tokio::time::timeout;

    use super::*;
    use crate::args::{Args, Command};
    use crate::clients::library::{self, Library};
    use crate::clients::mix::{self, Mix};
    use crate::interrupt;
    use crate::record::kind::Kind;
    use crate::record::recorder::Recorder;

    fn context() -> Context {
        let args = ["rollout", "drive", "--url", "http://127.0.0.1:1", "--", "true"];
        let Command::Drive(drive) = Args::parse_from(args).command else { panic!("it is `drive`") };
        Context {
            target: Arc::new(drive.load.target()),
            recorder: Arc::new(Recorder::start()),
            connections: None,
        }
    }

    fn clients(libraries: Vec<Library>) -> Clients {
        // No look at the clock is at the deadline.
        let longest = 2 * BEGUN + Duration::from_nanos(1);
        Clients { mix: Mix(vec![]), idle: (BEGUN, longest), h2_streams: 1, libraries }
    }

    /// A library whose program is never run.
    fn library() -> Library {
        let mix = mix::parse("busy=1").unwrap();
        let found = library::find(&["sh".into()], "/bin".as_ref(), &mix, (BEGUN, BEGUN));
        found.unwrap().remove(0)
    }

    #[tokio::test]
    async fn the_time_of_the_load_is_that_of_the_script() {
        let (context, mut interrupt) = (context(), interrupt::listen().unwrap());
        sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let script = async {
            sleep(Duration::from_millis(10)).await;
            Ok(())
        };
        let session = under_load(&clients(vec![]), &context, &mut interrupt, script).await;
        let loaded = session.unwrap().loaded;
        assert!(loaded >= Duration::from_millis(10) && loaded <= began.elapsed(), "{loaded:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_library_is_waited_for_until_it_has_sent_but_not_for_ever() {
        let (context, library) = (context(), library());
        let (kind, name, clients) = (library.kind, library.kind.name(), clients(vec![library]));
        // As long as the idle ones are silent, and longer.
        assert!(timeout(2 * BEGUN, begun(&clients, &context)).await.is_err());
        let unable = timeout(4 * BEGUN, begun(&clients, &context)).await.unwrap().unwrap_err();
        assert_eq!(unable.0, format!("{name} has sent nothing yet"));
        context.recorder.answered(Kind::Busy, 200, Duration::ZERO);
        assert!(timeout(BEGUN, begun(&clients, &context)).await.is_err());
        context.recorder.answered(kind, 200, Duration::ZERO);
        assert!(timeout(Duration::ZERO, begun(&clients, &context)).await.unwrap().is_ok());
    }
}

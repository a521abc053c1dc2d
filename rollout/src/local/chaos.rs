//! What else happens on a cluster: evictions, scaling, clients that vanish, processes that stall.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::balancer::Balancer;
use super::deployment::DeploymentCommand;
use super::timings::Timings;

/// Chaos at work.
pub(crate) struct Chaos {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

/// Begins to disturb: about five times in each drain delay, something at random.
pub(crate) fn begin(
    orders: mpsc::UnboundedSender<DeploymentCommand>,
    balancer: Arc<Balancer>,
    timings: Arc<Timings>,
) -> Chaos {
    let (stop, mut stopped) = watch::channel(false);
    let running = tokio::spawn(async move {
        let mut scaled_down = false;
        loop {
            tokio::select! {
                () = sleep(timings.drain_delay.mul_f64(0.4 * fastrand::f64())) => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            let order = match fastrand::u8(..10) {
                0 => DeploymentCommand::Evict,
                1 if timings.replicas > 1 => {
                    scaled_down = !scaled_down;
                    DeploymentCommand::Scale(timings.replicas - u32::from(scaled_down))
                }
                2 | 3 => DeploymentCommand::Freeze(stall(&timings)),
                _ => {
                    balancer.kill_one();
                    continue;
                }
            };
            // A Deployment that has failed ends the run itself.
            let _ = orders.send(order);
        }
        let _ = orders.send(DeploymentCommand::Scale(timings.replicas));
    });
    Chaos { stop, running }
}

impl Chaos {
    /// Ends the disturbance, with the wanted number of pods as it was.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        let _ = self.running.await;
    }
}

/// Short enough that neither a probe nor a patient client gives up.
fn stall(timings: &Timings) -> Duration {
    let longest = (timings.drain_delay / 4).min(Duration::from_millis(800));
    longest.mul_f64(fastrand::f64())
}

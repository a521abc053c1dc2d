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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::pods::Pods;

    /// The first 200 orders, and the last after the end.
    async fn orders(timings: Timings) -> (Vec<DeploymentCommand>, Option<DeploymentCommand>) {
        let pods = Arc::new(Pods::new(std::time::Instant::now()));
        let balancer = Balancer::start(([127, 0, 0, 1], 0).into(), Duration::ZERO, pods).await.unwrap();
        let (sender, mut received) = mpsc::unbounded_channel();
        let chaos = begin(sender, Arc::new(balancer), Arc::new(timings));
        let mut orders = Vec::new();
        while orders.len() < 200 {
            orders.push(received.recv().await.unwrap());
        }
        chaos.end().await;
        let mut last = None;
        while let Ok(order) = received.try_recv() {
            last = Some(order);
        }
        assert!(received.is_closed(), "it goes on after its end");
        (orders, last)
    }

    #[tokio::test(start_paused = true)]
    async fn chaos_evicts_and_freezes_and_scales_by_one_and_back() {
        let drain_delay = Duration::from_millis(400);
        let (orders, last) = orders(Timings { replicas: 3, drain_delay, ..Timings::default() }).await;
        let mut freezes = Vec::new();
        let mut scales = Vec::new();
        for order in &orders {
            match order {
                DeploymentCommand::Freeze(length) => freezes.push(*length),
                DeploymentCommand::Scale(replicas) => scales.push(*replicas),
                _ => {}
            }
        }
        let evictions = orders.iter().filter(|order| matches!(order, DeploymentCommand::Evict)).count();
        assert!(evictions > 0 && freezes.len() > 1 && scales.len() > 1, "{orders:?}");
        let longest = freezes.iter().max().unwrap();
        assert!(!longest.is_zero() && *longest <= drain_delay / 4, "{longest:?}");
        let turns = [2, 3].into_iter().cycle();
        assert!(scales.iter().copied().eq(turns.take(scales.len())), "{scales:?}");
        assert!(matches!(last, Some(DeploymentCommand::Scale(3))), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_only_pod_is_not_scaled_away() {
        let (orders, last) = orders(Timings { replicas: 1, ..Timings::default() }).await;
        assert!(orders.iter().all(|order| !matches!(order, DeploymentCommand::Scale(_))), "{orders:?}");
        assert!(matches!(last, Some(DeploymentCommand::Scale(1))), "{last:?}");
    }
}

//! What the controller decides, from pods that are only what it knows of them.

use super::*;

/// A pod's revision, whether it is ready, and whether it terminates.
type Known = (u32, bool, bool);

const OLD: Known = (0, true, false);
const NEW: Known = (1, true, false);
const STARTING: Known = (1, false, false);
const ENDING: Known = (1, true, true);

/// In the middle of its first restart, with three pods wanted.
async fn controller(known: &[Known]) -> Controller {
    let pods = Arc::new(Pods::new(std::time::Instant::now()));
    let balancer = Balancer::start(([127, 0, 0, 1], 0).into(), Duration::ZERO, pods.clone()).await.unwrap();
    let deployment = Deployment {
        program: Program { path: "/".into(), arguments: vec![], environment: vec![], logs: None },
        timings: Arc::new(Timings::default()),
        network: Network::pick().unwrap(),
        balancer: Arc::new(balancer),
        pods,
    };
    let member = |(id, &(revision, ready, terminating)): (u32, &Known)| Member {
        id,
        revision,
        ready_since: ready.then(Instant::now),
        terminating,
        started: Instant::now(),
        admin: ([127, 0, 0, 1], 1).into(),
        commands: mpsc::unbounded_channel().0,
    };
    Controller {
        deployment,
        replicas: 3,
        revision: 1,
        members: (0..).zip(known).map(member).collect(),
        tasks: JoinSet::new(),
        events: mpsc::unbounded_channel().0,
        next: 100,
    }
}

/// Those that stay, in their order.
fn staying(controller: &Controller) -> Vec<u32> {
    controller.staying().map(|member| member.id).collect()
}

async fn reconciled(known: &[Known], replicas: u32) -> Vec<u32> {
    let mut controller = controller(known).await;
    controller.replicas = replicas;
    controller.reconcile().unwrap();
    staying(&controller)
}

#[tokio::test]
async fn an_old_pod_ends_for_each_new_one_and_at_once_while_it_is_not_ready() {
    assert_eq!(reconciled(&[NEW, OLD, OLD, OLD], 3).await, [0, 2, 3]);
    assert_eq!(reconciled(&[STARTING, OLD, OLD, OLD], 3).await, [0, 1, 2, 3]);
    assert_eq!(reconciled(&[STARTING, OLD, OLD, (0, false, false)], 3).await, [0, 1, 2]);
    assert_eq!(reconciled(&[ENDING, NEW, OLD, OLD], 3).await, [1, 2, 3, 101]);
}

#[tokio::test]
async fn a_scale_down_ends_as_many_as_are_too_many() {
    assert_eq!(reconciled(&[ENDING, NEW, NEW, NEW], 2).await, [2, 3]);
    assert_eq!(reconciled(&[OLD, NEW, NEW, NEW, NEW], 3).await, [2, 3, 4]);
    assert_eq!(reconciled(&[NEW, NEW], 3).await, [0, 1, 101]);
}

#[tokio::test]
async fn a_pod_that_is_not_ready_in_time_fails_the_run() {
    let mut controller = controller(&[NEW, NEW, STARTING]).await;
    let began = Instant::now();
    controller.members[2].started = began - PROGRESS_DEADLINE / 2;
    assert!(controller.overdue().is_ok_and(|at| at > began));
    controller.members[2].started = began - PROGRESS_DEADLINE - Duration::from_secs(1);
    assert_eq!(controller.overdue().unwrap_err().0, "pod-2 is not ready after 60 s");
    controller.members[2].ready_since = Some(began);
    assert!(controller.overdue().is_ok());
}

#[tokio::test]
async fn an_eviction_is_granted_while_every_pod_is_available() {
    for (known, ended) in
        [([NEW, NEW, NEW], 1), ([NEW, NEW, STARTING], 0), ([NEW, ENDING, NEW], 0), ([NEW, OLD, NEW], 1)]
    {
        let mut controller = controller(&known).await;
        let before = staying(&controller).len();
        controller.execute(DeploymentCommand::Evict);
        assert_eq!(before - staying(&controller).len(), ended, "{known:?}");
    }
}

#[tokio::test]
async fn only_a_ready_pod_that_stays_is_disturbed() {
    assert!(controller(&[STARTING, ENDING, (1, false, true)]).await.any_ready().is_none());
    for _ in 0..20 {
        let mut controller = controller(&[STARTING, ENDING, OLD, (1, false, true)]).await;
        assert_eq!(controller.any_ready().map(|member| member.id), Some(2));
    }
}

#[tokio::test]
async fn a_pod_that_ends_by_itself_before_it_was_ready_fails_the_run() {
    for (known, fails) in [(STARTING, true), (NEW, false), (ENDING, false), ((1, false, true), false)] {
        let mut controller = controller(&[known]).await;
        let gone = PodEvent::Gone { why: Some("it crashed".into()) };
        assert_eq!(controller.handle(0, gone).is_err(), fails, "{known:?}");
        assert!(controller.members.is_empty());
    }
}

#[tokio::test]
async fn a_revision_is_complete_with_nothing_but_its_pods_and_each_of_them_available() {
    for (known, ready, complete) in [
        (&[NEW, NEW, NEW][..], 3, true),
        (&[NEW, NEW, OLD], 3, false),
        (&[NEW, NEW, STARTING], 2, false),
        (&[NEW, NEW, ENDING], 2, false),
        (&[NEW, NEW], 2, false),
        (&[NEW, NEW, NEW, ENDING], 3, false),
        (&[NEW, NEW, NEW, NEW], 4, false),
    ] {
        let terminating = known.iter().filter(|(_, _, terminating)| *terminating).count();
        let status = Status { revision: 1, ready, terminating, complete };
        assert_eq!(controller(known).await.status(), status, "{known:?}");
    }
    let mut controller = controller(&[NEW, NEW, NEW]).await;
    controller.deployment.timings =
        Arc::new(Timings { min_ready: Duration::from_secs(3600), ..Timings::default() });
    assert!(!controller.status().complete);
}

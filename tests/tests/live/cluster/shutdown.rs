//! Members that shut down: what they do for others ends before they are removed.

use std::sync::mpsc::{Receiver, channel};

use futures_channel::oneshot;
use ringmesh::cluster::{Status, StopReason};
use ringmesh::shutdown::{ShutdownReason, phase};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::node::LiveNode;

use super::{cluster_of, of, until_up, watchful};

/// Has a node say the phase whenever one of these begins.
fn spy(node: &LiveNode, phases: &[&'static str]) -> Receiver<&'static str> {
    let (said, heard) = channel();
    let phases = phases.to_vec();
    node.run(move |node| async move {
        for phase in phases {
            let said = said.clone();
            let task = move |_| async move { said.send(phase) };
            let added = node.coordinated_shutdown().add_task(phase, "spy", task);
            added.expect("room");
        }
    });
    heard
}

#[test]
fn a_member_is_not_removed_before_its_last_work_is_done() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let [stays, goes] = &nodes[..] else {
        panic!("two nodes");
    };
    let heard = spy(goes, &[phase::SERVICE_UNBIND, phase::CLUSTER_SHUTDOWN]);
    let (finish, finished) = oneshot::channel::<()>();
    let (began, begun) = channel();
    goes.run(move |node| async move {
        let work = move |_| async move {
            began.send(()).map_err(|error| error.to_string())?;
            finished.await.map_err(|error| error.to_string())
        };
        let shutdown = node.coordinated_shutdown();
        let added = shutdown.add_task(phase::CLUSTER_EXITING, "hand-over", work);
        added.expect("room");
        node.shutdown();
    });
    begun.recv_timeout(WAIT).expect("it exits");
    assert_eq!(heard.try_recv(), Ok(phase::SERVICE_UNBIND));
    let uid = goes.id().uid;
    stays.until_so("it exits", move |node| {
        let state = of(node).state();
        state.member(uid).map(|it| it.status()) == Some(Status::Exiting)
    });
    assert!(heard.try_recv().is_err(), "its work is not done");
    finish.send(()).expect("it waits for that");
    until_up(stays, 1);
    goes.run(|node| async move {
        node.until_shutdown().await;
        assert_eq!(of(&node).end(), Some(StopReason::Left));
        assert_eq!(node.coordinated_shutdown().exit_code(), 0);
    });
    assert_eq!(heard.try_recv(), Ok(phase::CLUSTER_SHUTDOWN));
}

#[test]
fn a_member_that_another_has_leave_shuts_down() {
    let nodes = cluster_of(2, &watchful(), |builder| builder);
    let [stays, goes] = &nodes[..] else {
        panic!("two nodes");
    };
    let heard = spy(goes, &[phase::SERVICE_UNBIND, phase::NODE_STOP]);
    let address = goes.address().clone();
    let told = stays.run(move |node| async move { of(&node).have_leave(address).await });
    told.expect("it is a member");
    goes.run(|node| async move {
        node.until_shutdown().await;
        let shutdown = node.coordinated_shutdown();
        assert_eq!(shutdown.reason(), Some(ShutdownReason::Leaving));
        assert_eq!(of(&node).end(), Some(StopReason::Left));
    });
    let phases: Vec<_> = heard.try_iter().collect();
    assert_eq!(phases, [phase::SERVICE_UNBIND, phase::NODE_STOP]);
    until_up(stays, 1);
}

#[test]
fn a_member_that_was_given_up_does_not_serve_to_the_end() {
    let nodes = cluster_of(2, &watchful(), |builder| builder);
    let [stays, goes] = &nodes[..] else {
        panic!("two nodes");
    };
    let phases = [
        phase::SERVICE_UNBIND,
        phase::CLUSTER_LEAVE,
        phase::CLUSTER_SHUTDOWN,
        phase::NODE_STOP,
    ];
    let heard = spy(goes, &phases);
    let address = goes.address().clone();
    let told = stays.run(move |node| async move { of(&node).down(address).await });
    told.expect("it is a member");
    goes.run(|node| async move {
        node.until_shutdown().await;
        let shutdown = node.coordinated_shutdown();
        assert_eq!(shutdown.reason(), Some(ShutdownReason::Downed));
        assert_eq!(shutdown.exit_code(), 3);
    });
    let phases: Vec<_> = heard.try_iter().collect();
    assert_eq!(phases, [phase::CLUSTER_SHUTDOWN, phase::NODE_STOP]);
    until_up(stays, 1);
}

#[test]
fn a_search_for_a_cluster_ends_with_the_shutdown() {
    // Nobody is there.
    let mut settings = watchful();
    settings.seeds = Some(vec!["ringmesh://tests@127.0.0.1:9".parse().expect("one")]);
    let node = LiveNode::start_with(|builder| builder.cluster(settings));
    let heard = spy(&node, &[phase::SERVICE_UNBIND, phase::NODE_STOP]);
    node.run(|node| async move {
        node.shutdown();
        node.until_shutdown().await;
        assert_eq!(of(&node).end(), Some(StopReason::Left));
        assert!(of(&node).join(Vec::new()).await.is_err());
    });
    let phases: Vec<_> = heard.try_iter().collect();
    assert_eq!(phases, [phase::SERVICE_UNBIND, phase::NODE_STOP]);
}

#[test]
fn a_signal_runs_all_phases_of_a_member_that_would_not_for_its_leaving_alone() {
    let nodes = cluster_of(2, &watchful(), |builder| {
        builder.settings(|it| it.shutdown.on_leaving = false)
    });
    let [stays, goes] = &nodes[..] else {
        panic!("two nodes");
    };
    let phases = [
        phase::CLUSTER_EXITING,
        phase::BEFORE_NODE_STOP,
        phase::NODE_STOP,
    ];
    let heard = spy(goes, &phases);
    goes.run(|node| async move {
        node.shutdown();
        node.until_shutdown().await;
    });
    let ran: Vec<_> = heard.try_iter().collect();
    assert_eq!(ran, phases);
    until_up(stays, 1);
}

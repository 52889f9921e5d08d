//! What a node remembers: written again when it could not be, and before the node ends.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use ringmesh::cluster::{ClusterSettings, Event, News, StopReason};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::node::LiveNode;

use super::{of, until_up};

const FILE: &str = "cluster.state";
/// What is written stands there first.
const BESIDE: &str = "cluster.state.new";

/// A node that remembers, and founds a cluster of its own.
fn founder(directory: &Path) -> LiveNode {
    let mut settings = ClusterSettings::default();
    settings.state_dir = Some(directory.to_owned());
    let node = LiveNode::start_with(|builder| builder.cluster(settings));
    let found = node.run(|node| async move { of(&node).found().await });
    found.expect("it is in no cluster");
    node
}

fn until_written(node: &LiveNode, directory: &Path) {
    let file = directory.join(FILE);
    node.until_so("a file", move |_| file.exists());
}

#[test]
fn a_node_that_cannot_write_its_state_down_says_so_goes_on_and_tries_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let beside = directory.path().join(BESIDE);
    // The place of what is written is taken.
    fs::create_dir(&beside).expect("a directory");
    let node = founder(directory.path());
    let said = node.run(|node| async move {
        let mut events = of(&node).events();
        loop {
            let Some(News::Event(event)) = events.next().await else {
                continue;
            };
            if let Event::StateUnwritten { why } = event.event {
                return why;
            }
        }
    });
    assert!(said.contains(FILE), "{said}");
    assert_eq!(node.counters().dead_sent, 0);
    until_up(&node, 1);
    fs::remove_dir(&beside).expect("it is empty");
    until_written(&node, directory.path());
}

/// The place of what is written is a pipe: whoever writes waits until somebody reads, and fails
/// then, for it cannot be brought to a disk.
struct SlowDisk(PathBuf);

impl SlowDisk {
    fn of(directory: &Path) -> Self {
        let pipe = directory.join(BESIDE);
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("there is an mkfifo").success());
        Self(pipe)
    }

    /// Has the write under way, or the next one, fail. Says what was written.
    fn fail(&self) -> String {
        read_out(File::open(&self.0).expect("somebody writes"))
    }

    /// As [`fail`](Self::fail); those that follow are quick.
    fn end(self) -> String {
        let pipe = File::open(&self.0).expect("somebody writes");
        fs::remove_file(&self.0).expect("it is there");
        read_out(pipe)
    }
}

fn read_out(mut pipe: File) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("a text");
    text
}

/// Else the view of this member would wait out the pause behind the failure, and the next write.
#[test]
fn what_came_while_a_write_failed_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = SlowDisk::of(directory.path());
    let first = founder(directory.path());
    let mut settings = ClusterSettings::default();
    settings.seeds = Some(vec![first.address().clone()]);
    let second = LiveNode::start_with(|builder| builder.cluster(settings));
    first.until_so("a second member", |node| {
        of(node).state().members().len() == 2
    });
    disk.fail();
    until_up(&first, 2);
    until_up(&second, 2);
    assert_eq!(first.counters().cluster_state_failures, 1);
    let stops = thread::spawn(|| first.stop());
    disk.end();
    stops.join().expect("it stops in order");
}

/// Waits until nobody listens at the address of a node that stops.
fn until_deaf(address: &ringmesh::Address) {
    let begun = Instant::now();
    while TcpStream::connect((address.host(), address.port())).is_ok() {
        assert!(begun.elapsed() < WAIT, "it listens on");
        thread::yield_now();
    }
}

/// The disk is slow beyond the patience of the node, which leads its cluster, and leaves it.
#[test]
fn a_node_goes_on_while_its_disk_hangs_and_ends_when_it_has_forgotten_its_cluster() {
    let directory = tempfile::tempdir().expect("a directory");
    let former = founder(directory.path());
    until_written(&former, directory.path());
    former.stop();
    let disk = SlowDisk::of(directory.path());
    let node = founder(directory.path());
    let end = node.run(|node| async move {
        let cluster = of(&node);
        cluster.up().await;
        cluster.leave().await.expect("it is a member");
        cluster.ended().await
    });
    assert_eq!(end, StopReason::Left);
    let lines = node.log().with("it was not written within");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(node.counters().cluster_state_failures, 1);
    let address = node.address().clone();
    let stops = thread::spawn(|| node.stop());
    until_deaf(&address);
    assert!(directory.path().join(FILE).exists(), "the disk is slow");
    let written = disk.end();
    assert!(written.contains(&address.to_string()), "{written}");
    stops.join().expect("it stops in order");
    assert!(
        !directory.path().join(FILE).exists(),
        "nothing to come back to"
    );
}

//! A network of the test's own, whose cables can be cut: a host is a network namespace, and all of
//! them hang on one bridge.
//!
//! What a host sends to another one is lost while it holds a wrong hardware address of it: nothing
//! answers, nothing is refused, and each direction is cut by itself.

use std::path::Path;
use std::process::{self, Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::cables::{Cables, pairs};
use crate::process::{Node, PATIENCE};

/// No host has it.
const NOBODY: &str = "02:00:00:00:00:ff";

/// The hosts, which go with this.
pub(crate) struct Network {
    /// What the names of its namespaces begin with.
    name: String,
    addresses: Vec<String>,
}

impl Network {
    /// So many hosts; `None`, and why, where the test may not make any.
    pub(crate) fn of(hosts: usize) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringmesh-{}-{number}", process::id());
        // What was made of it goes when it is dropped, whatever fails.
        let addresses = (0..hosts).map(|host| format!("{}:7400", place(host)));
        let addresses = addresses.collect();
        let this = Self { name, addresses };
        match this.build() {
            Ok(()) => Some(this),
            Err(why) => {
                println!("skipped: no networks can be made here: {why}");
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let hub = self.namespace("hub");
        run(&format!("netns add {hub}"))?;
        run(&format!("-n {hub} link add hub type bridge"))?;
        run(&format!("-n {hub} link set hub up"))?;
        for host in 0..self.addresses.len() {
            let (own, hardware) = (self.namespace(host), hardware(host));
            run(&format!("netns add {own}"))?;
            run(&format!(
                "-n {own} link add eth0 address {hardware} type veth peer name to{host} netns {hub}"
            ))?;
            run(&format!("-n {hub} link set to{host} master hub up"))?;
            run(&format!("-n {own} addr add {}/24 dev eth0", place(host)))?;
            run(&format!("-n {own} link set lo up"))?;
            run(&format!("-n {own} link set eth0 up"))?;
        }
        Ok(())
    }

    fn namespace(&self, of: impl ToString) -> String {
        format!("{}-{}", self.name, of.to_string())
    }

    /// Tells hosts on one side what hardware addresses those on the other have.
    fn teach(&self, one: &[usize], other: &[usize], hardware: impl Fn(usize) -> String) {
        for (from, to) in pairs(one, other) {
            let (own, to, hardware) = (self.namespace(from), place(to), hardware(to));
            run(&format!(
                "-n {own} neigh replace {to} lladdr {hardware} dev eth0 nud permanent"
            ))
            .expect("a host learns a hardware address");
        }
    }
}

impl Cables for Network {
    fn place(&self) -> &'static str {
        "between hosts"
    }

    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn start(&self, program: &Path, host: usize, more: &[&str]) -> Node {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]);
        command.arg(program);
        Node::launch(command, &self.addresses[host], &self.addresses, more)
    }

    fn wait_until_free(&self, host: usize) {
        let deadline = Instant::now() + PATIENCE;
        let own = self.namespace(host);
        let is_taken = || {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &own, "ss", "-Hltn"]);
            let listeners = command.output().expect("there is a list of sockets");
            assert!(listeners.status.success());
            !listeners.stdout.is_empty()
        };
        while is_taken() {
            assert!(Instant::now() < deadline, "host {host} stays taken");
        }
    }

    fn mute(&self, from: &[usize], to: &[usize]) {
        self.teach(from, to, |_| NOBODY.to_owned());
    }

    fn heal(&self, one: &[usize], other: &[usize]) {
        self.teach(one, other, hardware);
        self.teach(other, one, hardware);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.addresses.len() {
            // It may not have come to be.
            let _ = run(&format!("netns del {}", self.namespace(host)));
        }
        let _ = run(&format!("netns del {}", self.namespace("hub")));
    }
}

fn place(host: usize) -> String {
    format!("10.74.0.{}", host + 1)
}

fn hardware(host: usize) -> String {
    format!("02:00:00:00:01:{:02x}", host + 1)
}

/// Runs `ip` with the words of a text.
fn run(words: &str) -> Result<(), String> {
    let done = Command::new("ip").args(words.split(' ')).output();
    let Output { status, stderr, .. } = done.map_err(|error| format!("ip: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(format!("ip {words}: {}", said.trim()))
}

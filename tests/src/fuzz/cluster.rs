//! What members tell each other of their cluster: bodies of frames from a member, from an earlier
//! start of its process and from a stranger, in any order.

use ringmesh_cluster::context::Context;
use ringmesh_cluster::control::Control;
use ringmesh_cluster::effect::{Effect, Outbox};
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::message::BODY_BYTES_MAX;
use ringmesh_cluster::membership::settings::Settings;
use ringmesh_cluster::membership::{AppVersion, Profile, Roles};
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

const MS: u64 = 1_000_000;

/// The input is a list of frames: who sends, the length of the body in two bytes, the body.
///
/// # Panics
/// When a machine wants to send more than a frame may have, to be called without time passing,
/// or forgets itself without ending.
pub fn cluster(bytes: &[u8]) {
    let mut pair = Pair::joined();
    let senders = [node(2, 2), node(2, 9), node(3, 3), node(1, 1)];
    let mut left = bytes;
    while let Some(([who, low, high], rest)) = left.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        let from = &senders[usize::from(*who) % senders.len()];
        if pair.first.hear(from, body) {
            return;
        }
        left = rest;
    }
}

fn node(number: u16, uid: u64) -> NodeId {
    NodeId {
        address: Address::new("demo", "10.0.0.1", 7000 + number).expect("an address"),
        uid: Uid::new(uid).expect("not zero"),
    }
}

/// A member, and its time.
struct Side {
    node: NodeId,
    control: Control,
    now: u64,
    out: Outbox,
}

impl Side {
    fn new(number: u16) -> Self {
        let node = node(number, number.into());
        let own = Profile {
            node: node.clone(),
            roles: Roles::default(),
            app_version: AppVersion::default(),
        };
        Self {
            node,
            control: Control::new(Settings::default(), own, None).expect("the defaults are good"),
            now: MS,
            out: Outbox::default(),
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Control, &mut Context<'_>) -> R) -> R {
        let now = Instant::from_nanos(self.now);
        let mut cx = Context::new(now, self.now, &mut self.out);
        call(&mut self.control, &mut cx)
    }

    /// Passes the time to the next deadline, which lies ahead of it afterwards.
    fn pass(&mut self) {
        let Some(due) = self.control.poll_timeout() else {
            return;
        };
        self.now = self.now.max(due.as_nanos());
        self.call(|control, cx| control.handle_timeout(cx));
        let next = self.control.poll_timeout();
        assert!(
            next.is_none_or(|next| next.as_nanos() > self.now),
            "it stands still"
        );
    }

    /// Takes a body from a node, and passes some time. Says whether it has ended.
    fn hear(&mut self, from: &NodeId, body: &[u8]) -> bool {
        self.call(|control, cx| control.handle_message(cx, from, body));
        self.now += MS;
        self.pass();
        let mut has_ended = false;
        while let Some(effect) = self.out.pop() {
            match effect {
                Effect::Send { body, .. } | Effect::Contact { body, .. } => {
                    assert!(body.len() <= BODY_BYTES_MAX, "{} bytes", body.len());
                }
                Effect::Stop { .. } => has_ended = true,
                _ => {}
            }
        }
        let is_member = self.control.topology().self_member().is_some();
        assert!(is_member || has_ended, "it forgot itself");
        has_ended
    }
}

/// Two members, and what the second sent to the first.
struct Pair {
    first: Side,
    second: Side,
    heard: Vec<Vec<u8>>,
}

impl Pair {
    /// A cluster of both, a few seconds old.
    fn joined() -> Self {
        let (mut first, mut second) = (Side::new(1), Side::new(2));
        let seeds = vec![first.node.address.clone()];
        let founded = first.call(|control, cx| control.handle_command(cx, Command::Found));
        founded.expect("it is in none");
        let join = Command::Join { seeds };
        let joins = second.call(|control, cx| control.handle_command(cx, join));
        joins.expect("it is in none");
        let mut pair = Self {
            first,
            second,
            heard: Vec::new(),
        };
        for _ in 0..40 {
            pair.exchange();
        }
        let members = pair.first.control.topology().members().len();
        assert_eq!(members, 2, "they are one cluster");
        pair
    }

    /// Carries what both want to send, and passes some time.
    fn exchange(&mut self) {
        let Self {
            first,
            second,
            heard,
        } = self;
        carry(second, first, |body| heard.push(body.to_vec()));
        carry(first, second, |_| {});
        for side in [first, second] {
            side.now += 100 * MS;
            side.pass();
        }
    }
}

fn carry(from: &mut Side, to: &mut Side, mut note: impl FnMut(&[u8])) {
    while let Some(effect) = from.out.pop() {
        if let Effect::Send { body, .. } | Effect::Contact { body, .. } = effect {
            note(&body);
            let node = from.node.clone();
            to.call(|control, cx| control.handle_message(cx, &node, &body));
        }
    }
}

fn frame(who: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [&[who][..], &length.to_le_bytes(), body].concat()
}

/// One body of each kind that a member sends in its first seconds, and all of them by others.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut bodies = Pair::joined().heard;
    bodies.reverse();
    bodies.sort_by_key(|body| body[0]);
    bodies.dedup_by_key(|body| body[0]);
    let all = |who: u8| -> Vec<u8> {
        let frames = bodies.iter().map(|body| frame(who, body));
        frames.collect::<Vec<_>>().concat()
    };
    let each = bodies
        .iter()
        .map(|body| (format!("tag-{}", body[0]), frame(0, body)));
    let mut seeds: Vec<_> = each.collect();
    seeds.push(("all-of-a-member".to_owned(), all(0)));
    seeds.push(("all-of-an-earlier-start".to_owned(), all(1)));
    seeds.push(("all-of-a-stranger".to_owned(), all(2)));
    seeds.push(("nothing".to_owned(), frame(0, &[])));
    seeds
}

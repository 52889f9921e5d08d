//! The answers to inquiries: whoever is asked may say anything, and a dialler is let in only when
//! the address it claims vouches for it.
//!
//! The input is a script: each step is a byte that chooses what happens, one that says to whom, and
//! what its frame needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::effect::{ConnKey, Context, Effect, Outbox};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::frame::body::{Accept, Hello, Offer, Refuse, RefuseReason};
use ringmesh_proto::frame::{Frame, Parse, parse};
use ringmesh_proto::handshake::{
    Answer, Begin, Company, Introduction, LocalNode, Unvouched, Verifier,
};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{
    DIAL_TIMEOUT, FRAME_BYTES_BEFORE_ACCEPT, FRAME_BYTES_ORDINARY, HEADER_BYTES, PREFACE_BYTES,
    RESUME_TIMEOUT, STOP_TIMEOUT, VERIFY_TIMEOUT, WINDOW_BYTES,
};
use ringmesh_proto::preface::{Preface, Role};
use ringmesh_proto::time::Instant;

/// Runs a script to its end, and lets the time of every inquiry pass.
///
/// # Panics
/// When a dialler is vouched for by anything but the accept of its own dial, when a connection is
/// closed that is not open, or when something is left at the end.
pub fn verifier(bytes: &[u8]) {
    play(bytes);
}

fn play(mut bytes: &[u8]) -> usize {
    let mut world = World::new();
    while let [step, at, rest @ ..] = bytes {
        bytes = rest;
        match step % 8 {
            0 => world.begin(*at),
            1 => world.dial(*at),
            2 => bytes = world.accept(*at, bytes),
            3 => bytes = world.raw_frame(*at, bytes),
            4 => world.refuse(*at),
            5 => world.dial_over(*at),
            6 => world.closed(*at),
            _ => world.time(Duration::from_millis(16 * u64::from(*at))),
        }
    }
    world.time(2 * VERIFY_TIMEOUT);
    assert_eq!(world.verifier.poll_timeout(), None, "somebody waits on");
    assert!(world.dials.is_empty(), "{:?} are open", world.dials);
    world.vouched
}

struct World {
    local: LocalNode,
    now: Instant,
    verifier: Verifier,
    /// Those that wait, by their connections.
    waiting: BTreeMap<ConnKey, Introduction>,
    /// Connections that ask, and about whom.
    dials: BTreeMap<ConnKey, ConnKey>,
    /// Of diallers whose inquiry is to be dialled.
    wanted: BTreeSet<ConnKey>,
    /// Of diallers at whose address another process start answered.
    in_use: BTreeSet<ConnKey>,
    next: u64,
    vouched: usize,
}

impl World {
    fn new() -> Self {
        let local = LocalNode {
            id: node(0),
            core: CoreId(0),
            cores: 1,
            format_fingerprint: FORMAT_FINGERPRINT,
            body_cap: FRAME_BYTES_ORDINARY,
            window_bytes: WINDOW_BYTES,
            links_max: 64,
            features: 1,
            stop_timeout: STOP_TIMEOUT,
            resume_timeout: RESUME_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
            lane: Lane::Ordinary,
            role: Role::Node,
        };
        Self {
            local,
            now: Instant::ZERO,
            verifier: Verifier::default(),
            waiting: BTreeMap::new(),
            dials: BTreeMap::new(),
            wanted: BTreeSet::new(),
            in_use: BTreeSet::new(),
            next: 0,
            vouched: 0,
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Verifier, &mut Context<'_>) -> R) -> R {
        let mut out = Outbox::default();
        let mut cx = Context {
            now: self.now,
            random: 0,
            local: &self.local,
            link: None,
            out: &mut out,
        };
        let result = call(&mut self.verifier, &mut cx);
        while let Some(effect) = out.pop() {
            match effect {
                Effect::Close { conn, .. } => {
                    assert!(self.dials.remove(&conn).is_some(), "{conn:?} is not open");
                    assert!(!self.verifier.is_dial(conn));
                }
                Effect::Write { conn, bytes } => self.check_inquiry(conn, &bytes),
                other => panic!("{other:?}"),
            }
        }
        result
    }

    /// What is asked names the dial and its claimed dialler, and is well-formed.
    fn check_inquiry(&self, dial: ConnKey, bytes: &[u8]) {
        let about = &self.waiting[&self.dials[&dial]];
        let (preface, hello) = bytes.split_first_chunk::<PREFACE_BYTES>().expect("both");
        let preface = Preface::parse(preface).expect("a preface");
        assert_eq!((preface.role, preface.nonce), (Role::Inquirer, about.nonce));
        assert_eq!(preface.expected_uid, Some(about.peer.uid));
        let hello = Hello::parse(&whole(hello)).expect("a hello");
        assert_eq!(hello.to, about.peer.address);
    }

    fn begin(&mut self, at: u8) {
        self.next += 1;
        let conn = ConnKey(self.next);
        let introduction = Introduction {
            conn,
            lane: Lane::Ordinary,
            peer: node(1 + at % 3),
            sending_core: CoreId(0),
            wanted_core: None,
            offer: offer(7),
            nonce: u64::from(at % 5),
            role: Role::Node,
        };
        let source = IpAddr::from([127, 0, 0, 1 + at / 128]);
        let company = if at & 64 == 0 {
            Company::Allowed
        } else {
            Company::Avoided
        };
        match self
            .verifier
            .begin(self.now, introduction.clone(), source, company)
        {
            Ok(begin) => {
                if begin == Begin::Dial {
                    self.wanted.insert(conn);
                }
                self.waiting.insert(conn, introduction);
            }
            Err(reason) => assert_eq!(reason, RefuseReason::Overloaded),
        }
    }

    /// Dials what is to be dialled next, and is connected at once.
    fn dial(&mut self, at: u8) {
        let Some(conn) = nth(&self.wanted, at).copied() else {
            return;
        };
        self.wanted.remove(&conn);
        self.next += 1;
        let dial = ConnKey(self.next);
        let is_wanted = self.verifier.handle_dialling(conn, dial);
        assert_eq!(is_wanted, self.waiting.contains_key(&conn));
        if is_wanted {
            self.dials.insert(dial, conn);
            self.call(|verifier, cx| verifier.handle_connected(cx, dial));
        }
    }

    /// An accept that is right but for what the script makes wrong.
    fn accept<'a>(&mut self, at: u8, script: &'a [u8]) -> &'a [u8] {
        let (flaw, rest) = script.split_first().unwrap_or((&0, script));
        let Some((dial, about)) = self.dialled(at) else {
            return rest;
        };
        let mut accept = Accept {
            from: about.peer.address.clone(),
            to: self.local.id.address.clone(),
            offer: offer(about.nonce),
            uid: about.peer.uid,
            nonce: about.nonce,
        };
        match flaw {
            1 => accept.from = node(4).address,
            2 => accept.to = node(5).address,
            3 => accept.uid = node(6).uid,
            4 => accept.nonce ^= 1,
            5 => accept.offer.link ^= 1,
            6 => accept.offer.received_to = Some(0),
            7 => accept.offer.body_cap = 0,
            _ => {}
        }
        let mut frame = Vec::new();
        accept.encode(&mut frame);
        self.frame(dial, &frame);
        rest
    }

    /// Bytes of the script, with a checksum that is right.
    fn raw_frame<'a>(&mut self, at: u8, script: &'a [u8]) -> &'a [u8] {
        let (body_bytes, rest) = script.split_first().unwrap_or((&0, script));
        let frame_bytes = HEADER_BYTES + usize::from(*body_bytes);
        let (given, rest) = rest.split_at(rest.len().min(frame_bytes - 8));
        let mut frame = vec![0; frame_bytes];
        frame[8..8 + given.len()].copy_from_slice(given);
        frame[0] = *body_bytes;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..4]);
        hasher.update(&frame[8..]);
        frame[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
        if let Some((dial, _)) = self.dialled(at) {
            self.frame(dial, &frame);
        }
        rest
    }

    fn refuse(&mut self, at: u8) {
        let reason = if at < 128 {
            RefuseReason::Unproven
        } else {
            RefuseReason::Incarnation
        };
        let text = String::new();
        let mut frame = Vec::new();
        Refuse { reason, text }.encode(&mut frame);
        if let Some((dial, _)) = self.dialled(at) {
            self.frame(dial, &frame);
        }
    }

    /// A frame comes where it was asked.
    fn frame(&mut self, dial: ConnKey, bytes: &[u8]) {
        let Ok(Parse::Complete(frame)) = parse(bytes, FRAME_BYTES_BEFORE_ACCEPT) else {
            return self.dial_over_of(dial);
        };
        let conn = self.dials[&dial];
        let refused = (frame.header.kind == Kind::Refuse).then(|| Refuse::parse(&frame));
        if let Some(Ok(refuse)) = refused
            && refuse.reason == RefuseReason::Incarnation
        {
            self.in_use.insert(conn);
        }
        let answer = self.call(|verifier, cx| verifier.handle_frame(cx, dial, &frame));
        assert!(!self.dials.contains_key(&dial), "an answer ends it");
        match answer.expect("it was asked") {
            Answer::Vouched(introduction) => {
                let about = self.waiting.remove(&conn).expect("it waited");
                assert_eq!(introduction, about);
                let accept = Accept::parse(&frame).expect("only an accept vouches");
                assert_eq!((accept.uid, accept.nonce), (about.peer.uid, about.nonce));
                assert_eq!(accept.from, about.peer.address);
                assert_eq!(accept.to, self.local.id.address);
                self.vouched += 1;
                for follower in self.verifier.take_followers(&about.peer) {
                    assert_eq!(follower.peer, about.peer);
                    assert!(self.waiting.remove(&follower.conn).is_some());
                }
            }
            Answer::Denied(denied) => {
                assert_eq!(denied, conn);
                assert!(self.verifier.is_waiting(conn));
                // Another place of the address may be asked.
                self.wanted.insert(conn);
            }
        }
    }

    fn dial_over(&mut self, at: u8) {
        if let Some((dial, _)) = self.dialled(at) {
            self.dial_over_of(dial);
        }
    }

    fn dial_over_of(&mut self, dial: ConnKey) {
        let conn = self.dials.remove(&dial);
        assert_eq!(self.verifier.handle_dial_over(dial), conn);
        assert_eq!(self.verifier.handle_dial_over(dial), None);
    }

    /// A dialler leaves.
    fn closed(&mut self, at: u8) {
        let Some(conn) = nth(&self.waiting, at).map(|(conn, _)| *conn) else {
            return;
        };
        let gone = self.call(|verifier, cx| verifier.handle_closed(cx, conn));
        assert_eq!(gone, self.waiting.remove(&conn));
    }

    fn time(&mut self, passed: Duration) {
        self.now = self.now + passed;
        while self
            .verifier
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            let overdue = self.call(|verifier, cx| verifier.handle_timeout(cx));
            let Unvouched {
                introduction: overdue,
                reason,
            } = overdue.expect("one is due");
            let is_in_use = self.in_use.contains(&overdue.conn);
            let due = match is_in_use {
                true => RefuseReason::AddressInUse,
                false => RefuseReason::Unproven,
            };
            assert_eq!(reason, due);
            assert_eq!(self.waiting.remove(&overdue.conn), Some(overdue));
        }
    }

    /// One of the connections that ask, and whom about.
    fn dialled(&self, at: u8) -> Option<(ConnKey, Introduction)> {
        let (dial, conn) = nth(&self.dials, at)?;
        Some((*dial, self.waiting[conn].clone()))
    }
}

/// One of a few, chosen by the script.
fn nth<'a, T>(all: &'a T, at: u8) -> Option<<&'a T as IntoIterator>::Item>
where
    &'a T: IntoIterator<IntoIter: ExactSizeIterator>,
{
    let mut all = all.into_iter();
    let count = all.len();
    all.nth(usize::from(at).checked_rem(count)?)
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    match parse(bytes, FRAME_BYTES_BEFORE_ACCEPT) {
        Ok(Parse::Complete(frame)) => frame,
        other => panic!("no whole frame: {other:?}"),
    }
}

fn node(number: u8) -> NodeId {
    let port = 9000 + u16::from(number);
    NodeId {
        address: Address::new("demo", "node", port).expect("it is valid"),
        uid: Uid::new(1 + u64::from(number)).expect("not zero"),
    }
}

fn offer(link: u64) -> Offer {
    Offer {
        body_cap: FRAME_BYTES_ORDINARY,
        limit: u64::from(WINDOW_BYTES),
        features: 1,
        link,
        received_to: None,
        cores: 1,
        links_max: 64,
    }
}

/// Inquiries that end well, and in every other way.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let asked = [0, 0, 1, 0];
    let seed = |name: &str, steps: &[&[u8]]| (name.to_owned(), steps.concat());
    let mut seeds = vec![
        seed("vouched", &[&asked, &[2, 0, 0]]),
        seed("vouched-with-followers", &[&asked, &[0, 0, 0, 0, 2, 0, 0]]),
        seed(
            "vouched-at-another-place",
            &[&asked, &[4, 0, 1, 0, 2, 0, 0]],
        ),
        seed("refused", &[&asked, &[4, 0]]),
        seed("refused-by-another-start", &[&asked, &[4, 128]]),
        seed("raw-frame", &[&asked, &[3, 0, 4, 9, 0, 0, 0, 1, 2, 3, 4]]),
        seed("dial-over", &[&asked, &[5, 0]]),
        seed("dialler-leaves", &[&asked, &[6, 0]]),
        seed("too-late", &[&asked, &[7, 200, 2, 0, 0]]),
    ];
    for flaw in 1..8 {
        seeds.push(seed(&format!("flaw-{flaw}"), &[&asked, &[2, 0, flaw]]));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_seeds_that_say_so_are_vouched_for() {
        for (name, bytes) in seeds() {
            let vouched = play(&bytes);
            // What it offers is nobody's business here: there will be no link.
            let offers = matches!(&name[..], "flaw-5" | "flaw-6" | "flaw-7");
            assert!(
                name.starts_with("vouched") || offers || vouched == 0,
                "{name}"
            );
            assert!(!name.starts_with("vouched") || vouched == 1, "{name}");
        }
    }
}

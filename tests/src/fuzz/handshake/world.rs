//! A driver of the machines that knows what they may ask for.

use std::time::Duration;

use ringmesh_proto::address::{CoreId, NodeId, Uid};
use ringmesh_proto::association::{Association, Status};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::{ConnKey, Context, Effect, LinkUp, Outbox, Standing};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::frame::body::{Grant, Hello, RefuseReason};
use ringmesh_proto::frame::{Frame, Parse, parse};
use ringmesh_proto::handshake::{Acceptor, Introduction, LocalNode};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{
    BACK_OFF_MAX, DIAL_TIMEOUT, FRAME_BYTES_BEFORE_ACCEPT, FRAME_BYTES_MIN, FRAME_BYTES_ORDINARY,
    PREFACE_BYTES, REFUSALS_BURST, REFUSALS_PER_SECOND, RESUME_TIMEOUT, STOP_TIMEOUT, WINDOW_BYTES,
    window_bytes_min,
};
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::preface::{Preface, Role};
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_proto::time::Instant;

use super::{HERE, OWN_UID, Outcome, address, uid};

/// Connections that may be strangers at a time.
const STRANGERS_MAX: usize = 4;

/// Nodes that may be known at a time.
const PEERS_MAX: usize = 6;

/// The time that every dial, probe, pause and goodbye is over in.
const LONG: Duration = Duration::from_secs(3600);

/// One node's machines, and what their driver knows.
pub(super) struct World {
    local: LocalNode,
    now: Instant,
    random: u64,
    acceptor: Acceptor,
    peers: Vec<Peer>,
    /// By their keys.
    conns: Vec<Conn>,
    slabs: SlabPool,
    outcome: Outcome,
}

struct Peer {
    association: Association,
    /// A dial was asked for and not yet started.
    wants_dial: bool,
    /// The connection that carries the link.
    link: Option<ConnKey>,
    /// The halves of the link, with a connection or without.
    halves: Option<(Outbound, Inbound)>,
    /// The process start that sends wait for.
    forming: Option<Uid>,
    stopped: bool,
}

#[derive(Default)]
struct Conn {
    /// The node it belongs to, once that is known.
    peer: Option<usize>,
    open: bool,
    linked: bool,
    refused: bool,
    nonce: u64,
    /// The link that a dial on it offers.
    offered: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let id = NodeId {
            address: address(HERE),
            uid: Uid::new(OWN_UID).expect("not zero"),
        };
        let local = LocalNode {
            lane: Lane::Ordinary,
            role: Role::Node,
            id,
            core: CoreId(0),
            cores: 1,
            format_fingerprint: FORMAT_FINGERPRINT,
            body_cap: FRAME_BYTES_ORDINARY,
            window_bytes: WINDOW_BYTES,
            links_max: 64,
            features: 1,
            stop_timeout: STOP_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
            resume_timeout: RESUME_TIMEOUT,
        };
        Self {
            local,
            now: Instant::ZERO,
            random: 0,
            acceptor: Acceptor::new(STRANGERS_MAX),
            peers: Vec::new(),
            conns: Vec::new(),
            slabs: SlabPool::new(1 << 20, FRAME_BYTES_ORDINARY),
            outcome: Outcome::default(),
        }
    }

    /// A connection from outside.
    pub(super) fn incoming(&mut self) {
        let conn = self.connect(None);
        self.accept(|acceptor, cx| acceptor.handle_accepted(cx, conn));
    }

    pub(super) fn preface(&mut self, at: u8, bytes: &[u8; PREFACE_BYTES]) {
        if let Some(conn) = self.pick(at) {
            self.accept(|acceptor, cx| acceptor.handle_preface(cx, conn, bytes));
        }
    }

    /// Bytes that may be a frame, on a connection that may be over.
    pub(super) fn frame(&mut self, at: u8, bytes: &[u8]) {
        let Some(conn) = self.pick(at) else { return };
        match parse(bytes, FRAME_BYTES_BEFORE_ACCEPT) {
            Ok(Parse::Complete(frame)) => self.whole_frame(conn, &frame),
            Ok(Parse::Incomplete { .. }) => {}
            Err(error) => self.found_faulty(conn, error.into()),
        }
    }

    fn whole_frame(&mut self, conn: ConnKey, frame: &Frame<'_>) {
        if let Some(peer) = self.conn(conn).peer {
            return self.associate(peer, |machine, cx| machine.handle_frame(cx, conn, frame));
        }
        let introduced = self.accept(|acceptor, cx| acceptor.handle_frame(cx, conn, frame));
        if let Some(introduction) = introduced
            && let Err(reason) = self.introduce(conn, &introduction)
        {
            self.accept(|acceptor, cx| acceptor.refuse(cx, conn, reason));
        }
    }

    fn introduce(&mut self, conn: ConnKey, by: &Introduction) -> Result<(), RefuseReason> {
        let known = |peer: &Peer| *peer.association.remote() == by.peer.address;
        let peer = match self.peers.iter().position(known) {
            Some(peer) => peer,
            None if self.peers.len() == PEERS_MAX => return Err(RefuseReason::Overloaded),
            None => self.add_peer(Association::new(by.peer.address.clone())),
        };
        self.conn(conn).peer = Some(peer);
        let accepted = self.associate(peer, |machine, cx| machine.handle_incoming(cx, by));
        if accepted.is_err() {
            self.conn(conn).peer = None;
        }
        accepted
    }

    /// Somebody wants a link to one of the nodes, known or not.
    pub(super) fn want(&mut self, at: u8) {
        // Never to itself: a driver has no association with its own node.
        let remote = address(1 + at % 6);
        let known = |peer: &Peer| *peer.association.remote() == remote;
        let peer = match self.peers.iter().position(known) {
            Some(peer) => peer,
            None if self.peers.len() == PEERS_MAX => return,
            None => self.add_peer(Association::new(remote)),
        };
        let start = uid(at / 6);
        let forms = at >= 128 && self.peers[peer].association.may_form(start);
        if forms {
            self.peers[peer].forming = Some(start);
            self.associate(peer, |machine, cx| machine.handle_form_wanted(cx, start));
        } else {
            self.associate(peer, |machine, cx| machine.handle_dial_wanted(cx));
        }
    }

    /// The driver did what [`Effect::Dial`] said, or could not.
    pub(super) fn dialled(&mut self, at: u8, started: bool) {
        let Some(peer) = self.pick_peer(at) else {
            return;
        };
        if !std::mem::take(&mut self.peers[peer].wants_dial) {
            return;
        }
        if started {
            let conn = self.connect(Some(peer));
            self.associate(peer, |machine, cx| machine.handle_dialling(cx, conn));
        } else {
            self.associate(peer, |machine, cx| machine.handle_dial_failed(cx));
        }
    }

    pub(super) fn connected(&mut self, at: u8) {
        if let Some(conn) = self.pick(at)
            && let Some(peer) = self.conn(conn).peer
        {
            self.associate(peer, |machine, cx| machine.handle_connected(cx, conn));
        }
    }

    /// Something came on a connection.
    pub(super) fn heard(&mut self, at: u8) {
        if let Some(conn) = self.pick(at)
            && let Some(peer) = self.conn(conn).peer
        {
            self.associate(peer, |machine, cx| machine.handle_heard(cx, conn));
        }
    }

    /// A dial failed, and there is another place to dial.
    pub(super) fn redial(&mut self, at: u8) {
        if let Some(conn) = self.pick(at)
            && let Some(peer) = self.conn(conn).peer
            && self.peers[peer].association.handle_redial(conn)
        {
            self.conn(conn).open = false;
            self.peers[peer].wants_dial = true;
        }
    }

    pub(super) fn closed(&mut self, at: u8) {
        if let Some(conn) = self.pick(at) {
            self.ended(conn);
        }
    }

    fn ended(&mut self, conn: ConnKey) {
        self.conn(conn).open = false;
        match self.conn(conn).peer {
            Some(peer) => self.associate(peer, |machine, cx| {
                machine.handle_closed(cx, conn, CloseReason::PeerClosed);
            }),
            None => self.accept(|acceptor, _| acceptor.handle_closed(conn)),
        }
    }

    pub(super) fn fault(&mut self, at: u8) {
        if let Some(conn) = self.pick(at) {
            self.found_faulty(conn, CloseReason::FrameStall);
        }
    }

    fn found_faulty(&mut self, conn: ConnKey, reason: CloseReason) {
        match self.conn(conn).peer {
            Some(peer) => {
                self.associate(peer, |machine, cx| machine.handle_fault(cx, conn, reason));
            }
            None => self.accept(|acceptor, cx| acceptor.handle_fault(cx, conn, reason)),
        }
        // The driver closes it, whoever the machines think it belongs to.
        self.conn(conn).open = false;
    }

    /// Lets time pass, and runs what is due.
    pub(super) fn time(&mut self, span: Duration) {
        self.now = self.now + span;
        let is_due = |deadline: Option<Instant>, now| deadline.is_some_and(|due| due <= now);
        while is_due(self.acceptor.poll_timeout(), self.now) {
            let before = self.acceptor.strangers();
            self.accept(|acceptor, cx| acceptor.handle_timeout(cx));
            assert!(self.acceptor.strangers() < before, "a timeout did nothing");
        }
        for peer in 0..self.peers.len() {
            self.associate(peer, |machine, cx| machine.handle_timeout(cx));
            let next = self.peers[peer].association.poll_timeout();
            assert!(!is_due(next, self.now), "a timeout did nothing");
        }
    }

    pub(super) fn stop(&mut self, at: u8) {
        if let Some(peer) = self.pick_peer(at) {
            self.associate(peer, |machine, cx| machine.handle_stop(cx));
        }
    }

    pub(super) fn idle(&mut self, at: u8) {
        if let Some(peer) = self.pick_peer(at) {
            self.associate(peer, |machine, cx| machine.handle_idle(cx));
        }
    }

    pub(super) fn wake(&mut self, at: u8) {
        if let Some(peer) = self.pick_peer(at) {
            self.associate(peer, |machine, cx| machine.handle_resume_wanted(cx));
            let status = self.peers[peer].association.status();
            assert!(!matches!(status, Status::Resting(_)), "it does not wake");
        }
    }

    /// The nonce of the dial on a connection.
    pub(super) fn nonce(&mut self, at: u8) -> u64 {
        self.pick(at).map_or(0, |conn| self.conn(conn).nonce)
    }

    /// The number of the link that the dial on a connection offers.
    pub(super) fn link(&mut self, at: u8) -> u64 {
        self.pick(at).map_or(0, |conn| self.conn(conn).offered)
    }

    /// What holds between any two steps.
    pub(super) fn check(&self) {
        assert!(self.acceptor.strangers() <= STRANGERS_MAX);
        let seconds = self.now.as_nanos() / 1_000_000_000;
        let refusals_max =
            u64::from(REFUSALS_BURST) + (seconds + 1) * u64::from(REFUSALS_PER_SECOND);
        assert!(u64::from(self.outcome.refusals) <= refusals_max);
        for peer in &self.peers {
            let status = peer.association.status();
            match status {
                Status::Associated(_) => assert!(peer.link.is_some()),
                // With its last words, or on the way to a connection for them.
                Status::Stopping => {}
                _ => assert_eq!(peer.link, None, "{status:?}"),
            }
            let waits = matches!(status, Status::Lost(_) | Status::Resting(_));
            let is_up = peer.link.is_some() || waits;
            assert!(peer.halves.is_some() || !is_up, "{status:?}");
            assert_eq!(peer.stopped, status == Status::Stopped);
            if let Status::Associated(uid) = status {
                assert!(!peer.association.is_over(uid), "a link with the dead");
            }
        }
    }

    /// Ends every connection and association.
    pub(super) fn end_everything(mut self) -> Outcome {
        for peer in 0..self.peers.len() {
            self.associate(peer, |machine, cx| machine.handle_stop(cx));
        }
        for index in 0..self.conns.len() {
            if self.conns[index].open {
                self.ended(ConnKey(index as u64));
            }
        }
        self.time(LONG);
        self.check();
        assert_eq!(self.acceptor.strangers(), 0);
        assert!(self.peers.iter().all(|peer| peer.stopped));
        self.outcome
    }

    fn add_peer(&mut self, association: Association) -> usize {
        self.peers.push(Peer {
            association,
            wants_dial: false,
            link: None,
            halves: None,
            forming: None,
            stopped: false,
        });
        self.peers.len() - 1
    }

    fn connect(&mut self, peer: Option<usize>) -> ConnKey {
        self.conns.push(Conn {
            peer,
            open: true,
            ..Conn::default()
        });
        ConnKey(self.conns.len() as u64 - 1)
    }

    /// One of the last connections, open or not: the older ones are long forgotten.
    fn pick(&self, at: u8) -> Option<ConnKey> {
        let first = self.conns.len().saturating_sub(16);
        let few = self.conns.len() - first;
        (few > 0).then(|| ConnKey((first + usize::from(at) % few) as u64))
    }

    fn pick_peer(&self, at: u8) -> Option<usize> {
        let count = self.peers.len();
        (count > 0).then(|| usize::from(at) % count)
    }

    fn conn(&mut self, key: ConnKey) -> &mut Conn {
        let index = usize::try_from(key.0).expect("few connections");
        &mut self.conns[index]
    }

    fn accept<R>(&mut self, call: impl FnOnce(&mut Acceptor, &mut Context<'_>) -> R) -> R {
        let mut out = Outbox::default();
        self.random += 1;
        let mut cx = Context {
            now: self.now,
            random: self.random,
            local: &self.local,
            link: None,
            out: &mut out,
        };
        let result = call(&mut self.acceptor, &mut cx);
        self.carry_out(None, out);
        result
    }

    fn associate<R>(
        &mut self,
        peer: usize,
        call: impl FnOnce(&mut Association, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        self.random += 1;
        let Peer {
            association,
            halves,
            ..
        } = &mut self.peers[peer];
        let mut cx = Context {
            now: self.now,
            random: self.random,
            local: &self.local,
            link: halves.as_ref().map(|(outbound, inbound)| Standing {
                outbound,
                inbound,
                awaits: false,
            }),
            out: &mut out,
        };
        let result = call(association, &mut cx);
        self.carry_out(Some(peer), out);
        result
    }

    fn carry_out(&mut self, peer: Option<usize>, mut out: Outbox) {
        assert!(out.len() <= Outbox::EFFECTS_PER_CALL_MAX, "{out:?}");
        while let Some(effect) = out.pop() {
            match effect {
                Effect::Write { conn, bytes } => self.write(peer, conn, &bytes),
                Effect::Close { conn, .. } => {
                    let conn = self.conn(conn);
                    assert!(conn.open, "closed twice");
                    conn.open = false;
                    self.outcome.silent_ends += u32::from(!conn.refused && !conn.linked);
                }
                Effect::Refuse { conn, reason } => {
                    assert_eq!(self.conn(conn).peer.take(), peer, "a stranger of others");
                    self.accept(|acceptor, cx| acceptor.refuse(cx, conn, reason));
                }
                effect => {
                    let peer = peer.expect("the acceptor has no such effect");
                    self.carry_out_for(peer, effect);
                }
            }
        }
    }

    /// Handshake bytes go out on an open connection that has no link.
    fn write(&mut self, peer: Option<usize>, key: ConnKey, bytes: &[u8]) {
        let conn = self.conn(key);
        assert!(
            conn.open && !conn.linked && !conn.refused,
            "a word too many"
        );
        if let Some(preface) = bytes.first_chunk()
            && let Ok(preface) = Preface::parse(preface)
        {
            assert_eq!(conn.peer, peer, "a dial of somebody else");
            conn.nonce = preface.nonce;
            let hello = parse(&bytes[PREFACE_BYTES..], FRAME_BYTES_BEFORE_ACCEPT);
            let Ok(Parse::Complete(hello)) = hello else {
                panic!("not a hello: {bytes:?}");
            };
            conn.offered = Hello::parse(&hello).expect("a hello").offer.link;
            return;
        }
        let Ok(Parse::Complete(frame)) = parse(bytes, FRAME_BYTES_BEFORE_ACCEPT) else {
            panic!("not a frame: {bytes:?}");
        };
        assert_eq!(frame.wire_bytes, bytes.len());
        match (frame.header.kind, peer) {
            (Kind::Refuse, None) => {
                conn.refused = true;
                self.outcome.refusals += 1;
            }
            (Kind::Accept, Some(_)) => {}
            (kind, _) => panic!("a {kind:?} in a handshake"),
        }
    }

    fn carry_out_for(&mut self, index: usize, effect: Effect) {
        let on_link = |peer: &Peer, conn| assert_eq!(peer.link, Some(conn), "no link there");
        let peer = &mut self.peers[index];
        match effect {
            Effect::Dial { address } => {
                assert_eq!(address, *peer.association.remote());
                assert_eq!(peer.link, None, "a dial beside a link");
                // One that was given up before it started is replaced.
                peer.wants_dial = true;
            }
            Effect::LinkUp(up) => self.link_up(index, &up),
            Effect::LinkLost { conn, .. } => {
                assert_eq!(peer.link.take(), Some(conn), "it had a connection");
                let halves = peer.halves.as_mut();
                halves.expect("a link").0.handle_lost();
            }
            Effect::LinkRested { conn, .. } => {
                assert_eq!(peer.link.take(), Some(conn), "it had a connection");
                let (outbound, _) = peer.halves.as_mut().expect("a link");
                assert_eq!(outbound.in_flight_bytes(), 0, "nothing waits at rest");
                outbound.rest();
                self.outcome.rested += 1;
            }
            Effect::LinkResumed { conn, grant, .. } => self.link_resumed(index, conn, grant),
            Effect::LinkDown { .. } => {
                peer.link = None;
                assert!(peer.halves.take().is_some(), "a link ends once");
            }
            Effect::FormingOver { peer: of, .. } => {
                assert_eq!(peer.forming.take(), Some(of.uid), "it ends once");
            }
            Effect::PeerRestarted { old, new } => {
                assert_ne!(old, new);
                self.outcome.restarts += 1;
            }
            Effect::Unreachable {
                attempt,
                retry_after,
                ..
            } => assert!(attempt > 0 && retry_after <= BACK_OFF_MAX),
            Effect::Ping { conn, .. }
            | Effect::Pong { conn, .. }
            | Effect::Rest { conn }
            | Effect::Bye { conn, .. } => {
                on_link(peer, conn);
            }
            Effect::Stopped => {
                assert!(!peer.stopped, "stopped twice");
                peer.stopped = true;
            }
            effect => panic!("an effect that no driver knows: {effect:?}"),
        }
    }

    fn link_resumed(&mut self, index: usize, key: ConnKey, grant: Grant) {
        let peer = &mut self.peers[index];
        assert_eq!(peer.link.replace(key), None, "two connections");
        let (outbound, inbound) = peer.halves.as_mut().expect("a link to go on with");
        let resumed = outbound.resume(grant, &mut self.slabs);
        resumed.expect("the association asked the link first");
        inbound.restate();
        let conn = self.conn(key);
        assert!(conn.open && !conn.linked && conn.peer == Some(index));
        conn.linked = true;
        self.outcome.resumed += 1;
    }

    fn link_up(&mut self, index: usize, up: &LinkUp) {
        assert!((FRAME_BYTES_MIN..=FRAME_BYTES_ORDINARY).contains(&up.body_cap));
        assert!(up.limit >= u64::from(window_bytes_min(up.body_cap)));
        assert_ne!(up.peer.uid, self.local.id.uid, "a link with itself");
        let peer = &mut self.peers[index];
        assert_eq!(up.peer.address, *peer.association.remote());
        assert_eq!(peer.link.replace(up.conn), None, "two links");
        assert!(peer.forming.take().is_none_or(|start| start == up.peer.uid));
        let outbound = Outbound::new(up.body_cap, up.limit, WINDOW_BYTES);
        let halves = (outbound, Inbound::new(WINDOW_BYTES));
        assert!(peer.halves.replace(halves).is_none(), "two links");
        let conn = self.conn(up.conn);
        assert!(conn.open && !conn.linked && conn.peer == Some(index));
        conn.linked = true;
        self.outcome.links += 1;
    }
}

//! One connection, from the first byte to the last: bytes to frames, and frames to bytes.

use std::net::IpAddr;
use std::rc::Rc;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::door::Source;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::frame::body::Grant;
use ringmesh_proto::frame::{Assembler, Frame, Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{
    FRAME_BYTES_BEFORE_ACCEPT, FRAME_BYTES_CONTROL, FRAME_STALL_TIMEOUT, HANDSHAKE_TIMEOUT,
    PREFACE_BYTES,
};
use ringmesh_proto::quarantine::By;
use ringmesh_proto::time::Instant;

use super::{Driver, Surroundings, Upward};
use crate::canary::Canary;
use crate::happening::{Happening, Place};
use crate::network::Network;
use crate::trace::{What, digest};

/// What a process knows of one of its connections.
#[derive(Debug)]
pub(super) struct Connection {
    /// The peer whose association has it; of the acceptor or an inquiry, if none.
    pub(super) peer: Option<usize>,
    /// Where it comes from, and how the door knows it, if somebody dialled it from there.
    pub(super) from: Option<IpAddr>,
    half_open: bool,
    /// The beginning of an incoming one, until it is there.
    preface: Option<Vec<u8>>,
    /// It carries the link of its peer.
    pub(super) linked: bool,
    /// A probe waits for anything to come on it.
    pub(super) doubted: bool,
    /// Nothing it brings counts; it is closed when all is written, or at that time.
    closing: Option<Instant>,
    /// When it is over, if nothing more of the frame comes that has begun on it.
    stalls_at: Option<Instant>,
    assembler: Assembler,
    unwritten: Vec<u8>,
    written: usize,
}

impl Connection {
    /// A connection that this side dials.
    pub(super) fn dialled(peer: Option<usize>) -> Self {
        Self {
            peer,
            from: None,
            half_open: false,
            preface: None,
            linked: false,
            doubted: false,
            closing: None,
            stalls_at: None,
            assembler: Assembler::default(),
            unwritten: Vec::new(),
            written: 0,
        }
    }

    fn incoming(from: IpAddr) -> Self {
        Self {
            from: Some(from),
            half_open: true,
            preface: Some(Vec::new()),
            ..Self::dialled(None)
        }
    }

    /// Whether all that was queued is written.
    pub(super) fn is_drained(&self) -> bool {
        self.unwritten.is_empty()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// When it has stood still within a frame for too long.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        self.stalls_at.filter(|_| !self.is_closing())
    }

    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.unwritten.extend_from_slice(bytes);
    }

    /// Writes as much as the network takes.
    pub(super) fn write(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        if self.is_drained() {
            return;
        }
        let rest = &self.unwritten[self.written..];
        self.written += env.network.write(env.agenda, key, rest);
        if self.written == self.unwritten.len() {
            self.unwritten.clear();
            self.written = 0;
        }
    }
}

impl Driver {
    pub(super) fn handle_accepted(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        from: IpAddr,
    ) {
        if self.door.enter(env.now, Source::from(from)).is_err() {
            return env.network.close(env.agenda, key);
        }
        self.connections.insert(key, Connection::incoming(from));
        self.accept(env, |acceptor, cx| acceptor.handle_accepted(cx, key));
    }

    pub(super) fn handle_connected(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let peer = connection.peer;
        match peer {
            _ if connection.is_closing() => {}
            Some(peer) => self.associate(env, peer, |it, cx| it.handle_connected(cx, key)),
            None if self.search_connected(env, key) => {}
            None => self.verify(env, |it, cx| it.handle_connected(cx, key)),
        }
    }

    pub(super) fn handle_writable(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.write(env, key);
        if !connection.is_drained() {
            return;
        }
        if connection.is_closing() {
            return self.forget(env, key);
        }
        if let Some(peer) = connection.peer.filter(|_| connection.linked) {
            self.touch(peer);
        }
    }

    pub(super) fn handle_readable(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        env.network.read(env.agenda, key, &mut bytes);
        if let Err(reason) = self.read(env, key, &bytes) {
            self.fault(env, key, reason);
        }
        self.scratch = bytes;
        if let Some(connection) = self.connections.get_mut(&key) {
            let is_within_frame = connection.linked && !connection.assembler.is_empty();
            connection.stalls_at = is_within_frame.then(|| env.now + FRAME_STALL_TIMEOUT);
        }
        if let Some(connection) = self.connections.get(&key)
            && connection.doubted
            && let Some(peer) = connection.peer
        {
            self.associate(env, peer, |it, cx| it.handle_heard(cx, key));
        }
    }

    /// The connection is over, behind what it brought.
    pub(super) fn handle_closed(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        reason: CloseReason,
    ) {
        self.handle_readable(env, key);
        let Some(connection) = self.connections.get(&key) else {
            return env.network.close(env.agenda, key);
        };
        let (peer, closing) = (connection.peer, connection.is_closing());
        self.forget(env, key);
        match peer {
            _ if closing => {}
            Some(peer) => self.associate(env, peer, |it, cx| it.handle_closed(cx, key, reason)),
            None => {
                self.accept(env, |acceptor, _| acceptor.handle_closed(key));
                self.inquiry_over(env, key);
                self.search_closed(env, key, reason);
            }
        }
    }

    /// Nothing good comes from a connection any more.
    pub(super) fn fault(&mut self, env: &mut Surroundings<'_>, key: ConnKey, reason: CloseReason) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        match connection.peer {
            Some(peer) => self.associate(env, peer, |it, cx| it.handle_fault(cx, key, reason)),
            None => {
                self.accept(env, |acceptor, cx| acceptor.handle_fault(cx, key, reason));
                self.inquiry_over(env, key);
                self.search_closed(env, key, reason);
            }
        }
        self.close(env, key, reason);
    }

    /// Closes a connection, once what was written before is sent.
    pub(super) fn close(&mut self, env: &mut Surroundings<'_>, key: ConnKey, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.closing.is_some() {
            return;
        }
        connection.closing = Some(env.now + HANDSHAKE_TIMEOUT);
        if connection.linked {
            self.say_last_words(key, reason);
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.write(env, key);
            if connection.is_drained() {
                self.forget(env, key);
            }
        }
    }

    /// What a link says with its last breath on a connection: how far it has received, and that it
    /// rests, or that its peer is quarantined.
    fn say_last_words(&mut self, key: ConnKey, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let link = connection
            .peer
            .and_then(|peer| self.peers[peer].link.as_mut());
        let Some(link) = link.filter(|link| link.connection == Some(key)) else {
            return;
        };
        let quarantines = reason == CloseReason::Quarantined(By::Us);
        if !quarantines && reason != CloseReason::Bye && !link.outbound.says_rest() {
            return;
        }
        if let Some(grant) = link.inbound.poll_grant(true) {
            link.outbound.queue_grant(grant);
        }
        let bye = quarantines.then(|| link.outbound.gather_bye()).flatten();
        for words in link.outbound.gather_control().into_iter().chain(bye) {
            connection.queue(&words);
        }
    }

    /// A connection is gone, for this side.
    fn forget(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        env.network.close(env.agenda, key);
        if let Some(connection) = self.connections.remove(&key)
            && let Some(from) = connection.from
        {
            self.door.leave(Source::from(from), connection.half_open);
        }
    }

    /// A connection got its link.
    pub(super) fn settle(&mut self, key: ConnKey) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.linked = true;
            if std::mem::take(&mut connection.half_open)
                && let Some(from) = connection.from
            {
                self.door.settle(Source::from(from));
            }
        }
    }

    /// Connections that were to be closed and could not write what waits are closed without.
    pub(super) fn end_lingering(&mut self, env: &mut Surroundings<'_>) {
        let is_due = |connection: &Connection| connection.closing.is_some_and(|at| at <= env.now);
        let all = self.connections.iter();
        let due = all.filter_map(|(key, connection)| is_due(connection).then_some(*key));
        for key in due.collect::<Vec<_>>() {
            self.forget(env, key);
        }
    }

    pub(super) fn next_lingering(&self) -> Option<Instant> {
        let all = self.connections.values();
        all.filter_map(|it| it.closing.or(it.stalls_at)).min()
    }

    /// Bytes came on a connection.
    fn read(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        mut bytes: &[u8],
    ) -> Result<(), CloseReason> {
        if let Some(connection) = self.connections.get_mut(&key)
            && let Some(preface) = &mut connection.preface
        {
            let missing = PREFACE_BYTES - preface.len();
            let (first, rest) = bytes.split_at(missing.min(bytes.len()));
            preface.extend_from_slice(first);
            bytes = rest;
            let Some(preface) = preface.first_chunk::<PREFACE_BYTES>().copied() else {
                return Ok(());
            };
            connection.preface = None;
            self.accept(env, |acceptor, cx| {
                acceptor.handle_preface(cx, key, &preface)
            });
        }
        while !bytes.is_empty() {
            let Some(connection) = self.connections.get_mut(&key) else {
                return Ok(());
            };
            if connection.is_closing() {
                return Ok(());
            }
            let cap = match connection.linked {
                true => FRAME_BYTES_CONTROL,
                false => FRAME_BYTES_BEFORE_ACCEPT,
            };
            if connection.assembler.is_empty() {
                match parse(bytes, cap)? {
                    Parse::Complete(frame) => {
                        bytes = &bytes[frame.wire_bytes..];
                        self.handle_frame(env, key, &frame)?;
                        continue;
                    }
                    Parse::Incomplete { .. } => {}
                }
            }
            let mut assembler = std::mem::take(&mut connection.assembler);
            let taken = assembler.push(bytes, cap)?;
            bytes = &bytes[taken..];
            if let Parse::Complete(frame) = assembler.parse(cap)? {
                self.handle_frame(env, key, &frame)?;
                assembler.clear();
            }
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.assembler = assembler;
            }
        }
        Ok(())
    }

    fn handle_frame(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        let Some(connection) = self.connections.get(&key) else {
            return Ok(());
        };
        match connection.peer {
            Some(peer) if connection.linked => self.handle_link_frame(env, (key, peer), frame),
            peer => {
                self.handle_handshake_frame(env, (key, peer), frame);
                Ok(())
            }
        }
    }

    /// Hands a message to the machine of the node; or does what a canary has it do.
    fn bring_up(&mut self, env: &mut Surroundings<'_>, from: Rc<NodeId>, body: Vec<u8>) {
        if let Some(canary) = self.manner.canary
            && env.random.chance(Canary::SHARE)
            && let Some(last) = env.happenings.last().copied()
        {
            match canary {
                Canary::Repeat => env.happenings.push(last),
                Canary::Lose => {
                    env.happenings.pop();
                    return;
                }
                // Those that members do, or do not.
                _ => {}
            }
        }
        self.upward.push_back(Upward::Message { from, body });
    }

    fn handle_link_frame(
        &mut self,
        env: &mut Surroundings<'_>,
        (key, peer): (ConnKey, usize),
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        let link = self.peers[peer].link.as_mut();
        let Some(link) = link.filter(|link| link.connection == Some(key)) else {
            return Ok(());
        };
        let start = link.inbound.received_to();
        if frame.header.kind.is_positioned() {
            link.inbound.accept(frame.wire_bytes)?;
        }
        match frame.header.kind {
            Kind::Cluster => {
                let digest = digest(frame.payload);
                env.agenda
                    .note(What::Delivered, [env.node as u64, start, digest]);
                env.happenings.push(Happening::Delivered {
                    node: env.node,
                    uid: self.local.id.uid,
                    from: link.peer.uid,
                    place: Place {
                        half: link.half,
                        start,
                        end: link.inbound.received_to(),
                        digest,
                    },
                    conn: Network::other_end(key),
                });
                let (from, body) = (link.peer.clone(), frame.payload.to_vec());
                self.bring_up(env, from, body);
                self.touch(peer);
            }
            Kind::Grant => {
                let grant = Grant::parse(frame)?;
                link.outbound.handle_grant(grant, &mut self.slabs)?;
                let uid = link.peer.uid;
                self.touch(peer);
                self.flush_post(env, uid);
            }
            Kind::Ping | Kind::Pong | Kind::Bye | Kind::Rest => {
                self.associate(env, peer, |it, cx| it.handle_frame(cx, key, frame));
                self.touch(peer);
            }
            kind => return Err(CloseReason::UnexpectedFrame(kind)),
        }
        Ok(())
    }
}

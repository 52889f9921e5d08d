//! Who dials this node: diallers that introduce themselves, and inquiries about them.

use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::{Accept, RefuseReason};
use ringmesh_proto::handshake::{Answer, Begin, Company, Introduction, Unvouched, Verifier};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::{address::NodeId, close_reason::CloseReason};

use super::connection::Connection;
use super::{Driver, Surroundings};

/// Whether a dialler is let in.
type Judged = Result<(), RefuseReason>;

impl Driver {
    /// A frame came on a connection that carries no link.
    pub(super) fn handle_handshake_frame(
        &mut self,
        env: &mut Surroundings<'_>,
        (key, peer): (ConnKey, Option<usize>),
        frame: &Frame<'_>,
    ) {
        if let Some(peer) = peer {
            if self.is_quarantined_answer(frame) {
                self.associate(env, peer, |it, cx| it.handle_quarantined_answer(cx, key));
            } else {
                self.associate(env, peer, |it, cx| it.handle_frame(cx, key, frame));
            }
            return;
        }
        if self.inquiry_frame(env, key, frame) || self.search_frame(env, key, frame) {
            return;
        }
        let introduced = self.accept(env, |acceptor, cx| acceptor.handle_frame(cx, key, frame));
        if let Some(introduction) = introduced
            && let Err(reason) = self.introduce(env, &introduction)
        {
            self.accept(env, |acceptor, cx| acceptor.refuse(cx, key, reason));
        }
    }

    /// Whether a frame is the answer of a process start that is quarantined.
    fn is_quarantined_answer(&self, frame: &Frame<'_>) -> bool {
        if frame.header.kind != Kind::Accept {
            return false;
        }
        Accept::parse(frame).is_ok_and(|accept| {
            let (address, uid) = (accept.from, accept.uid);
            self.quarantines.is_quarantined(&NodeId { address, uid })
        })
    }

    fn introduce(
        &mut self,
        env: &mut Surroundings<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        if introduction.is_inquiry() {
            return self.answer_inquiry(env, introduction);
        }
        self.check(introduction)?;
        match self.connections.get(&introduction.conn).map(|it| it.from) {
            Some(Some(from)) if !self.is_proven(introduction, from) => {
                self.inquire(env, introduction, from, Company::Allowed)
            }
            _ => self.admit(env, introduction),
        }
    }

    fn check(&self, introduction: &Introduction) -> Result<(), RefuseReason> {
        if self.stopping {
            return Err(RefuseReason::Stopping);
        }
        match self.quarantines.is_quarantined(&introduction.peer) {
            true => Err(RefuseReason::Quarantined),
            false => Ok(()),
        }
    }

    fn is_proven(&self, introduction: &Introduction, from: std::net::IpAddr) -> bool {
        let peer = self.by_address.get(&introduction.peer.address);
        let proven = peer.and_then(|peer| self.peers[*peer].proven);
        proven == Some((introduction.peer.uid, from))
    }

    /// Brings a dialler to the association with its node.
    fn admit(
        &mut self,
        env: &mut Surroundings<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        self.check(introduction)?;
        let peer = self.peer(&introduction.peer.address);
        let key = introduction.conn;
        self.set_peer(key, Some(peer));
        let accepted = self.associate(env, peer, |it, cx| it.handle_incoming(cx, introduction));
        if accepted.is_err() {
            self.set_peer(key, None);
        }
        accepted
    }

    fn set_peer(&mut self, key: ConnKey, peer: Option<usize>) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.peer = peer;
        }
    }

    fn answer_inquiry(
        &mut self,
        env: &mut Surroundings<'_>,
        inquiry: &Introduction,
    ) -> Result<(), RefuseReason> {
        let peer = self.by_address.get(&inquiry.peer.address);
        let vouches = peer.is_some_and(|peer| {
            let association = &self.peers[*peer].association;
            association.vouches_for(inquiry.nonce)
        });
        if !vouches {
            return Err(RefuseReason::Unproven);
        }
        self.accept(env, |acceptor, cx| acceptor.vouch(cx, inquiry));
        Ok(())
    }

    /// Has the address that a dialler claims asked about it.
    fn inquire(
        &mut self,
        env: &mut Surroundings<'_>,
        introduction: &Introduction,
        from: std::net::IpAddr,
        company: Company,
    ) -> Result<(), RefuseReason> {
        let (now, claim) = (env.now, introduction.clone());
        let begin = self.verify(env, |it, _| it.begin(now, claim, from, company))?;
        if begin == Begin::Wait {
            return Ok(());
        }
        let conn = introduction.conn;
        if !self.door.may_inquire(now, from.into()) {
            self.verify(env, |verifier, _| verifier.give_up(conn));
            return Err(RefuseReason::Overloaded);
        }
        let address = &introduction.peer.address;
        match env.network.dial(env.agenda, env.node, address) {
            Some(dial) => {
                self.connections.insert(dial, Connection::dialled(None));
                if !self.verify(env, |it, _| it.handle_dialling(conn, dial)) {
                    self.drop_connection(env, dial);
                }
            }
            None => self.deny(env, conn),
        }
        Ok(())
    }

    /// A frame on a connection that asks, or that is being asked about. Says whether it is one.
    fn inquiry_frame(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        frame: &Frame<'_>,
    ) -> bool {
        if self.verifier.is_waiting(key) {
            // It was not accepted yet, and has nothing to say before.
            self.inquiry_over(env, key);
            let reason = CloseReason::UnexpectedFrame(frame.header.kind);
            self.close(env, key, reason);
            return true;
        }
        if !self.verifier.is_dial(key) {
            return false;
        }
        match self.verify(env, |verifier, cx| verifier.handle_frame(cx, key, frame)) {
            Some(Answer::Vouched(introduction)) => {
                self.settle_introduction(env, &introduction, Self::admit);
                self.begin_anew(env, &introduction.peer);
            }
            Some(Answer::Denied(conn)) => self.deny(env, conn),
            None => {}
        }
        true
    }

    /// Nobody vouches for a dialler: each host has one place.
    fn deny(&mut self, env: &mut Surroundings<'_>, conn: ConnKey) {
        if let Some(unvouched) = self.verify(env, |verifier, _| verifier.give_up(conn)) {
            self.turn_down(env, &unvouched);
        }
    }

    fn turn_down(&mut self, env: &mut Surroundings<'_>, unvouched: &Unvouched) {
        let (introduction, reason) = (&unvouched.introduction, unvouched.reason);
        let conn = introduction.conn;
        self.accept(env, |acceptor, cx| acceptor.refuse(cx, conn, reason));
        let peer = &introduction.peer;
        for follower in self.verify(env, |verifier, _| verifier.take_followers(peer)) {
            self.settle_introduction(env, &follower, |driver, env, follower| {
                let from = driver.connections.get(&follower.conn);
                match from.and_then(|connection| connection.from) {
                    Some(from) => driver.inquire(env, follower, from, Company::Avoided),
                    None => Err(RefuseReason::Unproven),
                }
            });
        }
    }

    fn begin_anew(&mut self, env: &mut Surroundings<'_>, peer: &NodeId) {
        for follower in self.verify(env, |verifier, _| verifier.take_followers(peer)) {
            self.settle_introduction(env, &follower, Self::introduce);
        }
    }

    fn settle_introduction(
        &mut self,
        env: &mut Surroundings<'_>,
        introduction: &Introduction,
        judge: impl FnOnce(&mut Self, &mut Surroundings<'_>, &Introduction) -> Judged,
    ) {
        let key = introduction.conn;
        let connection = self.connections.get(&key);
        if connection.is_none_or(Connection::is_closing) {
            return;
        }
        if let Err(reason) = judge(self, env, introduction) {
            self.accept(env, |acceptor, cx| acceptor.refuse(cx, key, reason));
        }
    }

    /// A connection that asks, or that is being asked about, is gone.
    pub(super) fn inquiry_over(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        if let Some(conn) = self.verify(env, |it, _| it.handle_dial_over(key)) {
            return self.deny(env, conn);
        }
        if let Some(gone) = self.verify(env, |it, cx| it.handle_closed(cx, key)) {
            self.begin_anew(env, &gone.peer);
        }
    }

    /// The time of an inquiry is up.
    pub(super) fn end_overdue_inquiry(&mut self, env: &mut Surroundings<'_>) {
        if let Some(overdue) = self.verify(env, Verifier::handle_timeout) {
            self.turn_down(env, &overdue);
        }
    }
}

//! Diallers that are asked about at the address they claim, before anybody acts on their hello; and
//! the answer when another node asks about a dial of this one.
//!
//! Nobody is asked about a process start that was proven from the same place before: it reconnects
//! without delay.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::{ConnKey, Context, Outbox};
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::{Accept, RefuseReason};
use ringmesh_proto::handshake::{Answer, Begin, Company, Introduction, Unvouched, Verifier};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::DIALLED_ADDRESSES_MAX;
use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::Transport;
use ringmesh_transport::timer::TimerKey;

use super::link::Connection;
use super::stop::Ears;
use super::{Core, Token};

/// The diallers that a core has asked about, and whether others may still ask about its own dials.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    verifier: RefCell<Verifier>,
    /// Where each may still be asked about, by the dialler's connection.
    places: RefCell<HashMap<ConnKey, VecDeque<SocketAddr>>>,
    /// Whose host names wait to be looked up; those that are asked about no more drop out.
    names: RefCell<VecDeque<ConnKey>>,
    /// One is being looked up. Strangers choose these names: a slow one holds up the others, and
    /// never the dials of this node.
    looking_up: Cell<bool>,
    timer: Cell<Option<(Instant, TimerKey)>>,
    /// While the node stops.
    pub(super) ears: Cell<Ears>,
}

/// Who says that a dial has reached it, if a frame is such an answer.
pub(super) fn answerer(frame: &Frame<'_>) -> Option<NodeId> {
    let answer = (frame.header.kind == Kind::Accept).then(|| Accept::parse(frame));
    let Accept { from, uid, .. } = answer?.ok()?;
    Some(NodeId { address: from, uid })
}

impl Core {
    /// Brings a dialler to the association with its node, at once or when it was vouched for.
    pub(super) fn introduce(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        // Who stops may have links that form, and has to vouch for their dials.
        if introduction.is_inquiry() {
            return self.answer_inquiry(introduction);
        }
        if self.is_closing() {
            return Err(RefuseReason::Stopping);
        }
        self.check_quarantine(&introduction.peer)?;
        if self.shared.is_elsewhere(&introduction.peer) {
            return Err(RefuseReason::Collision);
        }
        if !self.local().may_link(introduction) {
            return Err(RefuseReason::Overloaded);
        }
        match connection.from() {
            Some(from) if self.is_unproven(introduction, from) => {
                self.inquire(introduction, from, Company::Allowed)
            }
            _ => self.admit(connection, introduction),
        }
    }

    /// Whether a frame accepts this node's dial with the uid of a node at another address.
    pub(super) fn is_collision(&self, frame: &Frame<'_>) -> bool {
        answerer(frame).is_some_and(|node| self.shared.is_elsewhere(&node))
    }

    fn is_unproven(&self, introduction: &Introduction, from: IpAddr) -> bool {
        self.settings.verify_peers && !self.shared.is_proven(&introduction.peer, from)
    }

    /// Another node was dialled in this one's name, and asks whether that is so.
    fn answer_inquiry(self: &Rc<Self>, inquiry: &Introduction) -> Result<(), RefuseReason> {
        let is_own = {
            let mut peers = self.peers.borrow_mut();
            let node = peers.number(&inquiry.peer.address);
            let core = inquiry.sending_core;
            let dialled = |lane| peers.find(node?, core, lane);
            let dialled = Lane::ALL.map(dialled).into_iter().flatten();
            // One nonce is one dial, of whatever lane.
            let mut vouched =
                dialled.map(|peer| peers.at(peer).association.vouches_for(inquiry.nonce));
            vouched.any(|vouches| vouches)
        };
        if !is_own {
            return Err(RefuseReason::Unproven);
        }
        self.accept(|acceptor, cx| acceptor.vouch(cx, inquiry));
        Ok(())
    }

    /// Asks about a dialler at the address it claims.
    fn inquire(
        self: &Rc<Self>,
        introduction: &Introduction,
        from: IpAddr,
        company: Company,
    ) -> Result<(), RefuseReason> {
        let conn = introduction.conn;
        let now = self.clock.now();
        let claim = introduction.clone();
        let begin = self.verify(|verifier, _| verifier.begin(now, claim, from, company))?;
        if begin == Begin::Wait {
            return Ok(());
        }
        if !self.shared.door.may_inquire(now, from) {
            self.verify(|verifier, _| verifier.give_up(conn));
            return Err(RefuseReason::Overloaded);
        }
        let address = &introduction.peer.address;
        if let Ok(ip) = address.host().parse::<IpAddr>() {
            self.places_found(conn, vec![SocketAddr::new(ip, address.port())]);
            return Ok(());
        }
        {
            let verifier = self.inquiries.verifier.borrow();
            let mut names = self.inquiries.names.borrow_mut();
            names.retain(|waiting| verifier.is_waiting(*waiting));
            names.push_back(conn);
        }
        self.look_up_claims();
        Ok(())
    }

    /// Looks up the next host name that a dialler claims, if none is being looked up.
    fn look_up_claims(self: &Rc<Self>) {
        let inquiries = &self.inquiries;
        while !inquiries.looking_up.get()
            && let Some(conn) = { inquiries.names.borrow_mut().pop_front() }
        {
            let verifier = inquiries.verifier.borrow();
            let Some(address) = verifier.claimed(conn) else {
                continue;
            };
            inquiries.looking_up.set(true);
            let (host, port) = (address.host().to_owned(), address.port());
            self.look_up_apart(host, port, move |core, found| {
                core.inquiries.looking_up.set(false);
                core.places_found(conn, found.unwrap_or_default());
                core.look_up_claims();
            });
        }
    }

    /// The places of the address that a dialler claims, while it waits or after.
    fn places_found(self: &Rc<Self>, conn: ConnKey, found: Vec<SocketAddr>) {
        if self.inquiries.verifier.borrow().is_waiting(conn) {
            let places = found.into_iter().take(DIALLED_ADDRESSES_MAX).collect();
            self.inquiries.places.borrow_mut().insert(conn, places);
            self.inquire_next(conn);
        }
    }

    /// Asks about a dialler at the next place, or turns it away when there is none.
    fn inquire_next(self: &Rc<Self>, conn: ConnKey) {
        while let Some(at) = { self.next_place(conn) } {
            let dialled = self.io.borrow_mut().dial(at);
            match dialled {
                Ok(id) => {
                    let dial = self.add_connection(id, None);
                    let wanted = self.verify(|it, _| it.handle_dialling(conn, dial.key));
                    if !wanted {
                        self.close_connection(&dial, CloseReason::Superseded);
                    }
                    return;
                }
                Err(error) => tracing::debug!(%at, %error, "no socket for an inquiry"),
            }
        }
        if let Some(unvouched) = self.verify(|verifier, _| verifier.give_up(conn)) {
            self.turn_down(&unvouched);
        }
    }

    fn next_place(&self, conn: ConnKey) -> Option<SocketAddr> {
        self.inquiries
            .places
            .borrow_mut()
            .get_mut(&conn)?
            .pop_front()
    }

    /// Refuses a dialler that nobody vouches for. Those of the same claim behind it are asked about
    /// each by itself.
    fn turn_down(self: &Rc<Self>, unvouched: &Unvouched) {
        let reason = unvouched.reason;
        let Introduction { conn, peer, .. } = &unvouched.introduction;
        self.inquiries.places.borrow_mut().remove(conn);
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            let label = reason.label();
            tracing::info!(%peer, label, "refusing a dial that nobody at its address vouches for");
        }
        self.accept(|acceptor, cx| acceptor.refuse(cx, *conn, reason));
        let followers = self.verify(|verifier, _| verifier.take_followers(peer));
        for follower in &followers {
            self.settle_introduction(follower, |core, connection, follower| {
                match connection.from() {
                    Some(from) => core.inquire(follower, from, Company::Avoided),
                    None => Err(RefuseReason::Unproven),
                }
            });
        }
    }

    /// A dialler was vouched for: lets it in, and those that waited for the same.
    fn vouched(self: &Rc<Self>, introduction: &Introduction) {
        self.inquiries
            .places
            .borrow_mut()
            .remove(&introduction.conn);
        self.settle_introduction(introduction, Self::admit);
        self.begin_anew(introduction);
    }

    /// Judges those that waited behind a dialler which waits no more.
    fn begin_anew(self: &Rc<Self>, introduction: &Introduction) {
        let peer = &introduction.peer;
        let followers = self.verify(|verifier, _| verifier.take_followers(peer));
        for follower in &followers {
            self.settle_introduction(follower, Self::introduce);
        }
    }

    fn settle_introduction(
        self: &Rc<Self>,
        introduction: &Introduction,
        judge: impl FnOnce(&Rc<Self>, &Rc<Connection>, &Introduction) -> Result<(), RefuseReason>,
    ) {
        let Some(connection) = self.connection_of(introduction.conn) else {
            return;
        };
        let stopping = self.is_closing().then_some(RefuseReason::Stopping);
        let judged = stopping.map_or_else(|| judge(self, &connection, introduction), Err);
        if let Err(reason) = judged {
            self.accept(|acceptor, cx| acceptor.refuse(cx, introduction.conn, reason));
        }
    }

    /// A connection that belongs to no peer is there: asks, if it was dialled for that.
    pub(super) fn inquiry_connected(self: &Rc<Self>, connection: &Connection) {
        let dial = connection.key;
        self.verify(|verifier, cx| verifier.handle_connected(cx, dial));
        self.search_connected(connection);
        if !connection.closing.get() {
            self.io.borrow_mut().start_receiving(connection.id);
        }
    }

    /// A frame came on a connection that belongs to no peer. Says whether it was about an inquiry.
    pub(super) fn inquiry_frame(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        frame: &Frame<'_>,
    ) -> bool {
        if self.search_frame(connection, frame) {
            return true;
        }
        let key = connection.key;
        let (is_dial, is_waiting) = {
            let verifier = self.inquiries.verifier.borrow();
            (verifier.is_dial(key), verifier.is_waiting(key))
        };
        if is_waiting {
            // It was not accepted yet, and has nothing to say before.
            let reason = CloseReason::UnexpectedFrame(frame.header.kind);
            self.connection_fault(connection, reason);
        } else if is_dial {
            match self.verify(|verifier, cx| verifier.handle_frame(cx, key, frame)) {
                Some(Answer::Vouched(introduction)) => self.vouched(&introduction),
                Some(Answer::Denied(conn)) => self.inquire_next(conn),
                None => {}
            }
        }
        is_dial || is_waiting
    }

    /// A connection that belongs to no peer ended, or is about to.
    pub(super) fn inquiry_over(self: &Rc<Self>, key: ConnKey, reason: CloseReason) {
        self.search_closed(key, reason);
        let asked_about = self.verify(|verifier, _| verifier.handle_dial_over(key));
        if let Some(conn) = asked_about {
            return self.inquire_next(conn);
        }
        if let Some(gone) = self.verify(|verifier, cx| verifier.handle_closed(cx, key)) {
            self.inquiries.places.borrow_mut().remove(&key);
            self.begin_anew(&gone);
        }
    }

    /// The time of an inquiry may be up.
    pub(super) fn inquiries_timeout(self: &Rc<Self>) {
        self.inquiries.timer.set(None);
        while let Some(overdue) = { self.verify(Verifier::handle_timeout) } {
            self.turn_down(&overdue);
        }
    }

    /// Calls the verifier and carries out what it says.
    fn verify<R>(self: &Rc<Self>, call: impl FnOnce(&mut Verifier, &mut Context<'_>) -> R) -> R {
        let mut out = Outbox::default();
        let result = {
            let mut verifier = self.inquiries.verifier.borrow_mut();
            call(
                &mut verifier,
                &mut self.context(Lane::Ordinary, None, &mut out),
            )
        };
        self.carry_out(None, out);
        self.arm_inquiry_timer();
        result
    }

    fn arm_inquiry_timer(&self) {
        let timer = &self.inquiries.timer;
        let due = self.inquiries.verifier.borrow().poll_timeout();
        if timer.get().map(|(deadline, _)| deadline) == due {
            return;
        }
        if let Some((_, key)) = timer.take() {
            self.cancel_timer(key);
        }
        timer.set(due.and_then(|due| Some((due, self.set_timer(due, Token::Inquiries)?))));
    }
}

//! What the machines of the links want done.

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::{ConnKey, Effect, LinkUp, Outbox};
use ringmesh_proto::frame::body::{Grant, RefuseReason};
use ringmesh_proto::quarantine::Entered;

use super::connection::Connection;
use super::link::Link;
use super::{Driver, FEATURES, Surroundings, UNWANTED};
use crate::happening::Happening;
use crate::machine::LinkNews;
use crate::trace::What;

/// The sorts of news of links, in a trace.
#[derive(Clone, Copy)]
enum Sort {
    Up,
    Lost,
    Rested,
    Resumed,
    Down,
    Restarted,
    DialFailed,
}

impl Driver {
    /// Carries out what a machine said, in order.
    pub(super) fn carry_out(
        &mut self,
        env: &mut Surroundings<'_>,
        peer: Option<usize>,
        mut out: Outbox,
    ) {
        while let Some(effect) = out.pop() {
            match effect {
                Effect::Write { conn, bytes } => self.write(env, conn, &bytes),
                Effect::Close { conn, reason } => self.close(env, conn, reason),
                Effect::Refuse { conn, reason } => self.refuse(env, conn, reason),
                Effect::QuarantinedByPeer { peer } => {
                    if self.quarantines.handle_told(&peer) != Entered::Known {
                        self.tell(LinkNews::QuarantinedBy(peer));
                    }
                }
                effect => {
                    if let Some(peer) = peer {
                        self.carry_out_for(env, peer, effect);
                    }
                }
            }
        }
    }

    /// Effects that only an association has.
    fn carry_out_for(&mut self, env: &mut Surroundings<'_>, peer: usize, effect: Effect) {
        match effect {
            Effect::Dial { address } => match env.network.dial(env.agenda, env.node, &address) {
                Some(key) => {
                    self.connections
                        .insert(key, Connection::dialled(Some(peer)));
                    self.associate(env, peer, |it, cx| it.handle_dialling(cx, key));
                }
                None => self.associate(env, peer, |it, cx| it.handle_dial_failed(cx)),
            },
            Effect::LinkUp(up) => self.link_up(env, peer, &up),
            Effect::LinkLost { conn, reason, .. } => self.link_lost(env, peer, conn, reason),
            Effect::LinkRested { conn, .. } => self.link_rested(env, peer, conn),
            Effect::LinkResumed { conn, grant, .. } => self.link_resumed(env, peer, conn, grant),
            Effect::LinkDown { reason, .. } => self.link_down(env, peer, reason),
            Effect::PeerRestarted { old, new } => {
                note(env, Sort::Restarted, new.as_u64());
                let address = self.peers[peer].address.clone();
                self.tell(LinkNews::Restarted { address, old, new });
            }
            Effect::Unreachable { reason, .. } => {
                note(env, Sort::DialFailed, peer as u64);
                let address = self.peers[peer].address.clone();
                self.tell(LinkNews::DialFailed { address, reason });
            }
            Effect::Ping { conn, nonce } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.doubted = true;
                }
                self.with_link(peer, |link| link.outbound.queue_ping(nonce));
            }
            Effect::Pong { nonce, .. } => {
                self.with_link(peer, |link| link.outbound.queue_pong(nonce));
            }
            Effect::Rest { .. } => self.with_link(peer, |link| link.outbound.queue_rest()),
            Effect::Bye { reason, .. } => {
                self.with_link(peer, |link| link.outbound.queue_bye(reason));
            }
            // Nothing waits for a link before its first connection: it is not asked to form.
            _ => {}
        }
    }

    fn with_link(&mut self, peer: usize, change: impl FnOnce(&mut Link)) {
        if let Some(link) = &mut self.peers[peer].link {
            change(link);
            self.touch(peer);
        }
    }

    /// Sends bytes of a handshake.
    fn write(&mut self, env: &mut Surroundings<'_>, key: ConnKey, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&key)
            && !connection.is_closing()
        {
            connection.queue(bytes);
            connection.write(env, key);
        }
    }

    /// Turns a dialler away that an association let wait.
    fn refuse(&mut self, env: &mut Surroundings<'_>, key: ConnKey, reason: RefuseReason) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.peer = None;
        }
        self.accept(env, |acceptor, cx| acceptor.refuse(cx, key, reason));
    }

    fn link_up(&mut self, env: &mut Surroundings<'_>, peer: usize, up: &LinkUp) {
        note(env, Sort::Up, up.peer.uid.as_u64());
        let link = Link::new(env, up);
        env.happenings.push(Happening::LinkUp {
            node: env.node,
            uid: self.local.id.uid,
            half: link.half,
            peer: up.peer.uid,
        });
        env.happenings.push(Happening::Carried {
            half: link.half,
            conn: up.conn,
        });
        self.lacked_features |= up.features != FEATURES;
        self.tell(LinkNews::Up(link.peer.clone()));
        self.quarantines.handle_link_up(&up.peer);
        let from = self.connections.get(&up.conn).and_then(|it| it.from);
        let here = &mut self.peers[peer];
        here.link = Some(link);
        here.proven = from.map(|from| (up.peer.uid, from));
        self.settle(up.conn);
        self.watch_for_idle(env);
        self.touch(peer);
        self.flush_post(env, up.peer.uid);
    }

    fn link_lost(
        &mut self,
        env: &mut Surroundings<'_>,
        peer: usize,
        conn: ConnKey,
        reason: CloseReason,
    ) {
        note(env, Sort::Lost, conn.0);
        self.part(conn);
        let Some(link) = &mut self.peers[peer].link else {
            return;
        };
        link.connection = None;
        link.outbound.handle_lost();
        let news = LinkNews::Lost {
            peer: link.peer.clone(),
            reason,
        };
        self.tell(news);
        self.touch(peer);
    }

    fn link_rested(&mut self, env: &mut Surroundings<'_>, peer: usize, conn: ConnKey) {
        note(env, Sort::Rested, conn.0);
        self.part(conn);
        if let Some(link) = &mut self.peers[peer].link {
            link.connection = None;
            link.rests = true;
            link.outbound.rest();
            let news = LinkNews::Rested(link.peer.clone());
            self.tell(news);
        }
    }

    /// A connection carries its link no more.
    fn part(&mut self, conn: ConnKey) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.linked = false;
        }
    }

    fn link_resumed(
        &mut self,
        env: &mut Surroundings<'_>,
        peer: usize,
        conn: ConnKey,
        grant: Grant,
    ) {
        note(env, Sort::Resumed, conn.0);
        let Some(link) = &mut self.peers[peer].link else {
            return;
        };
        if let Err(violation) = link.outbound.resume(grant, &mut self.slabs) {
            // The association asked the link first.
            return self.close(env, conn, violation.into());
        }
        link.connection = Some(conn);
        link.rests = false;
        let restated = link.inbound.restate();
        link.outbound.queue_grant(restated);
        let half = link.half;
        env.happenings.push(Happening::Carried { half, conn });
        let (uid, news) = (link.peer.uid, LinkNews::Resumed(link.peer.clone()));
        self.tell(news);
        self.settle(conn);
        self.watch_for_idle(env);
        self.touch(peer);
        self.flush_post(env, uid);
    }

    fn link_down(&mut self, env: &mut Surroundings<'_>, peer: usize, reason: CloseReason) {
        let Some(mut link) = self.peers[peer].link.take() else {
            return;
        };
        note(env, Sort::Down, link.peer.uid.as_u64());
        let acknowledged = link.outbound.positions().received_to;
        let mut given_up = 0;
        link.outbound
            .drain_unacknowledged(&mut self.slabs, |_| given_up += 1);
        env.happenings.push(Happening::LinkDown {
            half: link.half,
            acknowledged,
            given_up,
        });
        let peer = link.peer;
        self.tell(LinkNews::Down { peer, reason });
    }

    /// Closes a connection that nobody wants any more.
    pub(super) fn drop_connection(&mut self, env: &mut Surroundings<'_>, key: ConnKey) {
        self.close(env, key, UNWANTED);
    }
}

fn note(env: &mut Surroundings<'_>, sort: Sort, number: u64) {
    let numbers = [env.node as u64, sort as u64, number];
    env.agenda.note(What::Link, numbers);
}

//! Which process start answers at an address.
//!
//! Two starts want to be the member there. No link tells which of them is right: without
//! `node.verify_peers` whoever reaches the port may claim an address, and one that was proven may
//! be over since. So the address is dialled afresh, and asked for each of the two by its uid.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringmesh_cluster::membership::Member;
use ringmesh_cluster::membership::machine::Identity;
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::handshake::Sought;
use ringmesh_proto::limits::{DIALLED_ADDRESSES_MAX, VERIFY_TIMEOUT};
use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::Transport;
use ringmesh_transport::timer::TimerKey;

use super::super::link::Connection;
use super::super::{Core, Token};

/// The addresses that are being asked, as many as the machine has claims.
#[derive(Debug, Default)]
pub(super) struct Searches {
    by_address: BTreeMap<Address, Search>,
    dials: BTreeMap<ConnKey, Address>,
    /// Names that wait to be looked up, one at a time.
    names: VecDeque<Address>,
    is_looking_up: bool,
    timer: Option<(Instant, TimerKey)>,
}

#[derive(Debug)]
struct Search {
    /// Who may be there. The first is asked for.
    starts: VecDeque<Uid>,
    /// Where that is, and which of these were not asked for the first start yet.
    places: Vec<SocketAddr>,
    left: VecDeque<SocketAddr>,
    dial: Option<ConnKey>,
    /// Nobody listened at any place so far.
    is_refused: bool,
    deadline: Instant,
}

impl Search {
    fn begin_round(&mut self) {
        self.left = self.places.iter().copied().collect();
    }

    /// Whether its time is up. What is read then may have come long before, if this process stood
    /// still meanwhile: who answered then may not be there any more.
    fn is_overdue(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// The next place to dial. Where nobody is asked for, nobody was refused.
    fn next_place(&mut self) -> Option<SocketAddr> {
        let is_over = self.starts.is_empty();
        self.is_refused &= !is_over;
        self.left.pop_front().filter(|_| !is_over)
    }
}

impl Core {
    /// Finds out which process start answers at an address.
    pub(super) fn identify(self: &Rc<Self>, address: Address) {
        let is_known = { self.cluster.searches.borrow() }
            .by_address
            .contains_key(&address);
        if is_known || self.is_closing() {
            return;
        }
        let mut starts = VecDeque::new();
        let claims = self.control_link_at(&address).map(|link| link.uid);
        let counts = {
            let machine = self.cluster.machine.borrow();
            let topology = machine.as_ref().map(|it| it.topology());
            topology
                .and_then(|it| it.member_at(&address))
                .map(Member::uid)
        };
        starts.extend(claims);
        starts.extend(counts.filter(|uid| claims != Some(*uid)));
        let search = Search {
            starts,
            places: Vec::new(),
            left: VecDeque::new(),
            dial: None,
            is_refused: true,
            deadline: self.clock.now() + VERIFY_TIMEOUT,
        };
        let mut searches = self.cluster.searches.borrow_mut();
        searches.by_address.insert(address.clone(), search);
        drop(searches);
        self.arm_search_timer();
        match address.host().parse::<IpAddr>() {
            Ok(ip) => {
                let place = SocketAddr::new(ip, address.port());
                self.search_at(&address, vec![place]);
            }
            Err(_) => {
                self.cluster.searches.borrow_mut().names.push_back(address);
                self.look_up_searched();
            }
        }
    }

    fn look_up_searched(self: &Rc<Self>) {
        let next = {
            let mut searches = self.cluster.searches.borrow_mut();
            if searches.is_looking_up {
                return;
            }
            let next = searches.names.pop_front();
            searches.is_looking_up = next.is_some();
            next
        };
        let Some(address) = next else {
            return;
        };
        let (host, port) = (address.host().to_owned(), address.port());
        self.look_up_apart(host, port, move |core, found| {
            core.cluster.searches.borrow_mut().is_looking_up = false;
            core.search_at(&address, found.unwrap_or_default());
            core.look_up_searched();
        });
    }

    /// An address stands for these places.
    fn search_at(self: &Rc<Self>, address: &Address, mut places: Vec<SocketAddr>) {
        places.truncate(DIALLED_ADDRESSES_MAX);
        {
            let mut searches = self.cluster.searches.borrow_mut();
            // Its time may be over.
            let Some(search) = searches.by_address.get_mut(address) else {
                return;
            };
            search.is_refused = !places.is_empty();
            search.places = places;
            search.begin_round();
        }
        self.search_on(address);
    }

    /// Dials the next place, or ends the search when there is none.
    fn search_on(self: &Rc<Self>, address: &Address) {
        loop {
            let place = {
                let mut searches = self.cluster.searches.borrow_mut();
                let Some(search) = searches.by_address.get_mut(address) else {
                    return;
                };
                search.next_place()
            };
            let Some(place) = place else {
                return self.search_failed(address);
            };
            let dialled = self.io.borrow_mut().dial(place);
            match dialled {
                Ok(id) => {
                    let key = self.add_connection(id, None).key;
                    let mut searches = self.cluster.searches.borrow_mut();
                    searches.dials.insert(key, address.clone());
                    if let Some(search) = searches.by_address.get_mut(address) {
                        search.dial = Some(key);
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!(%place, %error, "no socket to ask who is there");
                    self.note_unasked(address);
                }
            }
        }
    }

    /// A place could not be asked, for want of something here: that says nothing of who is there.
    fn note_unasked(&self, address: &Address) {
        let mut searches = self.cluster.searches.borrow_mut();
        if let Some(search) = searches.by_address.get_mut(address) {
            search.is_refused = false;
        }
    }

    /// A dial succeeded: asks, if it was made for that.
    pub(in super::super) fn search_connected(&self, connection: &Connection) {
        let start = { self.cluster.searches.borrow() }.asked_for(connection.key);
        if let Some(start) = start {
            let bytes = self.local().look_for(&start, crate::random::number());
            self.write(connection.key, &bytes);
        }
    }

    /// A frame came on a connection that belongs to no peer. Says whether it answers a search.
    pub(in super::super) fn search_frame(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        frame: &Frame<'_>,
    ) -> bool {
        let key = connection.key;
        let start = { self.cluster.searches.borrow() }.asked_for(key);
        let Some(start) = start else {
            return false;
        };
        let address = &start.address;
        let is_overdue = {
            let searches = self.cluster.searches.borrow();
            let search = searches.by_address.get(address);
            search.is_some_and(|it| it.is_overdue(self.clock.now()))
        };
        if is_overdue {
            self.search_over(address, Identity::Silent);
            return true;
        }
        {
            let mut searches = self.cluster.searches.borrow_mut();
            searches.dials.remove(&key);
            if let Some(search) = searches.by_address.get_mut(address) {
                search.dial = None;
                search.is_refused = false;
            }
        }
        self.close_connection(connection, CloseReason::Vouched);
        match Sought::of(&start, frame) {
            Sought::Found => self.search_over(address, Identity::Found(start.uid)),
            Sought::Another => {
                if let Some(search) = { self.cluster.searches.borrow_mut() }
                    .by_address
                    .get_mut(address)
                {
                    search.starts.pop_front();
                    search.begin_round();
                }
                self.search_on(address);
            }
            Sought::Unclear => self.search_on(address),
        }
        true
    }

    /// A connection that belongs to no peer has ended.
    pub(in super::super) fn search_closed(self: &Rc<Self>, key: ConnKey, reason: CloseReason) {
        let address = { self.cluster.searches.borrow_mut() }.dials.remove(&key);
        let Some(address) = address else {
            return;
        };
        if let Some(search) = { self.cluster.searches.borrow_mut() }
            .by_address
            .get_mut(&address)
        {
            search.dial = None;
            search.is_refused &= reason == CloseReason::DialRefused;
        }
        self.search_on(&address);
    }

    /// The time of a search may be up.
    pub(in super::super) fn searches_timeout(self: &Rc<Self>) {
        let now = self.clock.now();
        let overdue: Vec<Address> = {
            let mut searches = self.cluster.searches.borrow_mut();
            searches.timer = None;
            let all = searches.by_address.iter();
            let overdue = all.filter(|(_, search)| search.is_overdue(now));
            overdue.map(|(address, _)| address.clone()).collect()
        };
        for address in overdue {
            self.search_over(&address, Identity::Silent);
        }
        self.arm_search_timer();
    }

    fn search_failed(self: &Rc<Self>, address: &Address) {
        let searches = self.cluster.searches.borrow();
        let search = searches.by_address.get(address);
        let is_refused = search.is_some_and(|it| it.is_refused && !it.places.is_empty());
        drop(searches);
        let identity = match is_refused {
            true => Identity::Refused,
            false => Identity::Silent,
        };
        self.search_over(address, identity);
    }

    fn search_over(self: &Rc<Self>, address: &Address, identity: Identity) {
        let dial = {
            let mut searches = self.cluster.searches.borrow_mut();
            searches.names.retain(|name| name != address);
            let search = searches.by_address.remove(address);
            let dial = search.and_then(|it| it.dial);
            dial.inspect(|key| drop(searches.dials.remove(key)))
        };
        if let Some(connection) = dial.and_then(|key| self.connection_of(key)) {
            self.close_connection(&connection, CloseReason::HandshakeTimeout);
        }
        self.arm_search_timer();
        self.tell_cluster(|machine, cx| machine.handle_identified(cx, address, identity));
    }

    fn arm_search_timer(&self) {
        let mut searches = self.cluster.searches.borrow_mut();
        let due = searches.by_address.values().map(|it| it.deadline).min();
        if searches.timer.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, key)) = searches.timer.take() {
            self.cancel_timer(key);
        }
        searches.timer = due.and_then(|at| Some((at, self.set_timer(at, Token::Searches)?)));
    }
}

impl Searches {
    /// Whom a dial looks for.
    fn asked_for(&self, dial: ConnKey) -> Option<NodeId> {
        let address = self.dials.get(&dial)?;
        let uid = *self.by_address.get(address)?.starts.front()?;
        Some(NodeId {
            address: address.clone(),
            uid,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn search(starts: &[u64]) -> Search {
        let place = SocketAddr::from(([127, 0, 0, 1], 7400));
        let mut search = Search {
            starts: starts.iter().copied().filter_map(Uid::new).collect(),
            places: vec![place],
            left: VecDeque::new(),
            dial: None,
            is_refused: true,
            deadline: Instant::ZERO + VERIFY_TIMEOUT,
        };
        search.begin_round();
        search
    }

    #[test]
    fn what_is_read_when_the_time_is_up_is_too_late() {
        let search = search(&[1]);
        let before = Instant::ZERO + (VERIFY_TIMEOUT - Duration::from_nanos(1));
        assert!(!search.is_overdue(before) && search.is_overdue(search.deadline));
    }

    #[test]
    fn where_nobody_is_asked_for_nobody_is_refused() {
        let mut one = search(&[1]);
        assert!(one.next_place().is_some() && one.is_refused);
        assert!(one.next_place().is_none() && one.is_refused);
        let mut nobody = search(&[]);
        assert!(nobody.next_place().is_none() && !nobody.is_refused);
    }
}

//! Which process start answers at an address, as the engine finds it out: by a fresh dial that
//! wants no link, for each start that may be there.

use std::collections::{BTreeMap, VecDeque};

use ringmesh_cluster::membership::machine::Identity;
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::handshake::Sought;
use ringmesh_proto::limits::VERIFY_TIMEOUT;
use ringmesh_proto::time::Instant;

use super::connection::Connection;
use super::{Driver, Surroundings};
use crate::machine::LinkNews;

/// The addresses that are being asked.
#[derive(Debug, Default)]
pub(super) struct Searches {
    by_address: BTreeMap<Address, Search>,
    dials: BTreeMap<ConnKey, Address>,
}

#[derive(Debug)]
struct Search {
    /// Who may be there. The first is asked for.
    starts: VecDeque<Uid>,
    deadline: Instant,
}

impl Searches {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.by_address.values().map(|it| it.deadline).min()
    }

    /// Whom a dial looks for, if it does.
    fn asked_for(&self, dial: ConnKey) -> Option<NodeId> {
        let address = self.dials.get(&dial)?;
        let uid = *self.by_address.get(address)?.starts.front()?;
        Some(NodeId {
            address: address.clone(),
            uid,
        })
    }

    /// Whether the time of a search is up. What comes then may be of long ago, if this process
    /// stood still.
    fn is_overdue(&self, address: &Address, now: Instant) -> bool {
        let search = self.by_address.get(address);
        search.is_some_and(|it| it.deadline <= now)
    }
}

impl Driver {
    /// Finds out who answers at an address: whoever the link there is with, or the member there.
    /// While that is being found out it is not begun again.
    pub(crate) fn identify(
        &mut self,
        env: &mut Surroundings<'_>,
        address: &Address,
        member: Option<Uid>,
    ) {
        if self.stopping || self.searches.by_address.contains_key(address) {
            return;
        }
        let peer = self.by_address.get(address);
        let link = peer.and_then(|peer| self.peers[*peer].link.as_ref());
        let linked = link.map(|link| link.peer.uid);
        let others = member.filter(|uid| linked != Some(*uid));
        let search = Search {
            starts: linked.into_iter().chain(others).collect(),
            deadline: env.now + VERIFY_TIMEOUT,
        };
        self.searches.by_address.insert(address.clone(), search);
        self.search_on(env, address);
    }

    /// Dials for the next start, or ends the search when there is none.
    fn search_on(&mut self, env: &mut Surroundings<'_>, address: &Address) {
        let search = self.searches.by_address.get(address);
        let is_over = search.is_none_or(|it| it.starts.is_empty());
        let dial = match is_over {
            true => None,
            false => env.network.dial(env.agenda, env.node, address),
        };
        let Some(key) = dial else {
            return self.search_over(env, address, Identity::Silent);
        };
        self.connections.insert(key, Connection::dialled(None));
        self.searches.dials.insert(key, address.clone());
    }

    /// A dial succeeded. Says whether it was made for a search, which asks then.
    pub(super) fn search_connected(&mut self, env: &mut Surroundings<'_>, key: ConnKey) -> bool {
        let Some(start) = self.searches.asked_for(key) else {
            return false;
        };
        let bytes = self.local.look_for(&start, env.random.number());
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.queue(&bytes);
            connection.write(env, key);
        }
        true
    }

    /// A frame came on a connection that belongs to no peer. Says whether it answers a search.
    pub(super) fn search_frame(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        frame: &Frame<'_>,
    ) -> bool {
        let Some(start) = self.searches.asked_for(key) else {
            return false;
        };
        let address = &start.address;
        if self.searches.is_overdue(address, env.now) {
            self.search_over(env, address, Identity::Silent);
            return true;
        }
        self.searches.dials.remove(&key);
        self.close(env, key, CloseReason::Vouched);
        match Sought::of(&start, frame) {
            Sought::Found => self.search_over(env, address, Identity::Found(start.uid)),
            Sought::Another => {
                if let Some(search) = self.searches.by_address.get_mut(address) {
                    search.starts.pop_front();
                }
                self.search_on(env, address);
            }
            Sought::Unclear => self.search_over(env, address, Identity::Silent),
        }
        true
    }

    /// A connection that belongs to no peer has ended.
    pub(super) fn search_closed(
        &mut self,
        env: &mut Surroundings<'_>,
        key: ConnKey,
        reason: CloseReason,
    ) {
        let Some(address) = self.searches.dials.remove(&key) else {
            return;
        };
        let is_overdue = self.searches.is_overdue(&address, env.now);
        let identity = match reason {
            CloseReason::DialRefused if !is_overdue => Identity::Refused,
            _ => Identity::Silent,
        };
        self.search_over(env, &address, identity);
    }

    /// Ends the searches whose time is up.
    pub(super) fn end_searches(&mut self, env: &mut Surroundings<'_>) {
        let all = self.searches.by_address.iter();
        let overdue = all.filter(|(_, it)| it.deadline <= env.now);
        let overdue: Vec<Address> = overdue.map(|(address, _)| address.clone()).collect();
        for address in overdue {
            self.search_over(env, &address, Identity::Silent);
        }
    }

    fn search_over(&mut self, env: &mut Surroundings<'_>, address: &Address, identity: Identity) {
        if self.searches.by_address.remove(address).is_none() {
            return;
        }
        let dials = self.searches.dials.iter();
        let dial = dials.filter(|(_, at)| *at == address).map(|(key, _)| *key);
        for key in dial.collect::<Vec<_>>() {
            self.searches.dials.remove(&key);
            self.close(env, key, CloseReason::HandshakeTimeout);
        }
        let address = address.clone();
        self.tell(LinkNews::Identified { address, identity });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::{Act, Context, Machine};
    use crate::{Fault, Script, Settings, Trace, World};

    /// Asks who is at an address, and notes what it is told.
    struct Asker(Vec<Identity>);

    #[derive(Clone, Debug)]
    enum Wish {
        Link(Address),
        Identify(Address, Option<Uid>),
    }

    impl Machine for Asker {
        type Command = Wish;
        type Event = ();

        fn handle_message(&mut self, _: &mut Context<'_, ()>, _: &NodeId, _: &[u8]) {}

        fn handle_link(&mut self, _: &mut Context<'_, ()>, news: &LinkNews) {
            if let LinkNews::Identified { identity, .. } = news {
                self.0.push(*identity);
            }
        }

        fn handle_command(&mut self, cx: &mut Context<'_, ()>, wish: &Wish) {
            cx.out.push(match wish.clone() {
                Wish::Link(address) => Act::DialOnce(address),
                Wish::Identify(address, member) => Act::Identify(address, member),
            });
        }

        fn handle_timeout(&mut self, _: &mut Context<'_, ()>) {}

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Two nodes with a link, and the process start at the second.
    fn linked() -> (World<Asker>, Uid) {
        let settings = Settings::new(1, 2);
        let mut world = World::new(settings, Trace::hashed(), |_| Asker(Vec::new()));
        world.follow(Script::new().start(0..2));
        world.run(millis(10)).unwrap();
        let there = world.addresses()[1].clone();
        world.command(0, &Wish::Link(there));
        world.run(millis(100)).unwrap();
        assert!(world.is_linked(0, 1));
        let uid = world.uid(1).unwrap();
        (world, uid)
    }

    fn ask(world: &mut World<Asker>, member: Option<Uid>) {
        let there = world.addresses()[1].clone();
        world.command(0, &Wish::Identify(there, member));
    }

    /// What the first node is told within a time.
    fn told(world: &mut World<Asker>, within: Duration) -> Vec<Identity> {
        let before = world.machine(0).unwrap().0.len();
        world.run(within).unwrap();
        world.machine(0).unwrap().0[before..].to_vec()
    }

    fn crash(loses_power: bool) -> Fault {
        Fault::Crash {
            node: 1,
            loses_power,
        }
    }

    /// What the link says is of a start that is over: a member was given up while it ran, because
    /// another had its address by a link that had not noticed.
    #[test]
    fn a_link_that_hangs_does_not_say_who_answers() {
        let (mut world, old) = linked();
        ask(&mut world, None);
        assert_eq!(told(&mut world, millis(100)), [Identity::Found(old)]);
        world.befall(crash(true), Some(millis(100)));
        world.run(millis(200)).unwrap();
        let new = world.uid(1).filter(|uid| *uid != old).unwrap();
        ask(&mut world, None);
        assert_eq!(told(&mut world, millis(100)), [Identity::Silent]);
        ask(&mut world, Some(new));
        assert_eq!(told(&mut world, millis(100)), [Identity::Found(new)]);
    }

    #[test]
    fn where_no_process_is_the_dial_is_refused_and_where_no_host_is_nobody_answers() {
        for (loses_power, expected) in [(false, Identity::Refused), (true, Identity::Silent)] {
            let (mut world, old) = linked();
            world.befall(crash(loses_power), None);
            ask(&mut world, Some(old));
            let soon = told(&mut world, VERIFY_TIMEOUT - millis(100));
            assert_eq!(soon.is_empty(), loses_power);
            let late = told(&mut world, millis(200));
            assert_eq!([soon, late].concat(), [expected]);
        }
    }

    /// Whoever asks again is answered with the first, in the time of the first.
    #[test]
    fn a_search_is_not_begun_again_while_it_goes_on() {
        let (mut world, old) = linked();
        world.befall(Fault::partition(&[0], &[1]), None);
        ask(&mut world, Some(old));
        assert_eq!(told(&mut world, millis(1_500)), []);
        ask(&mut world, Some(old));
        assert_eq!(told(&mut world, millis(600)), [Identity::Silent]);
        assert_eq!(told(&mut world, millis(5_000)), []);
    }

    /// The answer may have come long before it is read.
    #[test]
    fn an_answer_that_is_read_after_its_time_says_nothing() {
        for (paused, expected) in [(500, None), (5_000, Some(Identity::Silent))] {
            let (mut world, old) = linked();
            let (paths, by) = (vec![(0, 1), (1, 0)], millis(20));
            world.befall(Fault::Delayed { paths, by }, Some(millis(100)));
            ask(&mut world, Some(old));
            world.run(millis(50)).unwrap();
            world.befall(Fault::Pause { node: 0 }, Some(millis(paused)));
            let found = told(&mut world, millis(paused + 100));
            assert_eq!(found, [expected.unwrap_or(Identity::Found(old))]);
        }
    }
}

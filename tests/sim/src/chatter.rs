//! A machine that does nothing but talk: worlds of it show what links promise, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::invariant::Invariant;
use crate::machine::{Act, Context, LinkNews, Machine};
use crate::random::Random;
use crate::run::Subject;
use crate::swarm::Plan;
use crate::world::{Birth, Maker, World};

/// Now and then says a number to another node, each time a higher one, and listens to the others.
#[derive(Debug)]
pub struct Chatter {
    others: Vec<Address>,
    /// When it speaks next, once it does.
    next: Option<Instant>,
    /// The last number said.
    said: u64,
    /// The last number heard of each process start, and when.
    heard: BTreeMap<Uid, (u64, Instant)>,
    news: u64,
}

/// What the user of a chatter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It says something to each of the others, now.
    Speak,
    /// It says goodbye.
    Leave,
}

/// What a chatter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearsay {
    /// A process start said something that it had said before, or before what was heard last.
    OutOfTurn {
        /// Which.
        from: Uid,
        /// What.
        said: u64,
        /// What it had said.
        last: u64,
    },
    /// Something came that nobody can have said.
    Garbled(Uid),
}

/// The least and the most between two things that are said.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// The most that is said at once, in bytes; now and then it is much more.
const BODY_BYTES: u64 = 400;
const LONG_BODY_BYTES: u64 = 40_000;

impl Chatter {
    /// A chatter among all nodes of its world.
    pub fn new(birth: &Birth<'_>) -> Self {
        let is_other = |address: &&Address| **address != birth.id.address;
        Self {
            others: birth.addresses.iter().filter(is_other).cloned().collect(),
            next: Some(birth.now),
            said: 0,
            heard: BTreeMap::new(),
            news: 0,
        }
    }

    /// When it heard of a process start last.
    pub fn heard_at(&self, uid: Uid) -> Option<Instant> {
        self.heard.get(&uid).map(|(_, at)| *at)
    }

    /// What it heard of a process start last.
    pub fn heard(&self, uid: Uid) -> Option<u64> {
        self.heard.get(&uid).map(|(said, _)| *said)
    }

    /// How many things it said.
    pub fn said(&self) -> u64 {
        self.said
    }

    fn say(&mut self, cx: &mut Context<'_, Hearsay>, to: usize) {
        self.said += 1;
        let most = if cx.random.chance(10) {
            LONG_BODY_BYTES
        } else {
            BODY_BYTES
        };
        let length = 8 + cx.random.below(most) as usize;
        let mut body = vec![self.said as u8; length];
        body[..8].copy_from_slice(&self.said.to_le_bytes());
        let Some(to) = self.others.get(to) else {
            return;
        };
        cx.out.send(to.clone(), body);
    }
}

impl Machine for Chatter {
    type Command = Wish;
    type Event = Hearsay;

    fn handle_message(&mut self, cx: &mut Context<'_, Hearsay>, from: &NodeId, body: &[u8]) {
        let from = from.uid;
        let said = body.first_chunk().map(|said| u64::from_le_bytes(*said));
        let Some(said) = said.filter(|said| body[8..].iter().all(|byte| *byte == *said as u8))
        else {
            return cx.out.push(Act::Publish(Hearsay::Garbled(from)));
        };
        let last = self.heard.insert(from, (said, cx.now));
        if let Some((last, _)) = last
            && said <= last
        {
            let event = Hearsay::OutOfTurn { from, said, last };
            cx.out.push(Act::Publish(event));
        }
    }

    fn handle_link(&mut self, cx: &mut Context<'_, Hearsay>, _: &LinkNews) {
        self.news += 1;
        cx.out.push(Act::Topology(self.news));
    }

    fn handle_command(&mut self, cx: &mut Context<'_, Hearsay>, command: &Wish) {
        match command {
            Wish::Speak => (0..self.others.len()).for_each(|to| self.say(cx, to)),
            Wish::Leave => {
                self.next = None;
                cx.out.push(Act::Stop);
            }
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, Hearsay>) {
        if self.next.is_none_or(|next| next > cx.now) {
            return;
        }
        let (least, most) = PAUSE;
        self.next = Some(cx.now + cx.random.span(least, most));
        if self.said == 0 {
            for address in &self.others {
                cx.out.push(Act::Dial(address.clone()));
            }
        }
        let to = one_of(cx.random, self.others.len());
        self.say(cx, to);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

fn one_of(random: &mut Random, count: usize) -> usize {
    random.index(count.max(1))
}

/// What chatters hear is in order, and in the end all of them hear each other.
#[derive(Debug)]
pub struct InTurn {
    /// How long ago the last word of each other may be, in the end.
    pub patience: Duration,
}

impl Invariant<Chatter> for InTurn {
    fn name(&self) -> &'static str {
        "in-turn"
    }

    fn observe_event(
        &mut self,
        _: &World<Chatter>,
        node: usize,
        event: &Hearsay,
    ) -> Result<u64, String> {
        Err(format!("node {node}: {event:?}"))
    }

    fn finish(&mut self, world: &World<Chatter>) -> Result<u64, String> {
        let mut checked = 0;
        for node in 0..world.nodes() {
            let Some(machine) = world.machine(node) else {
                return Err(format!("node {node} does not run"));
            };
            let now = world.clock(node).read(world.now());
            for other in (0..world.nodes()).filter(|other| *other != node) {
                let uid = world.uid(other);
                let at = uid.and_then(|uid| machine.heard_at(uid));
                if at.is_none_or(|at| now - at > self.patience) {
                    return Err(format!("node {node} does not hear node {other}: {at:?}"));
                }
                checked += 1;
            }
        }
        Ok(checked)
    }
}

/// Chatters, put through random courses of events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chatters;

impl Subject for Chatters {
    type Machine = Chatter;

    fn maker(&self, _: &Plan) -> Maker<Chatter> {
        Box::new(Chatter::new)
    }

    fn invariants(&self, plan: &Plan) -> Vec<Box<dyn Invariant<Chatter>>> {
        let patience = (plan.end - plan.healed) / 2;
        vec![Box::new(InTurn { patience })]
    }

    fn leave(&self) -> Option<Wish> {
        Some(Wish::Leave)
    }
}

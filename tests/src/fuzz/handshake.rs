//! The handshake: prefaces and frames of strangers, and connections that come, go and fail at any
//! moment, against the acceptor and the associations.
//!
//! The input is a script: each step is a byte that chooses what happens, and the bytes that say to
//! whom and how. Most values are taken from small sets, so that what belongs together meets.

mod script;
mod world;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::frame::body::{
    Accept, Bye, ByeReason, Hello, Offer, Ping, Pong, Refuse, RefuseReason, Rest,
};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{FRAME_BYTES_ORDINARY, PREFACE_BYTES, WINDOW_BYTES};
use ringmesh_proto::preface::{PROTOCOL_VERSION, Preface, Role};

use script::Script;
use world::World;

/// Runs a script to its end, and then ends everything that still goes on.
///
/// # Panics
/// When a machine asks for something that its driver could not do, or answers a stranger more
/// often than once, or does not come to its end.
pub fn handshake(bytes: &[u8]) {
    play(bytes);
}

/// What came of a script.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    links: u32,
    refusals: u32,
    restarts: u32,
    silent_ends: u32,
    resumed: u32,
    rested: u32,
}

fn play(bytes: &[u8]) -> Outcome {
    let mut world = World::new();
    let mut script = Script(bytes);
    while let Some(step) = script.step() {
        take(&mut world, step, &mut script);
        world.check();
    }
    world.end_everything()
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Step {
    /// A stranger connects.
    Incoming,
    /// 64 bytes of the script come first on a connection.
    RawPreface,
    /// A preface comes first.
    Preface,
    /// A hello comes.
    Hello,
    /// An accept comes.
    Accept,
    /// A refusal comes.
    Refuse,
    /// A ping, a pong, a goodbye or a rest comes.
    Service,
    /// Bytes of the script come, with a checksum that is right.
    RawFrame,
    /// Somebody wants a link.
    Want,
    /// A dial that was asked for is started, or fails at once.
    Dialled,
    /// A dial succeeds.
    Connected,
    /// A connection ends.
    Closed,
    /// A connection is found faulty.
    Fault,
    /// Time passes.
    Time,
    /// An association is to end.
    Stop,
    /// A link in doubt shows life.
    Heard,
    /// A dial found nobody at its first place.
    Redial,
    /// Nothing goes over a link.
    Idle,
    /// Something is to be sent on a link that has no connection.
    Wake,
}

impl Step {
    const ALL: [Self; 19] = [
        Self::Incoming,
        Self::RawPreface,
        Self::Preface,
        Self::Hello,
        Self::Accept,
        Self::Refuse,
        Self::Service,
        Self::RawFrame,
        Self::Want,
        Self::Dialled,
        Self::Connected,
        Self::Closed,
        Self::Fault,
        Self::Time,
        Self::Stop,
        Self::Heard,
        Self::Redial,
        Self::Idle,
        Self::Wake,
    ];
}

fn take(world: &mut World, step: Step, script: &mut Script<'_>) {
    let at = script.byte();
    match step {
        Step::Incoming => world.incoming(),
        Step::RawPreface => {
            let mut bytes = [0; PREFACE_BYTES];
            script.fill(&mut bytes);
            world.preface(at, &bytes);
        }
        Step::Preface => world.preface(at, &script.preface().encode()),
        Step::Hello => {
            let mut frame = Vec::new();
            script.hello().encode(&mut frame);
            world.frame(at, &frame);
        }
        Step::Accept => {
            let nonce = world.nonce(at);
            let mut frame = Vec::new();
            let link = world.link(at);
            script.accept(nonce, link).encode(&mut frame);
            world.frame(at, &frame);
        }
        Step::Refuse => {
            let mut frame = Vec::new();
            script.refuse().encode(&mut frame);
            world.frame(at, &frame);
        }
        Step::Service => {
            let nonce = world.nonce(at);
            world.frame(at, &script.service(nonce));
        }
        Step::RawFrame => world.frame(at, &script.raw_frame()),
        Step::Want => world.want(at),
        Step::Dialled => world.dialled(at, !script.byte().is_multiple_of(4)),
        Step::Connected => world.connected(at),
        Step::Closed => world.closed(at),
        Step::Fault => world.fault(at),
        Step::Time => world.time(script.span(at)),
        Step::Stop => world.stop(at),
        Step::Heard => world.heard(at),
        Step::Redial => world.redial(at),
        Step::Idle => world.idle(at),
        Step::Wake => world.wake(at),
    }
}

/// Where this node listens.
const HERE: u8 = 0;

/// The process start of this node, between those of its peers.
const OWN_UID: u64 = 3;

/// One of a few addresses; number 0 is this node's.
fn address(number: u8) -> Address {
    let (system, port) = match number % 8 {
        7 => ("other", 1),
        number => ("demo", 9000 + u16::from(number)),
    };
    Address::new(system, "node", port).expect("it is valid")
}

/// One of a few process starts; number 3 is this node's.
fn uid(number: u8) -> Uid {
    Uid::new(1 + u64::from(number % 6)).expect("not zero")
}

const OFFER: Offer = Offer {
    body_cap: FRAME_BYTES_ORDINARY,
    limit: WINDOW_BYTES as u64,
    features: 1,
    link: 7,
    received_to: None,
    cores: 1,
    links_max: 64,
};

/// A preface that is accepted.
fn good_preface(from: u8) -> Preface {
    Preface {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        role: Role::Node,
        lane: Lane::Ordinary,
        sending_core: CoreId(0),
        wanted_core: None,
        cluster: ringmesh_proto::address::ClusterHash::of("demo"),
        format_fingerprint: FORMAT_FINGERPRINT,
        uid: uid(from),
        expected_uid: None,
        nonce: 7,
    }
}

/// Scripts in which everything goes right, and in which each thing goes wrong.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    script::seeds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_reach_what_they_are_for() {
        let mut all = Outcome::default();
        for (name, bytes) in seeds() {
            let outcome = play(&bytes);
            println!("{name}: {outcome:?}");
            assert!(!name.contains("link") || outcome.links > 0, "{name}");
            assert!(!name.contains("refused") || outcome.refusals > 0, "{name}");
            let resumes = name.contains("-resumed") && !name.contains("not-resumed");
            assert_eq!(
                resumes || name.contains("taken-over"),
                outcome.resumed > 0,
                "{name}"
            );
            assert_eq!(name.contains("rested"), outcome.rested > 0, "{name}");
            assert!(!name.contains("restart") || outcome.restarts > 0, "{name}");
            all.silent_ends += outcome.silent_ends;
        }
        assert!(all.silent_ends > 0);
    }

    #[test]
    fn a_refusal_is_counted_by_its_connection() {
        // A stranger of another cluster, told so once and then closed.
        let mut world = World::new();
        world.incoming();
        let preface = Preface {
            cluster: ringmesh_proto::address::ClusterHash::of("other"),
            ..good_preface(4)
        };
        world.preface(0, &preface.encode());
        assert_eq!(world.end_everything().refusals, 1);
    }
}

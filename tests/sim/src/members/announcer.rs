//! Users of a node who announce things, and take them back.

use std::time::Duration;

use ringmesh_cluster::context::Context as ClusterContext;
use ringmesh_cluster::control::Control;
use ringmesh_cluster::registry::{EntryId, Key, Kind, Place, Registration};
use ringmesh_proto::address::CoreId;
use ringmesh_proto::link::Target;
use ringmesh_proto::time::Instant;

use crate::random::Random;

/// For so long of the life of a process its users are busy. Then nothing changes any more.
const BUSY: Duration = Duration::from_secs(60);

/// The most that a node announces at a time.
const ENTRIES: usize = 40;

/// Users of a node.
#[derive(Debug)]
pub(super) struct Announcer {
    next: Instant,
    ends: Instant,
    entries: Vec<EntryId>,
}

impl Announcer {
    /// Those of a process that begins now.
    pub(super) fn new(now: Instant) -> Self {
        let (next, ends) = (now + Duration::from_secs(1), now + BUSY);
        let entries = Vec::new();
        Self {
            next,
            ends,
            entries,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.next < self.ends).then_some(self.next)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// When they do something next.
    pub(super) fn wait(&mut self, now: Instant, random: &mut Random) {
        let millis = 20 + random.number() % 3_000;
        self.next = now + Duration::from_millis(millis);
    }

    /// They announce something or take it back, as the number says.
    pub(super) fn act(&mut self, number: u64, control: &mut Control, cx: &mut ClusterContext<'_>) {
        let place = usize::try_from(number >> 8).unwrap_or(0);
        if self.entries.len() >= ENTRIES || number % 5 < 2 && !self.entries.is_empty() {
            let place = place % self.entries.len();
            let entry = self.entries.swap_remove(place);
            control.with_registry(cx, |it, now, out| it.deregister(now, entry, out));
            return;
        }
        let name = format!("service-{}", number % 7);
        let target = Target {
            slot: 1,
            generation: 1,
        };
        let core = CoreId(0);
        if let Ok(key) = Key::new(Kind::SERVICE, &name, 1) {
            let registration = Registration {
                key,
                place: Place { core, target },
                weight: 1,
                is_acknowledged: number.is_multiple_of(3),
            };
            let done =
                control.with_registry(cx, |it, now, out| it.register(now, registration, out));
            self.entries.extend(done.and_then(Result::ok));
        }
    }
}

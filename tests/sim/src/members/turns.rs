//! What the control core does for pub-sub on all cores of a member, with its machines.

use ringmesh_cluster::pubsub::Announce;
use ringmesh_cluster::registry::Snapshot;
use ringmesh_proto::address::CoreId;

use super::pubsub::{Confirm, Parcel, TURN};
use super::{Cx, Participant};

impl Participant {
    /// A core takes its turn: it does what it was handed, and then reads what is announced.
    pub(super) fn turn(&mut self, cx: &mut Cx<'_>, core: usize) {
        for _ in 0..TURN {
            let next = self.pubsub.as_mut().and_then(|it| it.next(core));
            let (Some(parcel), Some(room)) = (next, &mut self.pubsub) else {
                break;
            };
            match parcel {
                Parcel::Announced(of, announced) => self.announce(cx, of, announced),
                Parcel::Confirm(it) => self.confirm(cx, &it),
                parcel => room.take((core, cx.now), parcel, cx.out),
            }
        }
        let Some(room) = &mut self.pubsub else {
            return;
        };
        room.read(core, cx.out);
        room.go_on(core, cx.now, cx.out);
        if core == 0
            && let Some(snapshot) = room.take_read()
        {
            self.applied(cx, &snapshot);
        }
    }

    /// All cores read that snapshot, or a later one.
    pub(super) fn applied(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot) {
        self.call(cx, |control, inner| {
            control.with_registry(inner, |it, now, out| it.handle_applied(now, snapshot, out));
        });
    }

    /// A core announces something. What is refused it is told.
    fn announce(&mut self, cx: &mut Cx<'_>, core: CoreId, announced: Vec<Announce>) {
        for announce in announced {
            let Some(room) = &mut self.pubsub else {
                return;
            };
            let put = match &announce {
                Announce::Put { id, .. } => Some(*id),
                _ => None,
            };
            let mut announcer = std::mem::take(room.announcer());
            let mut is_taken = false;
            self.call(cx, |control, inner| {
                let taken = control.with_registry(inner, |registry, now, out| {
                    announcer.handle((now, registry), core, announce, out)
                });
                is_taken = matches!(taken, Some(Ok(())));
            });
            if let Some(room) = &mut self.pubsub {
                *room.announcer() = announcer;
                if let Some(id) = put.filter(|_| !is_taken) {
                    room.refuse(core, id, cx.out);
                }
            }
        }
    }

    /// A core waits until others know of a subscription.
    fn confirm(&mut self, cx: &mut Cx<'_>, it: &Confirm) {
        let room = self.pubsub.as_mut();
        let Some((entry, ticket)) = room.and_then(|room| room.begin_confirming(it)) else {
            return;
        };
        let mut is_asked = false;
        self.call(cx, |control, inner| {
            let asked = control.with_registry(inner, |registry, now, out| {
                registry.acknowledge(now, (entry, ticket), it.extent, out)
            });
            is_asked = matches!(asked, Some(Ok(true)));
        });
        if let Some(room) = self.pubsub.as_mut().filter(|_| !is_asked) {
            room.stop_confirming(ticket);
        }
    }
}

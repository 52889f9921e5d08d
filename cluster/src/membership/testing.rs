//! Views for the tests of this crate, written down shortly: the member with number `n` is the
//! process start `n` at port `n`.

use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId, Uid};

use super::gossip::{ClusterId, Gossip};
use super::member::{Member, Profile, UpNumber};
use super::reachability::{Reason, Record};
use super::roles::Roles;
use super::status::Status;
use super::topology::Topology;
use super::version::AppVersion;

pub(crate) fn uid(number: u64) -> Uid {
    Uid::new(number).expect("not zero")
}

pub(crate) fn node(number: u64) -> NodeId {
    let port = u16::try_from(number).expect("a port");
    NodeId {
        address: Address::new("demo", "10.0.0.1", port).expect("an address"),
        uid: uid(number),
    }
}

pub(crate) fn profile(number: u64, data_centre: &str) -> Arc<Profile> {
    Arc::new(Profile {
        node: node(number),
        roles: Roles::new([], data_centre).expect("roles"),
        app_version: AppVersion::default(),
    })
}

/// A member of that status, with a number of its own as soon as it is one in full.
pub(crate) fn member(number: u64, data_centre: &str, status: Status) -> Member {
    let up_number = if status.is_entering() {
        UpNumber::NONE
    } else {
        UpNumber(u32::try_from(number).expect("small"))
    };
    Member::new(profile(number, data_centre), status, up_number)
}

/// The topology of a member that has that view.
pub(crate) fn topology(own: u64, view: &View) -> Topology {
    topology_in("default", own, view)
}

/// That of one who lives in that data centre.
pub(crate) fn topology_in(data_centre: &str, own: u64, view: &View) -> Topology {
    let before = Topology::empty(node(own), data_centre);
    Topology::after(&before, view.gossip(), |_| false)
}

/// A view that a test writes down.
#[derive(Clone, Debug)]
pub(crate) struct View(Gossip);

impl View {
    /// These members, seen by the first one.
    pub(crate) fn of(members: &[(u64, Status)]) -> Self {
        let ((first, status), others) = members.split_first().expect("a member");
        let mut view = Self::founded_in("default", *first, *status);
        for (number, status) in others {
            view.add_in("default", *number, *status);
        }
        view
    }

    /// One member in that data centre.
    pub(crate) fn founded_in(data_centre: &str, number: u64, status: Status) -> Self {
        let founder = member(number, data_centre, status);
        Self(Gossip::founded(ClusterId(7), founder))
    }

    pub(crate) fn add_in(&mut self, data_centre: &str, number: u64, status: Status) {
        let admitted = self.0.admit(member(number, data_centre, status));
        assert_eq!(admitted, Ok(true));
        if status == Status::Down {
            self.0.give_up(uid(number));
        }
    }

    pub(crate) fn set(&mut self, number: u64, status: Status) {
        if status == Status::Down {
            self.0.give_up(uid(number));
            return;
        }
        let member = self.0.member_mut(uid(number)).expect("a member");
        member.become_next(status);
    }

    /// It gives itself up.
    pub(crate) fn resign(&mut self, number: u64) {
        assert!(self.0.resign(uid(number)), "a member");
    }

    pub(crate) fn see(&mut self, number: u64) {
        self.0.see(uid(number));
    }

    pub(crate) fn accuse(&mut self, observer: u64, subject: u64, reason: Reason) {
        let witnesses = Vec::new();
        let record = Record { reason, witnesses };
        let table = self.0.reachability_mut();
        table.accuse(uid(observer), uid(subject), record);
    }

    pub(crate) fn gossip(&self) -> &Gossip {
        &self.0
    }

    pub(crate) fn gossip_mut(&mut self) -> &mut Gossip {
        &mut self.0
    }
}

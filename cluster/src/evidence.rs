//! Evidence that a process start has crashed, from what its connections did.
//!
//! A node whose process ends by itself says goodbye. One that is killed does not: its kernel closes
//! all its connections, and refuses new ones. Both together are evidence, and it comes long before
//! a silence would. A lone reset or end is none, for networks do that; nor is a dial that found no
//! answer, or one that this side could not make; nor an end that this side brought about.
//!
//! A link is told to have ended behind all that came over it, so nothing is heard of a process
//! start after the evidence but over a connection that it had begun before: such a one ends too,
//! and then the evidence is there again.

use ringmesh_proto::address::Uid;

/// How a connection with a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The other side ended it, or the network did, without a goodbye.
    Abrupt,
    /// With a goodbye, or for a reason of this side.
    InOrder,
}

/// What the links of all cores with one address told of the process start there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    uid: Option<Uid>,
    /// Links with a connection.
    connected: usize,
    last: Option<Ending>,
}

impl Evidence {
    /// A link with that process start has a connection.
    pub fn handle_connected(&mut self, uid: Uid) {
        if self.uid.replace(uid) != Some(uid) {
            self.connected = 0;
        }
        self.connected += 1;
        self.last = None;
    }

    /// A link with that process start lost its connection. Says whether a fresh dial would tell
    /// whether it has crashed.
    pub fn handle_disconnected(&mut self, uid: Uid, ending: Ending) -> bool {
        if self.uid != Some(uid) {
            return false;
        }
        self.connected = self.connected.saturating_sub(1);
        self.last = Some(ending);
        self.is_suspect(uid)
    }

    /// A dial that began after the last connection ended was refused: whether that process start
    /// has crashed.
    pub fn handle_refused(&self) -> Option<Uid> {
        self.uid.filter(|uid| self.is_suspect(*uid))
    }

    /// Whether nothing comes from that process start any more, and it did not say why.
    pub fn is_suspect(&self, uid: Uid) -> bool {
        self.uid == Some(uid) && self.connected == 0 && self.last == Some(Ending::Abrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(value: u64) -> Uid {
        Uid::new(value).expect("not zero")
    }

    #[test]
    fn a_refused_dial_behind_the_abrupt_end_of_every_link_is_evidence() {
        let mut evidence = Evidence::default();
        assert_eq!(evidence.handle_refused(), None, "nobody was there");
        evidence.handle_connected(uid(1));
        evidence.handle_connected(uid(1));
        assert!(!evidence.handle_disconnected(uid(1), Ending::Abrupt));
        assert_eq!(evidence.handle_refused(), None, "a lone reset");
        assert!(evidence.handle_disconnected(uid(1), Ending::Abrupt));
        assert_eq!(evidence.handle_refused(), Some(uid(1)));
    }

    #[test]
    fn a_connection_that_comes_late_ends_in_the_same_evidence_again() {
        let mut evidence = Evidence::default();
        evidence.handle_connected(uid(1));
        assert!(evidence.handle_disconnected(uid(1), Ending::Abrupt));
        assert_eq!(evidence.handle_refused(), Some(uid(1)));
        // It was accepted by the kernel before the crash, and by the node after that dial.
        evidence.handle_connected(uid(1));
        assert_eq!(evidence.handle_refused(), None, "it may be heard");
        assert!(evidence.handle_disconnected(uid(1), Ending::Abrupt));
        assert_eq!(evidence.handle_refused(), Some(uid(1)), "once more");
    }

    #[test]
    fn a_goodbye_or_an_end_by_this_side_is_none() {
        let mut evidence = Evidence::default();
        evidence.handle_connected(uid(1));
        assert!(!evidence.handle_disconnected(uid(1), Ending::InOrder));
        assert_eq!(evidence.handle_refused(), None);
    }

    #[test]
    fn whatever_comes_again_takes_it_back() {
        let mut evidence = Evidence::default();
        evidence.handle_connected(uid(1));
        assert!(evidence.handle_disconnected(uid(1), Ending::Abrupt));
        evidence.handle_connected(uid(1));
        assert_eq!(evidence.handle_refused(), None);
        assert!(evidence.handle_disconnected(uid(1), Ending::Abrupt));
        evidence.handle_connected(uid(2));
        assert!(
            !evidence.handle_disconnected(uid(1), Ending::Abrupt),
            "late"
        );
        assert_eq!(evidence.handle_refused(), None, "another start is there");
        assert!(evidence.handle_disconnected(uid(2), Ending::Abrupt));
        assert_eq!(evidence.handle_refused(), Some(uid(2)));
    }
}

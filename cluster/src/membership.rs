//! Who is in the cluster: the views of its members, and how they become one.
//!
//! What a member knows is a [`Gossip`]: members with their [`Status`], who cannot reach whom, who
//! holds this version, and who was removed. Views merge into one whatever the order in which they
//! meet. In a view that all hold, which every member can tell by itself
//! ([`Part::blockers`](convergence::Part::blockers)), the member that all compute to be the leader
//! moves the others on.
//!
//! ```text status
//! joining   -> weakly_up, up, leaving, down
//! weakly_up -> up, leaving, down
//! up        -> preparing, leaving, down
//! preparing -> ready, leaving, down
//! ready     -> leaving, down
//! leaving   -> exiting, down
//! exiting   -> down, removed
//! down      -> removed
//! ```

pub mod clock;
pub mod convergence;
pub mod gossip;
pub mod member;
pub mod reachability;
pub mod roles;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod version;
pub mod wire;

pub use self::gossip::{ClusterId, Gossip};
pub use self::member::{Member, Profile, UpNumber};
pub use self::roles::Roles;
pub use self::status::Status;
pub use self::version::AppVersion;

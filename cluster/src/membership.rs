//! Who is in the cluster: the views of its members, and how they become one.
//!
//! What a member knows is a [`Gossip`]: members with their [`Status`], who cannot reach whom, who
//! holds this version, and who was removed. Views merge into one whatever the order in which they
//! meet. In a view that all hold, which every member can tell by itself
//! ([`Part::blockers`](convergence::Part::blockers)), the member that all compute to be the leader
//! moves the others on.
//! What may become of a member stands in ARCHITECTURE.md, and in
//! [`may_become`](Status::may_become).

pub mod clock;
pub mod command;
pub mod configuration;
pub mod convergence;
pub mod event;
pub mod gossip;
pub mod machine;
pub mod member;
pub mod memory;
pub mod message;
pub mod reachability;
pub mod roles;
pub mod settings;
pub mod status;
pub mod summary;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
pub mod topology;
pub mod version;
pub mod wire;

pub use self::command::Command;
pub use self::gossip::{ClusterId, Gossip, Warrant};
pub use self::machine::Membership;
pub use self::member::{Member, Profile, UpNumber};
pub use self::roles::Roles;
pub use self::settings::Settings;
pub use self::status::Status;
pub use self::topology::Topology;
pub use self::version::AppVersion;
